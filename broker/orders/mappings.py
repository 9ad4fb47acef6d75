"""Mapping profiles of the site: versions in the database over the built-in ones, checked before they are published.

A version is the TOML text of one profile, kept for ever; the newest of a name is in force. The running broker swaps
its `ProfileBook` when one is published and looks now and then for what other processes have published.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from broker import telemetry
from broker.errors import BadContent, ConfigurationError
from broker.orders.inbound.interface import Profiles
from broker.orders.profile import document as profile_document
from broker.orders.profile.book import DEFAULT, ProfileBook
from broker.orders.trying import examples
from broker.orders.trying.profile_choice import ProfileChoice, choose
from broker.store import configurations
from broker.store.db.database import Database
from broker.store.orders import reading, saving

PREFIX = "mapping:"
ATTEMPTS = 5  # to publish while others publish too


class ExamplesFailed(BadContent):
    """Examples of a profile, or of one that builds on it, do not come out as they say; `failures` says which."""

    code = "examples-failed"

    def __init__(self, failures: tuple[str, ...]) -> None:
        super().__init__(f"{len(failures)} expectations of the examples are not met")
        self.failures = failures


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


@dataclass(frozen=True, slots=True)
class Entry:
    """A version of a profile: when (s since the epoch) and by whom."""

    version: int
    at: float
    source: str


@dataclass(frozen=True, slots=True)
class Checked:
    """A profile that may be published: name and text, how many examples ran, and whether it is in force just so."""

    name: str
    text: str
    examples: int
    unchanged: bool


Texts = Mapping[str, tuple[int, str]]  # by name: version and TOML text


def stored(connection: Connection) -> Texts:
    """Versions in force and their texts, by name, of the profiles in a database."""
    found = configurations.newest(connection, PREFIX)
    return {kind.removeprefix(PREFIX): (v.version, str(v.document["toml"])) for kind, v in found.items()}


def peek(url: str) -> Texts:
    """`stored` of a database that a broker may be using; none of one that is not there yet. Raises as `look`."""
    return configurations.look(url, stored) or {}


def book_of(texts: Texts) -> ProfileBook:
    """The profiles in force. Raises ConfigurationError."""
    return ProfileBook(_documents(texts))


def _documents(texts: Texts) -> dict[str, dict[str, Any]]:
    return {name: profile_document.read(text, f"mapping {name!r}") for name, (_, text) in texts.items()}


def check(text: str, texts: Texts, place: str = "mapping profile") -> Checked:
    """Read a profile as it would be beside `texts`, and run its examples and those of all others of the site.

    Raises ConfigurationError for what is no profile, ExamplesFailed.
    """
    return check_all({place: text}, texts)[0]


def check_all(new: Mapping[str, str], texts: Texts) -> list[Checked]:
    """`check` for several profiles (by place) that may build on each other."""
    documents = _documents(texts)
    added: dict[str, str] = {}
    for place, text in new.items():
        document = profile_document.read(text, place)
        if document["name"] in added:
            raise ConfigurationError(f"{place}: name: {document['name']!r} twice")
        added[document["name"]] = text
        documents[document["name"]] = document
    book = ProfileBook(documents)
    checked, failures = [], []
    for name, document in documents.items():
        found = examples.parse(document)
        mark = "" if name in added else f"profile {name!r}: "
        failures += [f"{mark}{failure}" for failure in examples.run(found, book.named(name))]
        if name in added:
            unchanged = name in texts and texts[name][1] == added[name]
            checked.append(Checked(name, added[name], len(found), unchanged))
    if failures:
        raise ExamplesFailed(tuple(failures))
    return checked


class Mappings:
    """The profiles in force in this process, and their publication."""

    def __init__(self, database: Database) -> None:
        """Nothing is read before somebody asks: a profile that cannot be used any more must not stop a roll-back."""
        self._database = database
        self._book: ProfileBook | None = None
        self._numbers: Mapping[str, int] = {}

    @property
    def book(self) -> ProfileBook:
        """The profiles in force. Raises ConfigurationError for a stored profile that cannot be used."""
        if self._book is None:
            self._book, self._numbers = self._read()
        return self._book

    def profiles(self, fallback: str) -> Profiles:
        """How a listener chooses; `fallback` serves unclaimed senders. Always by the profiles in force just then.

        Raises ConfigurationError if there is no such profile.
        """
        self.book.named(fallback)
        return lambda header: self.book.choose(header, fallback)

    def choice(self, choice: ProfileChoice) -> Profiles:
        """How messages are read that somebody tries: by the profile of a choice, else each by that of its sender.

        Raises ConfigurationError.
        """
        if not choice.given:
            return self.profiles(DEFAULT)
        texts = self._database.read(stored).result() if choice.toml else {}
        profile = choose(choice, self.book, texts)
        return lambda header: profile

    def _read(self) -> tuple[ProfileBook, Mapping[str, int]]:
        texts = self._database.read(stored).result()
        return book_of(texts), {PREFIX + name: version for name, (version, _) in texts.items()}

    def refresh(self) -> bool:
        """Take over what another process has published; True if there was something.

        An unusable profile changes nothing here: who published it has checked it, so this program is too old for it.
        """
        if self._book is None or self._database.read(configurations.numbers, PREFIX).result() == self._numbers:
            return False
        try:
            self._book, self._numbers = self._read()
        except ConfigurationError as error:
            telemetry.logger().error("mapping.not_loaded", message=str(error))
            return False
        telemetry.logger().info("mapping.loaded", count=len(self._numbers))
        return True

    def in_force(self) -> list[Listed]:
        """All profiles in force, by name."""
        return listed(self._database.read(stored).result(), self._database.read(dates).result())

    def check(self, text: str) -> Checked:
        """See `check`, beside the profiles in force."""
        return check(text, self._database.read(stored).result())

    def publish(self, text: str, source: str, place: str = "mapping profile") -> tuple[str, int]:
        """Put a profile in force; its name and version (that in force if it says just the same).

        Raises as `check`; then nothing changes.
        """
        return self.publish_all({place: text}, source)[0]

    def publish_all(self, new: Mapping[str, str], source: str) -> list[tuple[str, int]]:
        """`publish` for several profiles (by place) that may build on each other: all or none."""
        for _ in range(ATTEMPTS):
            texts = self._database.read(stored).result()
            checked = check_all(new, texts)
            added = {PREFIX + one.name: one.text for one in checked if not one.unchanged}
            seen = {PREFIX + name: version for name, (version, _) in texts.items()}
            done = self._database.submit(_add, added, seen, source, time.time()).result()
            if done is not None:
                self.refresh()
                numbers = {**seen, **done}
                return [(one.name, numbers[PREFIX + one.name]) for one in checked]
        raise ConfigurationError("mapping profiles are being published by others: try again")

    def export(self, name: str, version: int | None = None) -> str:
        """The text of a profile, that in force or an older version (0: built-in). Raises ConfigurationError."""
        return self._database.read(text_of, name, version).result()

    def history(self, name: str) -> list[Entry]:
        """Versions of a profile, newest first; the built-in one is 0. Raises ConfigurationError."""
        return self._database.read(history_of, name).result()

    def rollback(self, name: str, version: int, source: str) -> int:
        """Put an older version in force again, as a new one; its number. Raises as `publish`."""
        return self.publish(self.export(name, version), f"{source}, version {version} again")[1]

    def first_import(self, folder: Path) -> None:
        """Publish the profiles of a folder that the database does not hold; warn of those that differ from it.

        Raises ConfigurationError: one line that names file and key.
        """
        texts = self._database.read(stored).result()
        new: dict[str, str] = {}
        for file in sorted(folder.glob("*.toml")):
            text = read_file(file)
            name = profile_document.read(text, str(file))["name"]
            if name not in texts:
                new[str(file)] = text
            elif texts[name][1] != text:
                telemetry.logger().warning("mapping.differs", kind=name, version=texts[name][0], path=str(file))
        if not new:
            return
        try:
            published = self.publish_all(new, "mapping folder")
        except ExamplesFailed as error:
            raise ConfigurationError(f"{folder}: {error.failures[0]}") from None
        for name, version in published:
            telemetry.logger().info("mapping.imported", kind=name, version=version)


def read_file(path: Path) -> str:
    """The text of a profile in a file. Raises ConfigurationError."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or 'cannot be read'}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: not UTF-8") from None


