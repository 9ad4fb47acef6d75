"""Keeps a family of documents in force: read, check, publish, take over, go back.

A family is a set of documents that make sense only together, such as the nodes and the rules that send to them. Each
document has immutable versions (`store.configurations`); the newest is in force. `build` makes of all documents of a
family the value that the broker works with, and refuses what cannot be used.

- A publication is checked against the documents in force. If somebody else publishes meanwhile, it is checked again.
- New versions and their audit rows are one transaction.
- The value is swapped as a whole: who reads it sees one state of all documents of the family.
- A version that this program cannot use leaves the old value in force here and is logged as an error.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection

from broker import telemetry
from broker.errors import BadContent, ConfigurationError
from broker.store import configurations
from broker.store.audit.adding import add_audit
from broker.store.configurations import Publication, Version
from broker.store.db.database import Database
from broker.store.orders import reading

T = TypeVar("T")
ATTEMPTS = 5  # to publish while others publish too
MAX_TEXT = 500  # characters of author and reason
DRAFT, PLAN = "draft", "planned"  # ways of what another one wrote
_BY_OTHERS = (f"{DRAFT}:", f"{PLAN}:")

Documents = Mapping[str, Version]  # by kind; a kind without any version is not there
Contents = Mapping[str, Any]  # documents by kind
Change = Callable[[Documents], Contents]  # the documents to publish, by those in force
Also = Callable[[Connection], object]  # what belongs into the transaction of a publication


class Conflict(BadContent):
    """Somebody else has published meanwhile: the version in force is not the one that was edited."""

    code = "version-conflict"


class NoSuchVersion(BadContent):
    """There is no such version of the document."""

    code = "no-such-version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Who publishes, why, and from where. `actor` was authenticated, `author` is on whose behalf (empty: the actor).

    `address`: of the actor, `local` for this machine. `source`: by which way it came in, if not the actor's.
    `writers`: who wrote what is published, if not the actor.
    """

    actor: str
    author: str = ""
    reason: str = ""
    source: str = ""
    address: str = ""
    writers: tuple[str, ...] = ()

    def signed(self, **more: Any) -> dict[str, Any]:
        """What of it stands in an audit row, beside `more`."""
        detail = more
        if self.author not in ("", self.actor):
            detail["author"] = self.author
        if self.reason:
            detail["reason"] = self.reason
        return detail


Permit = Callable[[Signature, Collection[str]], object]  # may it be published by these hands: raises if not


def source_of(way: str, actor: str) -> str:
    """By which way a version came in that its author did not publish himself: `draft:user:anna`."""
    return f"{way}:{actor}"


def writers_of(publication: Publication) -> tuple[str, ...]:
    """Who wrote a version: its author and whoever published it, unless somebody published what another one wrote."""
    if publication.source.startswith(_BY_OTHERS):
        return (publication.author,)
    return tuple(dict.fromkeys(filter(None, (publication.author, publication.source))))


@dataclass(frozen=True, slots=True)
class Audited:
    """The audit row of a publication, where it is more than `published`."""

    action: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _State(Generic[T]):
    documents: Documents
    value: T


