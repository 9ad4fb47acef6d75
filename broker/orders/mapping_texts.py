"""Reads mapping profiles as they are stored beside the built-in ones: texts, who published them, histories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from broker.errors import ConfigurationError
from broker.model.modalities import MODALITIES
from broker.orders.mapping import document as profile_document
from broker.orders.mapping.book import ProfileBook
from broker.orders.mapping.document import Texts
from broker.store import configurations
from broker.store.configurations import Publication
from broker.versions.in_force import Documents

PREFIX = "mapping:"


@dataclass(frozen=True, slots=True)
class Listed:
    """A profile in force; `version` 0 is a built-in one, `at` its time (s since the epoch) and `source` who."""

    name: str
    version: int
    description: str
    extends: str
    senders: tuple[str, ...]
    stations: int
    examples: int
    at: float = 0
    source: str = "built-in"
    author: str = ""
    reason: str = ""
    listeners: tuple[str, ...] = ()  # whose senders it reads where no profile claims them

    @property
    def previous(self) -> int | None:
        """The version that the last change is undone by; None for the first one."""
        built_in = self.name in profile_document.built_in_texts()
        return self.version - 1 if self.version > 1 or (self.version and built_in) else None


def stored(connection: Connection) -> Texts:
    """Versions in force and their texts, by name, of the profiles in a database."""
    return texts_in(configurations.newest(connection, _kinds(connection)))


def peek(url: str) -> Texts:
    """`stored` of a database that a broker may be using; none of one that is not there yet. Raises as `look`."""
    return configurations.look(url, stored) or {}


def book_of(texts: Texts, modalities: frozenset[str] = MODALITIES) -> ProfileBook:
    """The profiles in force; `modalities` are those that the broker knows. Raises ConfigurationError."""
    return ProfileBook(documents_of(texts), modalities)


def documents_of(texts: Texts) -> dict[str, dict[str, Any]]:
    """Documents of profiles by name. Raises ConfigurationError."""
    return {name: profile_document.read(text, f"mapping {name!r}") for name, (_, text) in texts.items()}


def texts_in(documents: Documents) -> Texts:
    """Versions and texts of documents of `versions.in_force`, by the names of their profiles."""
    return {kind.removeprefix(PREFIX): (v.version, str(v.document["toml"])) for kind, v in documents.items()}


def meaning(name: str, documents: Mapping[str, profile_document.ProfileDocument]) -> Any:
    """What decides how a profile reads messages; None for none of this name."""
    if name not in documents and name not in profile_document.built_in_documents():
        return None
    resolved = profile_document.resolved(name, documents)
    return {key: value for key, value in resolved.items() if key not in ("example", "description", "sample")}


def dates(connection: Connection) -> dict[str, Publication]:
    """When and by whom each profile in force was published, by name."""
    kinds = _kinds(connection)
    return {kind.removeprefix(PREFIX): configurations.history(connection, kind, 1)[0] for kind in kinds}


def _kinds(connection: Connection) -> list[str]:
    return [kind for kind in configurations.numbers(connection) if kind.startswith(PREFIX)]


def listed(texts: Texts, published: Mapping[str, Publication]) -> list[Listed]:
    """Profiles in force for a list, by name. Raises ConfigurationError."""
    book = book_of(texts)
    documents = {**profile_document.built_in_documents(), **documents_of(texts)}
    found = []
    for name in sorted(book.names()):
        document, entry = documents[name], published.get(name) or built_in_entry(name)
        profile = book.named(name)
        found.append(
            Listed(
                name,
                entry.version,
                str(document.get("description", "")),
                str(document.get("extends", "")),
                tuple(f"{sender.application}|{sender.facility}" for sender in profile.senders),
                len(profile.stations),
                len(document.get("example", [])),
                entry.at,
                entry.source,
                entry.author,
                entry.reason,
            )
        )
    return found


def text_of(connection: Connection, name: str, version: int | None) -> str:
    """See `Mappings.export`."""
    if version is None:
        found = configurations.current(connection, PREFIX + name)
    else:
        found = configurations.at_version(connection, PREFIX + name, version)
    return str(found.document["toml"]) if found is not None else built_in_text(name, version)


def built_in_text(name: str, version: int | None = None) -> str:
    """The text of a built-in profile, which has no other version than 0. Raises ConfigurationError."""
    text = profile_document.built_in_texts().get(name) if not version else None
    if text is None:
        raise ConfigurationError(f"mapping profile {name!r}: no such profile" + (" or version" if version else ""))
    return text


def built_in_entry(name: str) -> Publication:
    """A built-in profile in a history."""
    return Publication(kind=PREFIX + name, version=0, source="built-in")


def history_of(connection: Connection, name: str) -> list[Publication]:
    """See `Mappings.history`."""
    found = configurations.history(connection, PREFIX + name)
    if name in profile_document.built_in_documents():
        found.append(built_in_entry(name))
    if not found:
        raise ConfigurationError(f"mapping profile {name!r}: no such profile")
    return found
