"""Hands the audit trail to the queue: a job for each run of new rows and each audit repository.

Rows are numbered when they are written and appear when their transaction is committed, so that on PostgreSQL a number
may appear after a higher one. What is missing in between is waited for, until it cannot come any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from broker.model.lane import JobKind, Lane, LaneKind
from broker.store import jobs
from broker.store.audit import places
from broker.store.db.database import Database
from broker.store.jobs import NewJob
from broker.store.orders import reading

RUN = 100  # rows of one job
RUNS = 20  # jobs of one look
GRACE = 40.0  # seconds: no transaction of ours takes so long


class AuditFeeder:
    """Looks for new rows. One feeder of all processes works at a time."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._database = database
        self._clock = clock
        self._gaps: dict[int, float] = {}  # first missing number: since when it is missed

    def feed(self, nodes: Sequence[str]) -> bool:
        """Make jobs for the repositories of these names (blocking); True if there are new ones.

        Raises StoreUnavailable.
        """
        made = [self._database.execute(self._runs, node) for node in nodes]
        return any(made)

    def _runs(self, connection: Connection, node: str) -> int:
        reading.lock(connection, [f"audit-feed|{node}"])
        done = places.place(connection, node)
        ready = self._ready(done, places.numbers(connection, done, RUN * RUNS))
        new = []
        for at in range(0, len(ready), RUN):
            last = ready[min(at + RUN, len(ready)) - 1]
            lane = Lane(LaneKind.AUDIT, node).name
            new.append(NewJob(kind=JobKind.AUDIT, lane=lane, subject=last, detail={"after": done}, group_key=lane))
            done = last
        if new:
            places.move(connection, node, done)
            jobs.enqueue(connection, new, time.time())
        return len(new)

    def _ready(self, done: int, numbers: Sequence[int]) -> Sequence[int]:
        """The numbers up to the first gap that may still be filled."""
        now, before = self._clock(), done
        self._gaps = {gap: since for gap, since in self._gaps.items() if gap > done}
        for count, number in enumerate(numbers):
            gap = number != before + 1 and self._database.dialect != "sqlite"
            if gap and now - self._gaps.setdefault(before + 1, now) < GRACE:
                return numbers[:count]
            before = number
        return numbers
