"""Publishes mapping profiles of the site: versions in the database over the built-in ones, checked before.

A version is the TOML text of one profile, kept for ever; the newest of a name is in force. All profiles of the site are
one family of documents (`versions.in_force`), whose value is the `ProfileBook`: they may build on each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from broker import telemetry
from broker.errors import BadContent, ConfigurationError
from broker.model.modalities import MODALITIES
from broker.orders.inbound.reception import Profiles
from broker.orders.mapping import document as profile_document
from broker.orders.mapping.book import DEFAULT, ProfileBook
from broker.orders.mapping.document import Texts
from broker.orders.mapping.effects import refuse_idle
from broker.orders.mapping_texts import (
    PREFIX,
    Listed,
    book_of,
    dates,
    documents_of,
    history_of,
    listed,
    meaning,
    stored,
    text_of,
    texts_in,
)
from broker.orders.trying import examples
from broker.orders.trying.changes import RUN, DraftBooks, DraftChanges, DraftTrials
from broker.orders.trying.draft import DraftCheck, check_draft
from broker.orders.trying.profile_choice import ProfileChoice, choose
from broker.orders.trying.replay import Bench
from broker.store.configurations import Publication
from broker.store.db.database import Database
from broker.versions.difference import Difference, difference
from broker.versions.in_force import Audited, Conflict, Documents, InForce, Signature
from broker.versions.text_difference import DiffLine, text_difference
from broker.whole_files import read_text


class ExamplesFailed(BadContent):
    """Examples of a profile, or of one that builds on it, do not come out as they say; `failures` says which."""

    code = "examples-failed"

    def __init__(self, failures: tuple[str, ...]) -> None:
        super().__init__(f"{len(failures)} expectations of the examples are not met")
        self.failures = failures


def _book(documents: Documents, modalities: frozenset[str]) -> ProfileBook:
    return book_of(texts_in(documents), modalities)


def _run_examples(documents: Documents, modalities: frozenset[str]) -> None:
    """Judge new profiles (version 0), and run the examples of all of the site.

    Raises ConfigurationError for what has no effect, ExamplesFailed.
    """
    texts = texts_in(documents)
    tables = documents_of(texts)
    book = ProfileBook(tables, modalities)
    failures: list[str] = []
    for name, table in tables.items():
        if not texts[name][0]:
            refuse_idle(table, book.named(name))
        mark = f"profile {name!r}: " if texts[name][0] else ""
        failures += [f"{mark}{failure}" for failure in examples.run(examples.parse(table), book.named(name))]
    if failures:
        raise ExamplesFailed(tuple(failures))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileDifference:
    """What differs between two versions of a profile (by number): by keys, and by lines of their texts."""

    before: int
    after: int
    keys: Sequence[Difference]
    lines: Sequence[Sequence[DiffLine]]


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
        self._trials = DraftTrials(database)

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
        texts = self.texts() if choice.toml else {}
        profile = choose(choice, self.book, texts)
        return lambda header: profile

    def refresh(self) -> bool:
        """Take over what another process has published; True if there was something."""
        return self.documents.refresh()

    def in_force(self) -> list[Listed]:
        """All profiles in force, by name."""
        return listed(self.texts(), self._database.read(dates).result())

    def texts(self) -> Texts:
        """Versions and texts of the profiles of the site."""
        return self._database.read(stored).result()

    def draft(self, text: str, name: str = "") -> DraftCheck:
        """All that is wrong with a draft beside the profiles in force, see `trying.draft`."""
        return check_draft(text, self.texts(), self._modalities, name)

    def changes(self, text: str, bench: Bench, since: float, most: int = RUN) -> DraftChanges:
        """What a draft would change of messages received since a moment, see `trying.changes`.

        Raises ConfigurationError for a draft that cannot be used, TrialBusy.
        """
        texts = self.texts()
        own = profile_document.read(text, "mapping profile")
        before = documents_of(texts)
        after = {**before, own["name"]: own}
        books = ProfileBook(before, self._modalities), ProfileBook(after, self._modalities)
        changed = [name for name in books[1].names() if meaning(name, before) != meaning(name, after)]
        return self._trials.changes(DraftBooks(*books, frozenset(changed)), bench, since, most=most)

    def publish(
        self,
        text: str,
        source: str,
        place: str = "mapping profile",
        *,
        expected: int | None = None,
        **signed: Any,
    ) -> tuple[str, int]:
        """Put a profile in force; its name and version (that in force if it says just the same).

        `source` is the actor, `signed` what else a `Signature` says. Raises as `check`; then nothing changes.
        `expected`: the version that was edited (0: none is published yet). Raises Conflict if another one is in force.
        """
        return self.publish_all({place: text}, source, expected=expected, **signed)[0]

    def publish_all(
        self, new: Mapping[str, str], source: str, *, expected: int | None = None, **signed: Any
    ) -> list[tuple[str, int]]:
        """`publish` for several profiles (by place) that may build on each other: all or none."""
        texts = _by_name(new)
        contents = {PREFIX + name: {"toml": text} for name, text in texts.items()}
        seen = None if expected is None else dict.fromkeys(contents, expected)
        try:
            numbers = self.documents.publish(contents, Signature(actor=source, **signed), expected=seen)
        except Conflict:
            if seen is not None:
                raise
            raise ConfigurationError("mapping profiles are being published by others: try again") from None
        return [(name, numbers[PREFIX + name]) for name in texts]

    def export(self, name: str, version: int | None = None) -> str:
        """The text of a profile, that in force or an older version (0: built-in). Raises ConfigurationError."""
        return self._database.read(text_of, name, version).result()

    def history(self, name: str) -> list[Publication]:
        """Versions of a profile, newest first; the built-in one is 0. Raises ConfigurationError."""
        return self._database.read(history_of, name).result()

    def difference(self, name: str, before: int | None = None, after: int | None = None) -> ProfileDifference:
        """What differs between two versions; without numbers those in force and before it.

        Raises ConfigurationError if there is no such version.
        """
        numbers = [entry.version for entry in self.history(name)]
        after = numbers[0] if after is None else after
        before = next((number for number in numbers if number < after), after) if before is None else before
        texts = [self.export(name, number) for number in (before, after)]
        documents = [profile_document.read(text, f"mapping {name!r}") for text in texts]
        keys = difference(PREFIX + name, *documents)
        return ProfileDifference(before=before, after=after, keys=keys, lines=text_difference(*texts))

    def rollback(
        self, name: str, version: int | None, source: str, *, expected: int | None = None, **signed: Any
    ) -> int:
        """Put an older version in force again, as a new one; its number. None: the one before that in force.

        `expected`: the version that is in force as far as the caller knows. Raises as `publish`.
        """
        kind = PREFIX + name
        if version is None:
            versions = [entry.version for entry in self.history(name)[:2]]
            if len(versions) < 2:
                raise ConfigurationError(f"mapping profile {name!r}: there is no version before the one in force")
            expected, version = versions[0] if expected is None else expected, versions[1]
        return self.documents.publish(
            {kind: {"toml": self.export(name, version)}},
            Signature(actor=source, source=f"{source}, version {version} again", **signed),
            expected=None if expected is None else {kind: expected},
            audited=Audited("mapping.published", {"kind": kind, "again": version}),
        )[kind]

    def first_import(self, folder: Path) -> None:
        """Publish the profiles of a folder that the database does not hold; warn of those that differ from it.

        A profile that says `sample = true` is left out, and named in the log. Raises ConfigurationError: one line that
        names file and key.
        """
        texts = self.texts()
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
