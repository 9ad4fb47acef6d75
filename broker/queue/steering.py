"""Does with waiting jobs and with lanes what a person decided, and notes it in the audit trail.

A list of jobs that wait changes while a person looks at it: what was sent meanwhile is no longer in it. So a decision
is about rows, and what does not wait any more is left out and not counted.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from broker.model.lane import Lane, LaneKind, parts_of
from broker.queue.hurrying import PAGE, Hurrying
from broker.store import lanes
from broker.store.audit.adding import add_audit
from broker.store.db.database import Database
from broker.store.db.pace import Pace
from broker.store.queued import pauses, steering
from broker.store.queued.steering import DISCARDED_BY_PERSON

STEP = 100  # jobs of one transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """Who decides, when (s since the epoch), from where, and why."""

    actor: str
    at: float
    address: str = ""
    reason: str = ""

    def note(self, connection: Connection, action: str, kind: str, row: int, **more: object) -> None:
        """Leave a row in the audit trail."""
        detail = ({"reason": self.reason} if self.reason else {}) | more
        add_audit(connection, self.at, self.actor, action, kind, row, detail, address=self.address)


@dataclass(frozen=True, slots=True)
class Retried:
    """How many jobs of each lane (stored name) are due now, and how many of those are STAT."""

    lanes: Counter[str] = field(default_factory=Counter)
    urgent: Counter[str] = field(default_factory=Counter)


class QueueSteering:
    """Steers the queue of one broker. Its methods block, and raise StoreUnavailable."""

    def __init__(self, database: Database, wake: Callable[[], None]) -> None:
        """`wake` tells the queue that there may be work."""
        self._database = database
        self._wake = wake

    def retry(self, rows: Sequence[int], who: Steering) -> Retried:
        """Try waiting jobs at once, and their lanes, in all processes; how many of each lane wait.

        What is kept by a pause or a send window is due then, and goes once that ends (`status.lane_keeps`).
        """
        due: list[tuple[str, bool]] = []
        for page in pages(rows):
            due += self._database.execute(steering.make_due, page, who.at)
        done = Retried(Counter(lane for lane, _ in due), Counter(lane for lane, stat in due if stat))
        if done.lanes:
            self._database.execute(_note_retried, done.lanes, who)
            self._wake()
        return done

    def retry_node(self, node: str, who: Steering) -> None:
        """Try all lanes of a node at once, and soon all that waits in them, however much it is."""
        names = [lane.name for lane in lanes_of(node)]
        self._database.execute(_close, names, node, who)
        self._wake()
        Hurrying(self._database, self._wake).begin(names, who.at)

    def discard(self, rows: Sequence[int], who: Steering) -> int:
        """Never try waiting or held jobs; they stay, as discarded. How many did wait."""

        def discarded(connection: Connection, page: Sequence[int]) -> int:
            given_up = [row for row in page if steering.give_up(connection, row, DISCARDED_BY_PERSON, who.at)]
            for row in given_up:
                who.note(connection, "job.discarded", "job", row)
            return len(given_up)

        done = sum(self._database.execute(discarded, page) for page in pages(rows))
        self._wake()  # what waited behind them goes on
        return done

    def pause(self, node: str, who: Steering, *, drain: bool = False) -> bool:
        """Send nothing more to a node; `drain`: once what is there now is sent. False if it is so already."""

        def paused(connection: Connection) -> bool:
            done = pauses.pause(connection, node, who.at, who.actor, who.reason, drain=drain)
            if done:
                who.note(connection, "node.drained" if drain else "node.paused", "node", 0, node=node)
            return done

        done = self._database.execute(paused)
        self._wake()
        return done

    def resume(self, node: str, who: Steering) -> bool:
        """Send again what is for a node; False if it was not paused.

        Tries of before the pause do not count any more: a job that waited for long is tried as a new one is.
        """
        names = [lane.name for lane in lanes_of(node)]
        pace = Pace(self._database)
        if node not in {one.node for one in pace.read(pauses.find)}:
            return False
        first, last = pace.read(lanes.span)
        for after in range(first - 1, last, PAGE):
            tried = pace.read(steering.tried, after, after + PAGE, names)
            for _ in pace.write(lambda connection, rows: steering.forget_tries(connection, rows, now=who.at), tried):
                pass

        def resumed(connection: Connection) -> bool:
            done = pauses.resume(connection, node)
            if done:
                lanes.close_breakers(connection, names)
                who.note(connection, "node.resumed", "node", 0, node=node)
            return done

        done = self._database.execute(resumed)
        self._wake()
        return done


def lanes_of(node: str) -> list[Lane]:
    """The lanes that a node may have."""
    return [Lane(kind, node) for kind in LaneKind]


def pages(rows: Sequence[int]) -> Iterator[Sequence[int]]:
    """Rows by transaction, each once."""
    unique = list(dict.fromkeys(rows))
    for start in range(0, len(unique), STEP):
        yield unique[start : start + STEP]


def now_by(actor: str, address: str, reason: str = "") -> Steering:
    """A decision that is made now."""
    return Steering(actor=actor, at=time.time(), address=address, reason=reason)


def _note_retried(connection: Connection, done: Counter[str], who: Steering) -> None:
    for lane, number in sorted(done.items()):
        who.note(connection, "node.retried", "node", 0, node=parts_of(lane)[1], lane=lane, jobs=number)


def _close(connection: Connection, names: Sequence[str], node: str, who: Steering) -> None:
    lanes.close_breakers(connection, names)
    who.note(connection, "node.retried", "node", 0, node=node)
