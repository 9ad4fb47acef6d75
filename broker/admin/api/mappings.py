"""Serves mapping profiles over REST: list, check, publish, roll back; try a message, run stored messages again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field

from broker.accounts.roles import Right
from broker.admin.api.routing.site import MAX_NUMBER, SignedBody
from broker.admin.bodies import Moment, RowNumber
from broker.admin.context import AdminContext
from broker.admin.problems import FieldError, Problem
from broker.admin.routers import NEEDS, admin_router
from broker.admin.viewing import SHOWS_NOTHING, shows, viewing_of
from broker.errors import ConfigurationError
from broker.model.message import MessageSelection
from broker.orders.interfaces import chosen, interfaces_of
from broker.orders.mapping.book import DEFAULT
from broker.orders.mapping_versions import ExamplesFailed, Mappings, stored
from broker.orders.trying import preview
from broker.orders.trying.explanation import explain
from broker.orders.trying.profile_choice import ProfileChoice, choose
from broker.orders.trying.replay import replay as run_again

Toml = Annotated[str, Field(max_length=1024 * 1024, description="A mapping profile as TOML")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class ProfileBody(_Body):
    """A profile to check."""

    toml: Toml


class PublishProfileBody(SignedBody):
    """A profile to publish, why, and on whose behalf."""

    toml: Toml


class RollbackProfileBody(SignedBody):
    """The version that is to be in force again (0 is the built-in profile), why, and on whose behalf."""

    version: Annotated[int, Field(ge=0, le=MAX_NUMBER)]


class MappingBody(_Body):
    """By which profile: a name in force, a profile as TOML, or neither: as the sender is served."""

    mapping: Annotated[str, Field(max_length=64)] = ""
    toml: Toml = ""

    @property
    def choice(self) -> ProfileChoice:
        """The profile that is meant."""
        return ProfileChoice(self.mapping, self.toml)


class TestBody(MappingBody):
    """A message, one segment per line, or its bytes; and the HL7 listener that takes it, without a name the first."""

    message: Annotated[str, Field(max_length=1024 * 1024)] = ""
    raw: Annotated[Base64Bytes, Field(max_length=1024 * 1024)] = b""
    listener: Annotated[str, Field(max_length=64)] = ""


class ReplayBody(MappingBody):
    """Messages of the journal by their numbers, or by time (s since the epoch), sender, type and answer.

    `force` is the reason why the checks of the interface (processing id, sender, receiver) do not count,
    `reason` why they are run again. Both stand in the audit trail.
    """

    rows: Annotated[list[RowNumber], Field(max_length=500)] = []
    since: Moment = 0
    until: Moment | None = None
    sender: Annotated[str, Field(max_length=500)] = ""
    message_type: Annotated[str, Field(max_length=50)] = ""
    answer_code: Annotated[str, Field(max_length=2)] = ""
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    write: bool = False
    force: Annotated[str, Field(max_length=500)] = ""
    reason: Annotated[str, Field(max_length=500)] = ""

    def selection(self) -> MessageSelection:
        """The messages that are meant."""
        return MessageSelection(
            rows=tuple(self.rows),
            since=self.since,
            until=self.until,
            sender=self.sender,
            message_type=self.message_type,
            answer_code=self.answer_code,
            limit=self.limit,
        )


class MappingView(BaseModel):
    """A profile in force; version 0 is a built-in one, `at` seconds since the epoch."""

    name: str
    version: int
    description: str
    extends: str
    senders: list[str]
    stations: int
    examples: int
    at: float
    source: str


class VersionView(BaseModel):
    """One version of a profile: when, by which way, on whose behalf, and why."""

    version: int
    at: float
    source: str
    author: str
    reason: str


class CheckedView(BaseModel):
    """A profile that may be published."""

    name: str
    examples: int
    unchanged: bool


class PublishedView(BaseModel):
    """A profile that is in force now."""

    name: str
    version: int


class FindingView(BaseModel):
    """What is wrong with a message, and where (as in ERR-2)."""

    location: str
    code: str
    text: str
    severity: str


class OriginView(BaseModel):
    """Where an attribute got its value: `how` is message, table, default, station or identifiers."""

    keyword: str
    value: Any
    how: str
    path: str
    location: str
    raw: str
    note: str


class PartView(BaseModel):
    """The patient, an order, a step, or what is added to a worklist entry."""

    title: str
    rows: list[OriginView]


class TestView(BaseModel):
    """What a message would be answered if nothing were stored yet, and where each attribute comes from.

    `sent` is the code that leaves (`none` for silence, `closed`), `ignored` says what the mapping leaves out,
    `limits` what was not looked at.
    """

    profile: str
    code: str
    sent: str
    acknowledgement: str
    ignored: str
    limits: str
    findings: list[FindingView]
    parts: list[PartView]


class DifferenceView(BaseModel):
    """An attribute of a worklist entry before and after; step 0 is a new one."""

    step: int
    keyword: str
    before: Any
    after: Any


class ReplayedView(BaseModel):
    """A stored message that was run again: the code it got when it came, the one it gets now, and what changes."""

    message: int
    received_at: float
    sender: str
    message_type: str
    answered: str
    code: str
    profile: str
    new_steps: int
    findings: list[FindingView]
    differences: list[DifferenceView]


def router(context: AdminContext) -> APIRouter:
    """Routes under /api/v1/mappings and /api/v1/messages, for admins."""
    routes = admin_router("/api/v1", Right.STATUS, tags=["mappings"])
    _publishing(routes, context.mappings)
    _trying(routes, context)
    return routes


def _publishing(routes: APIRouter, published: Mappings) -> None:
    @routes.get("/mappings")
    def in_force() -> list[MappingView]:
        """List all mapping profiles in force."""
        return [MappingView.model_validate(asdict(profile)) for profile in published.in_force()]

    @routes.post("/mappings", dependencies=[NEEDS[Right.MAPPINGS]], status_code=201)
    def publish(body: PublishProfileBody, request: Request) -> PublishedView:
        """Put a profile in force, if all examples come out as they say; it reads the next message."""
        with _refusals():
            name, version = published.publish(body.toml, request.state.actor, **_signed(body, request))
        return PublishedView(name=name, version=version)

    @routes.post("/mappings/check", dependencies=[NEEDS[Right.MAPPINGS]])
    def check(body: ProfileBody) -> CheckedView:
        """Read a profile and run all examples without putting it in force."""
        with _refusals():
            checked = published.check(body.toml)
        return CheckedView(name=checked.name, examples=checked.examples, unchanged=checked.unchanged)

    @routes.get("/mappings/{name}", response_class=PlainTextResponse)
    def export(name: str, version: Annotated[int, Field(ge=0, le=MAX_NUMBER)] | None = None) -> str:
        """Print a profile as TOML, that in force or an older version."""
        with _refusals(404):
            return published.export(name, version)

    @routes.get("/mappings/{name}/history")
    def history(name: str) -> list[VersionView]:
        """List all versions of a profile, newest first."""
        with _refusals(404):
            return [VersionView.model_validate(asdict(entry)) for entry in published.history(name)]

    @routes.post("/mappings/{name}/rollback", dependencies=[NEEDS[Right.MAPPINGS]], status_code=201)
    def rollback(name: str, body: RollbackProfileBody, request: Request) -> PublishedView:
        """Put an older version in force again, as a new version."""
        with _refusals(404):
            published.export(name, body.version)
        with _refusals():
            version = published.rollback(name, body.version, request.state.actor, **_signed(body, request))
        return PublishedView(name=name, version=version)


def _trying(routes: APIRouter, context: AdminContext) -> None:
    database, published, settings = context.database, context.mappings, context.settings

    @routes.post("/messages/test", dependencies=[NEEDS[Right.MESSAGES], SHOWS_NOTHING])
    def test(body: TestBody) -> TestView:
        """Run a message through a mapping without storing anything: the answer, and the origin of each attribute."""
        with _refusals():
            interface = chosen(interfaces_of(settings, context.directory.knows_sender), body.listener)
            texts = database.read(stored).result() if body.toml else {}
            raw = body.raw or preview.as_bytes(body.message)
            profile = choose(body.choice, published.book, texts, raw, interface.profile or DEFAULT, interface.tolerance)
        raw = body.raw or preview.as_bytes(body.message, profile.reading.charset)
        station = settings.worklist.default_station
        explanation = explain(raw, profile, settings.zone(), interface=interface, default_station=station)
        return TestView.model_validate(asdict(explanation))

    @routes.post("/messages/replay", dependencies=[NEEDS[Right.MAPPINGS], shows("message", "replayed")])
    def replay(body: ReplayBody, request: Request) -> list[ReplayedView]:
        """Run stored messages again; what would change, or with `write` what has changed."""
        with _refusals():
            bench = context.bench(request, body.choice, reason=body.reason, forced=body.force)
        replayed = run_again(database, body.selection(), bench, write=body.write)
        viewing_of(request).many(len(replayed), body.model_fields_set - {"limit"})
        return [ReplayedView.model_validate(asdict(message)) for message in replayed]


def _signed(body: SignedBody, request: Request) -> dict[str, str]:
    return {"author": body.author, "reason": body.reason, "address": request.state.address}


@contextmanager
def _refusals(status: int = 422) -> Iterator[None]:
    """Answer a profile that cannot be used, or does not exist."""
    try:
        yield
    except ExamplesFailed as error:
        raise Problem(422, str(error), [FieldError("example", text) for text in error.failures[:100]]) from None
    except ConfigurationError as error:
        raise Problem(status, str(error)) from None