class InForce(Generic[T]):
    """The documents of one family in this process. Its methods block; they may run in any thread."""

    def __init__(
        self,
        database: Database,
        name: str,
        build: Callable[[Documents], T],
        *,
        check: Callable[[Documents], object] = lambda documents: None,
        apply: Callable[[T], object] = lambda value: None,
        permit: Permit = lambda signature, kinds: None,
    ) -> None:
        """`name`: a kind, several joined by `+`, or the beginning of kinds that ends in `:`.

        `build` makes the value; raises ConfigurationError. `check` is what a publication must pass besides.
        `apply` is told a new value just before it is in force. `permit` is asked before kinds are published.
        Nothing is read before somebody asks for `value`.
        """
        self._database = database
        self._name = name
        self._build = build
        self._check = check
        self._apply = apply
        self._permit = permit
        self._followers: list[Callable[[], object]] = []
        self._lock = threading.Lock()
        self._state: _State[T] | None = None
        self._seen: Mapping[str, int] = {}

    # --- the value ---------------------------------------------------------------------------------------

    @property
    def value(self) -> T:
        """What is in force in this process. Raises ConfigurationError if the stored documents cannot be used."""
        state = self._state
        return state.value if state is not None else self._load()

    def follow(self, follower: Callable[[], object]) -> None:
        """Call `follower` after each new value came into force, in the thread that noticed it."""
        self._followers.append(follower)

    def _load(self) -> T:
        with self._lock:
            if self._state is None:
                documents = self.stored()
                value = self._build(documents)
                self._seen = _numbers(documents)
                self._apply(value)
                self._state = _State(documents, value)
            return self._state.value

    def refresh(self, numbers: Mapping[str, int] | None = None) -> bool:
        """Take over what was published here or in another process; True if there was something to take over.

        `numbers`: those in force of all kinds, if the caller knows them. Raises StoreUnavailable.
        """
        if self._state is None:
            return False
        if numbers is None:
            numbers = self._database.read(configurations.numbers).result()
        with self._lock:  # a take-over under way in another thread is waited for: its value is in force then
            changed = self._own(numbers) != self._seen and self._take_over()
        if changed:
            for follower in self._followers:
                follower()
        return changed

    def _take_over(self) -> bool:
        """Build the newest documents, under the lock; False if there is nothing new or it cannot be used."""
        assert self._state is not None
        documents = self.stored()
        before, self._seen = self._seen, _numbers(documents)
        changed = [document for kind, document in documents.items() if before.get(kind) != document.version]
        if not changed:
            return False
        try:
            value = self._build(documents)
            self._apply(value)
        except ConfigurationError as error:
            for document in changed:
                _log("error", "not_loaded", document, message=str(error))
            return False
        self._state = _State(documents, value)
        for document in changed:
            _log("info", "loaded", document)
        return True

    # --- reading -----------------------------------------------------------------------------------------

    def owns(self, kind: str) -> bool:
        """A kind is one of the family."""
        return kind.startswith(self._name) if self._name.endswith(":") else kind in self._name.split("+")

    def _own(self, numbers: Mapping[str, int]) -> dict[str, int]:
        return {kind: number for kind, number in numbers.items() if self.owns(kind)}

    def stored(self) -> Documents:
        """The documents in force in the database. Raises StoreUnavailable."""
        return self._database.read(self._read).result()

    def _read(self, connection: Connection) -> Documents:
        return configurations.newest(connection, self._own(configurations.numbers(connection)))

    def history(self, kind: str, limit: int | None = None) -> list[Publication]:
        """The versions of a kind without their documents, newest first."""
        return self._database.read(configurations.history, kind, limit).result()

    def publication(self, kind: str, number: int) -> Publication | None:
        """When and by whom a version was published, None if there is none of that number."""
        return self._database.read(configurations.publication, kind, number).result()

    def at_version(self, kind: str, number: int) -> Version:
        """One version of a kind. Raises NoSuchVersion."""
        found = self._database.read(configurations.at_version, kind, number).result()
        if found is None:
            raise NoSuchVersion(f"{kind}: there is no version {number}")
        return found

    # --- publishing --------------------------------------------------------------------------------------

    def checked(self, change: Contents | Change, documents: Documents | None = None) -> Documents:
        """The documents as they would be in force with a change. Raises as `build` and `check` do."""
        if documents is None:
            documents = self.stored()
        contents = change(documents) if callable(change) else change
        changed = {kind: Version(kind, 0, document) for kind, document in contents.items()}
        together = {**documents, **changed}
        self._build(together)
        self._check(together)
        return together

    def publish(
        self,
        change: Contents | Change,
        signature: Signature,
        *,
        expected: Mapping[str, int] | None = None,
        audited: Audited | None = None,
        also: Also = lambda connection: None,
    ) -> Mapping[str, int]:
        """Put documents in force; the numbers of all kinds of the family that are in force then.

        A document that is in force just so makes no new version. `expected`: the numbers the change was made from.
        `also` runs in the same transaction, if anything changes. Raises as `checked` and `permit`, and Conflict.
        """
        for _ in range(ATTEMPTS):
            documents = self.stored()
            seen = _numbers(documents)
            if any(seen.get(kind, 0) != number for kind, number in (expected or {}).items()):
                raise Conflict
            together = self.checked(change, documents)
            fresh = {kind: new.document for kind, new in together.items() if not same(documents.get(kind), new)}
            if not fresh:
                return seen
            self._permit(signature, fresh)
            added = self._database.execute(self._add, fresh, seen, signature, audited, also, time.time())
            if added is not None:
                self.refresh()
                return {**seen, **added}
        raise Conflict("others publish at the same time: try again")

    def rollback(
        self, kind: str, number: int | None, signature: Signature, *, expected: Mapping[str, int] | None = None
    ) -> int:
        """Put an older version in force again, as a new one; its number. None: the one before that in force.

        Raises NoSuchVersion, and as `publish`.
        """
        if number is None:
            versions = self.history(kind, 2)
            if len(versions) < 2:
                raise NoSuchVersion(f"{kind}: there is no version before the one in force")
            expected, number = expected or {kind: versions[0].version}, versions[1].version
        older, published = self.at_version(kind, number), self.publication(kind, number)
        return self.publish(
            {kind: older.document},
            replace(signature, writers=writers_of(published)) if published is not None else signature,
            expected=expected,
            audited=Audited(f"{_word(kind)}.published", {"kind": kind, "again": number}),
        )[kind]

    def _add(
        self,
        connection: Connection,
        fresh: Contents,
        seen: Mapping[str, int],
        signature: Signature,
        audited: Audited | None,
        also: Also,
        at: float,
    ) -> dict[str, int] | None:
        """The transaction; None if the documents in force are no longer those of the check (`seen`)."""
        reading.lock(connection, [f"configuration|{self._name}"])
        if self._own(configurations.numbers(connection)) != seen:
            return None
        added = {}
        author, reason = signature.author or signature.actor, signature.reason
        for kind, document in fresh.items():
            source = signature.source or signature.actor
            number = configurations.add(
                connection, kind, document, source=source, at=at, author=author[:MAX_TEXT], reason=reason[:MAX_TEXT]
            )
            row = audited or Audited(f"{_word(kind)}.published", {"kind": kind})
            detail = signature.signed(**row.detail)
            word, address = _word(kind), signature.address
            add_audit(connection, at, signature.actor, row.action, word, number, detail, address=address)
            added[kind] = number
        also(connection)
        return added


def same(version: Version | None, other: Version) -> bool:
    """Two versions say the same."""
    if version is None:
        return False
    return json.dumps(version.document, sort_keys=True) == json.dumps(other.document, sort_keys=True)


def _numbers(documents: Documents) -> dict[str, int]:
    return {kind: document.version for kind, document in documents.items()}


def _word(kind: str) -> str:
    return kind.partition(":")[0]


def _log(level: str, event: str, version: Version, **more: Any) -> None:
    log = getattr(telemetry.logger(), level)
    log(f"{_word(version.kind)}.{event}", kind=version.kind, version=version.version, **more)
