"""Says which messages of the journal would change something else by the draft of a mapping profile than they do now.

Each message is run twice on what is stored, by the mapping in force and by the draft, as its door does it, and undone
(`replay.trial`). Where what is stored stays the same both times, as of an exam that has ended, the message is also
looked at as if it were the first about its exam (`preview`). The newest messages come first; messages and time are
bounded, and one draft is looked at at a time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from threading import Lock

from broker.errors import BadContent
from broker.hl7.codes import AckCode
from broker.hl7.findings import Finding
from broker.hl7.header import Header
from broker.model.message import Direction, JournaledMessage, JournalFilter, MessageRecord, MessageSelection
from broker.model.order import Document
from broker.orders.inbound.reception import Profiles, open_message
from broker.orders.mapping.book import DEFAULT, ProfileBook
from broker.orders.mapping.profile import Profile
from broker.orders.trying import preview, replay
from broker.orders.trying.replay import Bench, ItemDifference, RunOutcome
from broker.store.db.database import Database
from broker.store.db.newest import Place
from broker.store.db.pace import Pace
from broker.store.journal import listing
from broker.store.orders import messages

DAYS = 7
LOOKED = 5000  # messages of the journal that are looked at, most of them by the profile of their sender alone
RUN = 500  # messages that are run
SECONDS = 15.0
SHOWN = 100  # messages that are told one by one
PAGE = 100


class TrialBusy(BadContent):
    """Another draft is being tried on the messages of the journal just now: try again in some seconds."""

    code = "trial-busy"


class DraftEffect(StrEnum):
    """Says what a draft makes of a message."""

    ACCEPTED = "accepted"  # it is refused now
    REFUSED = "refused"  # it is accepted now
    DIFFERS = "differs"  # entries of the worklist would be others
    ONLY_NEW = "only-new"  # what is stored stays; a new message like it would make other entries
    UNCHANGED = "unchanged"
    OTHER = "other"  # it is read by a profile that stays as it is


_SAME = frozenset({DraftEffect.UNCHANGED, DraftEffect.OTHER})


class TrialEnd(StrEnum):
    """Says why no further message was looked at."""

    ALL = "all"
    MESSAGES = "messages"
    TIME = "time"


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedMessage:
    """What a draft makes of one message. Codes and profiles: by the mapping in force (`now`), and by the draft.

    `differences`: entries by the mapping in force beside those by the draft; negative steps are new ones.
    """

    message: int
    received_at: float
    sender: str
    message_type: str
    effect: DraftEffect
    now: str
    then: str
    profile_now: str
    profile_then: str
    findings: tuple[Finding, ...] = ()
    differences: tuple[ItemDifference, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftChanges:
    """What a draft makes of the messages since a moment (s since the epoch). `messages`: at most SHOWN that change.

    `total` of these messages are in the journal, more if not `whole`; `looked` were looked at, and `unread` of those
    are not kept as a whole. `counts` by effect.
    """

    since: float
    total: int
    whole: bool
    looked: int
    unread: int
    counts: Mapping[DraftEffect, int]
    messages: tuple[TriedMessage, ...]
    end: TrialEnd

    @property
    def changed(self) -> int:
        """How many messages would not do what they do now."""
        return sum(
            self.counts.get(effect, 0)
            for effect in DraftEffect
            if effect not in (DraftEffect.UNCHANGED, DraftEffect.OTHER)
        )


@dataclass(frozen=True, slots=True)
class DraftBooks:
    """The profiles in force, those with a draft, and the names of profiles that are not the same in both."""

    now: ProfileBook
    then: ProfileBook
    changed: frozenset[str]


class DraftTrials:
    """Tries drafts on the messages of a database, one at a time."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._database = database
        self._clock = clock
        self._lock = Lock()

    def changes(self, books: DraftBooks, bench: Bench, since: float, *, most: int = RUN) -> DraftChanges:
        """What would change of messages received since a moment; `bench` says how the door runs them.

        Raises TrialBusy, StoreUnavailable.
        """
        if not self._lock.acquire(blocking=False):
            raise TrialBusy
        try:
            return self._changes(_Trial(self._database, books, bench), since, min(most, RUN))
        finally:
            self._lock.release()

    def _changes(self, trial: _Trial, since: float, most: int) -> DraftChanges:
        until = self._clock() + SECONDS
        counts: Counter[DraftEffect] = Counter()
        shown: list[TriedMessage] = []
        looked = unread = 0
        end = TrialEnd.ALL
        for row in self._rows(since):
            ran = counts.total() - counts[DraftEffect.OTHER]
            if self._clock() >= until:
                end = TrialEnd.TIME
            elif looked >= LOOKED or ran >= most:
                end = TrialEnd.MESSAGES
            if end is not TrialEnd.ALL:
                break
            looked += 1
            found = self._database.read(messages.select_messages, MessageSelection(rows=(row,))).result()
            if not found:
                unread += 1
                continue
            effect = trial.effect(found[0])
            counts[effect.effect] += 1
            if effect.effect not in _SAME and len(shown) < SHOWN:
                shown.append(effect)
        wanted = JournalFilter(direction=Direction.IN, since=since)
        total, whole = self._database.read(listing.count, wanted, 10_000).result()
        return DraftChanges(
            since=since,
            total=max(total, looked),
            whole=whole,
            looked=looked,
            unread=unread,
            counts=dict(counts),
            messages=tuple(shown),
            end=end,
        )

    def _rows(self, since: float) -> Iterator[int]:
        """Rows of messages received since a moment, newest first."""
        wanted = JournalFilter(direction=Direction.IN, since=since)
        after: Place | None = None
        while True:
            page = self._database.read(listing.page, wanted, after, PAGE).result()
            yield from (row.row for row in page.rows if isinstance(row, MessageRecord))
            after = page.after
            if after is None:
                return


