"""Publishes mapping profiles of the site: versions in the database over the built-in ones, checked before.

A version is the TOML text of one profile, kept for ever; the newest of a name is in force. All profiles of the site are
one family of documents (`versions.in_force`), whose value is the `ProfileBook`: they may build on each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from broker import telemetry
from broker.errors import BadContent, ConfigurationError
from broker.model.modalities import MODALITIES
from broker.orders.inbound.reception import Profiles
from broker.orders.mapping import document as profile_document
from broker.orders.mapping.book import DEFAULT, ProfileBook
from broker.orders.mapping.effects import refuse_idle
from broker.orders.trying import examples
from broker.orders.trying.profile_choice import ProfileChoice, choose
from broker.store import configurations
from broker.store.configurations import Publication, Version
from broker.store.db.database import Database
from broker.versions.in_force import Audited, Conflict, Documents, InForce, Signature
from broker.whole_files import read_text

PREFIX = "mapping:"


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
class Checked:
    """A profile that may be published: name and text, how many examples ran, and whether it is in force just so."""

    name: str
    text: str
    examples: int
    unchanged: bool


Texts = Mapping[str, tuple[int, str]]  # by name: version and TOML text


def stored(connection: Connection) -> Texts:
    """Versions in force and their texts, by name, of the profiles in a database."""
    return _texts(configurations.newest(connection, _kinds(connection)))


def peek(url: str) -> Texts:
    """`stored` of a database that a broker may be using; none of one that is not there yet. Raises as `look`."""
    return configurations.look(url, stored) or {}


def book_of(texts: Texts, modalities: frozenset[str] = MODALITIES) -> ProfileBook:
    """The profiles in force; `modalities` are those that the broker knows. Raises ConfigurationError."""
    return ProfileBook(_documents(texts), modalities)


def _documents(texts: Texts) -> dict[str, dict[str, Any]]:
    return {name: profile_document.read(text, f"mapping {name!r}") for name, (_, text) in texts.items()}


def check(text: str, texts: Texts, place: str = "mapping profile", modalities: frozenset[str] = MODALITIES) -> Checked:
    """Read a profile as it would be beside `texts`, and run its examples and those of all others of the site.

    Raises ConfigurationError for what is no profile, ExamplesFailed.
    """
    return check_all({place: text}, texts, modalities)[0]


def check_all(new: Mapping[str, str], texts: Texts, modalities: frozenset[str] = MODALITIES) -> list[Checked]:
    """`check` for several profiles (by place) that may build on each other."""
    added = _by_name(new)
    together = {**texts, **{name: (0, text) for name, text in added.items()}}
    versions = {PREFIX + name: Version(name, number, {"toml": text}) for name, (number, text) in together.items()}
    _run_examples(versions, modalities)
    tables = _documents({name: (0, text) for name, text in added.items()})
    return [
        Checked(name, text, len(examples.parse(tables[name])), name in texts and texts[name][1] == text)
        for name, text in added.items()
    ]


def _texts(documents: Documents) -> Texts:
    return {kind.removeprefix(PREFIX): (v.version, str(v.document["toml"])) for kind, v in documents.items()}


def _book(documents: Documents, modalities: frozenset[str]) -> ProfileBook:
    return book_of(_texts(documents), modalities)


def _run_examples(documents: Documents, modalities: frozenset[str]) -> None:
    """Judge new profiles (version 0), and run the examples of all of the site.

    Raises ConfigurationError for what has no effect, ExamplesFailed.
    """
    texts = _texts(documents)
    tables = _documents(texts)
    book = ProfileBook(tables, modalities)
    failures: list[str] = []
    for name, table in tables.items():
        if not texts[name][0]:
            refuse_idle(table, book.named(name))
        mark = f"profile {name!r}: " if texts[name][0] else ""
        failures += [f"{mark}{failure}" for failure in examples.run(examples.parse(table), book.named(name))]
    if failures:
        raise ExamplesFailed(tuple(failures))


class Mappings:
    """The profiles in force in this process, and their publication."""

    def __init__(self, database: Database, modalities: frozenset[str] = MODALITIES) -> None:
        """Nothing is read before somebody asks: a profile that cannot be used any more must not stop a roll-back.

        `modalities` are those that the broker knows.
        """
        self._database = database
        self._modalities = modalities
        build, run_examples = partial(_book, modalities=modalities), partial(_run_examples, modalities=modalities)
        self.documents = InForce(database, PREFIX, build, check=run_examples)

    @property
    def book(self) -> ProfileBook:
        """The profiles in force. Raises ConfigurationError for a stored profile that cannot be used."""
        return self.documents.value

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

    def refresh(self) -> bool:
        """Take over what another process has published; True if there was something."""
        return self.documents.refresh()

    def in_force(self) -> list[Listed]:
        """All profiles in force, by name."""
        return listed(self._database.read(stored).result(), self._database.read(dates).result())

    def check(self, text: str) -> Checked:
        """See `check`, beside the profiles in force."""
        return check(text, self._database.read(stored).result(), modalities=self._modalities)

    def publish(self, text: str, source: str, place: str = "mapping profile", **signed: str) -> tuple[str, int]:
        """Put a profile in force; its name and version (that in force if it says just the same).

        `source` is the actor, `signed` what else a `Signature` says. Raises as `check`; then nothing changes.
        """
        return self.publish_all({place: text}, source, **signed)[0]

    def publish_all(self, new: Mapping[str, str], source: str, **signed: str) -> list[tuple[str, int]]:
        """`publish` for several profiles (by place) that may build on each other: all or none."""
        texts = _by_name(new)
        contents = {PREFIX + name: {"toml": text} for name, text in texts.items()}
        try:
            numbers = self.documents.publish(contents, Signature(actor=source, **signed))
        except Conflict:
            raise ConfigurationError("mapping profiles are being published by others: try again") from None
        return [(name, numbers[PREFIX + name]) for name in texts]

    def export(self, name: str, version: int | None = None) -> str:
        """The text of a profile, that in force or an older version (0: built-in). Raises ConfigurationError."""
        return self._database.read(text_of, name, version).result()

    def history(self, name: str) -> list[Publication]:
        """Versions of a profile, newest first; the built-in one is 0. Raises ConfigurationError."""
        return self._database.read(history_of, name).result()

    def rollback(self, name: str, version: int, source: str, **signed: str) -> int:
        """Put an older version in force again, as a new one; its number. Raises as `publish`."""
        kind = PREFIX + name
        return self.documents.publish(
            {kind: {"toml": self.export(name, version)}},
            Signature(actor=source, source=f"{source}, version {version} again", **signed),
            audited=Audited("mapping.published", {"kind": kind, "again": version}),
        )[kind]

    def first_import(self, folder: Path) -> None:
        """Publish the profiles of a folder that the database does not hold; warn of those that differ from it.

        A profile that says `sample = true` is left out, and named in the log. Raises ConfigurationError: one line that
        names file and key.
        """
        texts = self._database.read(stored).result()
        new: dict[str, str] = {}
        samples: list[str] = []
        for file in sorted(folder.glob("*.toml")):
            if not file.is_file():  # a named pipe would make the start wait
                raise ConfigurationError(f"{file}: not a file")
            text = read_file(file)
            document = profile_document.read(text, str(file))
            name = document["name"]
            if document.get("sample") is True:
                samples.append(name)
            elif name not in texts:
                new[str(file)] = text
            elif texts[name][1] != text:
                telemetry.logger().warning("mapping.differs", kind=name, version=texts[name][0], path=str(file))
        if samples:
            telemetry.logger().info("mapping.samples", kind=" ".join(samples), path=str(folder))
        if not new:
            return
        try:
            published = self.publish_all(new, "mapping folder")
        except ExamplesFailed as error:
            raise ConfigurationError(f"{folder}: {error.failures[0]}") from None
        for name, version in published:
            telemetry.logger().info("mapping.imported", kind=name, version=version)


def _by_name(new: Mapping[str, str]) -> dict[str, str]:
    """Texts of profiles by their names. Raises ConfigurationError that says the place."""
    texts: dict[str, str] = {}
    for place, text in new.items():
        name = profile_document.read(text, place)["name"]
        if name in texts:
            raise ConfigurationError(f"{place}: name: {name!r} twice")
        texts[name] = text
    return texts


def read_file(path: Path) -> str:
    """The text of a profile in a file. Raises ConfigurationError."""
    try:
        return read_text(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or 'cannot be read'}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: not UTF-8") from None


def dates(connection: Connection) -> dict[str, Publication]:
    """When and by whom each profile in force was published, by name."""
    kinds = _kinds(connection)
    return {kind.removeprefix(PREFIX): configurations.history(connection, kind, 1)[0] for kind in kinds}


def _kinds(connection: Connection) -> list[str]:
    return [kind for kind in configurations.numbers(connection) if kind.startswith(PREFIX)]


def listed(texts: Texts, published: Mapping[str, Publication]) -> list[Listed]:
    """Profiles in force for a list, by name. Raises ConfigurationError."""
    book = book_of(texts)
    documents = {**profile_document.built_in_documents(), **_documents(texts)}
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
