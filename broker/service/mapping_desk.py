"""What people do with mappings, by REST or by a command: the same functions, refusals as `Problem`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any
from zoneinfo import ZoneInfo

from broker.admin import mappings as views
from broker.admin.problems import FieldError, Problem
from broker.errors import ConfigurationError
from broker.hl7.findings import Finding
from broker.hl7.header import read_header
from broker.orders import mappings
from broker.orders.inbound.interface import Profiles
from broker.orders.mappings import ExamplesFailed, Mappings, Texts
from broker.orders.profile import profile_document
from broker.orders.profile.profile import DEFAULT, Profile
from broker.orders.profile.profile_book import ProfileBook
from broker.orders.trying import preview, replay
from broker.orders.trying.explanation import Explanation, explain
from broker.site.nodes import Node
from broker.store.db.database import Database
from broker.store.orders.messages import Selection


class MappingDesk:
    """`admin.mappings.Desk` on a database."""

    def __init__(
        self,
        database: Database,
        published: Mappings,
        zone: ZoneInfo,
        default_station: str,
        subscribers: tuple[Node, ...] = (),
    ) -> None:
        """`subscribers` are the nodes that may want to hear of changes of status."""
        self._subscribers = subscribers
        self._database = database
        self._mappings = published
        self._zone = zone
        self._default_station = default_station

    def in_force(self) -> list[views.MappingView]:
        """All profiles in force."""
        return [views.MappingView.model_validate(asdict(one)) for one in self._mappings.in_force()]

    def check(self, body: views.ProfileBody) -> views.CheckedView:
        """Read a profile and run its examples."""
        with refusals():
            found = self._mappings.check(body.toml)
        return views.CheckedView(name=found.name, examples=found.examples, unchanged=found.unchanged)

    def publish(self, body: views.ProfileBody, actor: str) -> views.PublishedView:
        """Put a profile in force."""
        with refusals():
            name, version = self._mappings.publish(body.toml, actor)
        return views.PublishedView(name=name, version=version)

    def export(self, name: str, version: int | None = None) -> str:
        """A profile as TOML."""
        with refusals(404):
            return self._mappings.export(name, version)

    def history(self, name: str) -> list[views.VersionView]:
        """Versions of a profile."""
        with refusals(404):
            return [views.VersionView.model_validate(asdict(entry)) for entry in self._mappings.history(name)]

    def rollback(self, name: str, body: views.RollbackBody, actor: str) -> views.PublishedView:
        """Put an older version in force."""
        self.export(name, body.version)
        with refusals():
            version = self._mappings.rollback(name, body.version, actor)
        return views.PublishedView(name=name, version=version)

    def test(self, body: views.TestBody) -> views.TestView:
        """Explain a message."""
        raw = preview.as_bytes(body.message)
        with refusals():
            texts = self._database.read(mappings.stored).result() if body.toml else {}
            profile = chosen(raw, self._mappings.book, texts, body.mapping, body.toml)
        return tested(explain(raw, profile, self._zone, default_station=self._default_station))

    def replay(self, body: views.ReplayBody, actor: str) -> list[views.ReplayedView]:
        """Run stored messages again."""
        with refusals():
            profiles = self._profiles(body)
        selection = Selection(
            tuple(body.rows), body.since, body.until, body.sender, body.message_type, body.answer_code, body.limit
        )
        bench = replay.Bench(
            profiles, self._zone, self._default_station, f"replay:{actor}", subscribers=self._subscribers
        )
        done = replay.replay(self._database, selection, bench, write=body.write)
        return [views.ReplayedView.model_validate(asdict(one)) for one in done]

    def _profiles(self, body: views.MappingBody) -> Profiles:
        if not (body.mapping or body.toml):
            return self._mappings.profiles(DEFAULT)
        texts = self._database.read(mappings.stored).result() if body.toml else {}
        profile = chosen(b"", self._mappings.book, texts, body.mapping, body.toml)
        return lambda header: profile


def chosen(
    raw: bytes, book: ProfileBook, texts: Texts, name: str = "", toml: str = "", fallback: str = DEFAULT
) -> Profile:
    """The profile to try a message by: a TOML text beside `texts`, one in force by name, else that of its sender.

    `fallback` serves senders that no profile claims.

    Raises ConfigurationError.
    """
    if toml:
        document = profile_document.read(toml, "mapping profile")
        documents = {key: profile_document.read(text, f"mapping {key!r}") for key, (_, text) in texts.items()}
        return ProfileBook({**documents, document["name"]: document}).named(document["name"])
    if name:
        return book.named(name)
    header = read_header(raw)
    return book.choose(header, fallback) if header else book.named(fallback)


def tested(found: Explanation) -> views.TestView:
    """An explanation as the web shows it."""
    return views.TestView(
        profile=found.profile,
        code=found.code,
        findings=[views.FindingView.model_validate(one) for one in _plain(found.findings)],
        parts=[views.PartView.model_validate(asdict(part)) for part in found.parts],
    )


def _plain(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    return [asdict(finding) for finding in findings]


@contextmanager
def refusals(status: int = 422) -> Iterator[None]:
    """Errors of mappings as answers of the web."""
    try:
        yield
    except ExamplesFailed as error:
        raise Problem(422, str(error), [FieldError("example", text) for text in error.failures[:100]]) from None
    except ConfigurationError as error:
        raise Problem(status, str(error)) from None