class _Trial:
    """One draft beside the mapping in force."""

    def __init__(self, database: Database, books: DraftBooks, bench: Bench) -> None:
        self._database, self._books, self._bench = database, books, bench
        self._pace = Pace(database)
        self._benches = [_by(book, bench) for book in (books.now, books.then)]

    def effect(self, stored: JournaledMessage) -> TriedMessage:
        """What the draft makes of a message."""
        interface = self._bench.interface(stored.listener)
        fallback = interface.profile or DEFAULT
        names = []
        for book in (self._books.now, self._books.then):
            opened = open_message(stored.raw, interface, _chooser(book, fallback))
            names.append(opened.profile.name if opened else "")
        if names[0] == names[1] and names[0] not in self._books.changed:
            return _effect(stored, DraftEffect.OTHER, names)
        self._pace.turn()
        at = datetime.now(self._bench.zone)
        now, then = self._database.submit(replay.trial, stored, self._benches, at).result()
        taken = [outcome.code == AckCode.AA for outcome in (now, then)]
        differences = _beside(now, then)
        kind = DraftEffect.UNCHANGED
        if taken[0] != taken[1]:
            kind = DraftEffect.ACCEPTED if taken[1] else DraftEffect.REFUSED
        elif differences:
            kind = DraftEffect.DIFFERS
        elif all(taken) and (differences := self._as_new(stored, names)):
            kind = DraftEffect.ONLY_NEW
        return _effect(stored, kind, names, now, then, differences)

    def _as_new(self, stored: JournaledMessage, names: list[str]) -> tuple[ItemDifference, ...]:
        """How the entries differ that a message makes if it is the first about its exam."""
        interface = self._bench.interface(stored.listener)
        entries = []
        for book, name in zip((self._books.now, self._books.then), names, strict=True):
            found = preview.preview(
                stored.raw,
                book.named(name),
                self._bench.zone,
                interface=interface,
                default_station=self._bench.default_station,
            )
            entries.append({-number: one for number, one in enumerate(preview.documents(found), 1)})
        return _differences(*entries)


def _by(book: ProfileBook, bench: Bench) -> Bench:
    """A bench that reads each message by the profile of its sender in a book."""
    return replace(
        bench, profiles=_chooser(book, DEFAULT), by_interface=lambda fallback: _chooser(book, fallback), forced=""
    )


def _chooser(book: ProfileBook, fallback: str) -> Profiles:
    def choose(header: Header) -> Profile:
        return book.choose(header, fallback)

    return choose


def _beside(now: RunOutcome, then: RunOutcome) -> tuple[ItemDifference, ...]:
    """How the entries differ after a message: what one of both runs did not touch is as it is stored."""
    stored = {**now.before, **then.before}
    return _differences(*({**stored, **_numbered(outcome, stored)} for outcome in (now, then)))


def _numbered(outcome: RunOutcome, stored: Mapping[int, Document]) -> dict[int, Document]:
    """Entries after a run; new ones by -1, -2 … in their order: what their rows would be, differs by chance."""
    fresh = sorted(step for step in outcome.after if step not in stored)
    return {-fresh.index(step) - 1 if step in fresh else step: entry for step, entry in outcome.after.items()}


def _differences(now: Mapping[int, Document], then: Mapping[int, Document]) -> tuple[ItemDifference, ...]:
    steps = dict.fromkeys((*now, *then))
    return tuple(one for step in steps for one in replay.compare(step, now.get(step, {}), then.get(step, {})))


def _effect(
    stored: JournaledMessage,
    effect: DraftEffect,
    names: list[str],
    now: RunOutcome | None = None,
    then: RunOutcome | None = None,
    differences: tuple[ItemDifference, ...] = (),
) -> TriedMessage:
    return TriedMessage(
        message=stored.row,
        received_at=stored.received_at,
        sender=stored.sender,
        message_type=stored.message_type,
        effect=effect,
        now=now.code if now else "",
        then=then.code if then else "",
        profile_now=names[0],
        profile_then=names[1],
        findings=then.findings if then else (),
        differences=differences,
    )