def _add(
    connection: Connection, added: Mapping[str, str], seen: Mapping[str, int], source: str, at: float
) -> dict[str, int] | None:
    """Store new versions; None if the profiles in force are no longer those of the check (`seen`)."""
    reading.lock(connection, [PREFIX])
    if configurations.numbers(connection, PREFIX) != seen:
        return None
    done = {}
    for kind, text in added.items():
        done[kind] = configurations.add(connection, kind, {"toml": text}, source=source, at=at)
        detail = {"kind": kind}
        saving.add_audit(connection, at, source, "mapping.published", "mapping", done[kind], detail)
    return done


def dates(connection: Connection) -> dict[str, Entry]:
    """When and by whom each profile in force was published, by name."""
    names = [kind.removeprefix(PREFIX) for kind in configurations.numbers(connection, PREFIX)]
    return {name: Entry(*configurations.history(connection, PREFIX + name)[0]) for name in names}


def listed(texts: Texts, published: Mapping[str, Entry]) -> list[Listed]:
    """Profiles in force for a list, by name. Raises ConfigurationError."""
    book = book_of(texts)
    documents = {**profile_document.built_in_documents(), **_documents(texts)}
    found = []
    for name in sorted(book.names()):
        document, entry = documents[name], published.get(name, Entry(0, 0, "built-in"))
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


def history_of(connection: Connection, name: str) -> list[Entry]:
    """See `Mappings.history`."""
    found = [Entry(*row) for row in configurations.history(connection, PREFIX + name)]
    if name in profile_document.built_in_documents():
        found.append(Entry(0, 0, "built-in"))
    if not found:
        raise ConfigurationError(f"mapping profile {name!r}: no such profile")
    return found
