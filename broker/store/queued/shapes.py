"""Counts what waits in each lane by its age, as Postfix's qshape does, and says how the lane is.

Every count goes along an index and ends at CAP, so that a backlog of millions costs as much as one of ten thousand.
Times in seconds since the epoch.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from sqlalchemy import ColumnElement, Connection, Select, func, select, text

from broker.store import jobs
from broker.store.queued import pauses
from broker.store.queued.pauses import NodePause
from broker.store.queued.waiting_jobs import lanes_with
from broker.store.schema import tables

AGES = (300.0, 1800.0, 7200.0, 28_800.0, 86_400.0)  # seconds: the columns end here, the last one is open
CAP = 10_000  # jobs that are counted
USUAL = 5  # the priority of a job of which no rule says more: the lower, the sooner
_t = tables.job
_READY, _HELD = text("state = 'ready'"), text("state = 'held'")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneShape:
    """A lane. A count above CAP means “more than CAP”.

    `ages`: jobs that wait to be sent, or are being sent, by their age: one number for each of AGES and one for what is
    older. `ready`: due now; `put_off`: they wait for a retry; `sending`: being tried now; `held`: for a person;
    `urgent`: of those that wait, more urgent than usual.
    `failures` in a row, since when, and until when the lane is not tried. `pause`: of its node, None for none.
    """

    name: str
    ages: tuple[int, ...]
    ready: int
    put_off: int
    sending: int
    held: int
    oldest: float | None
    urgent: int = 0
    failures: int = 0
    since: float = 0.0
    open_until: float = 0.0
    error: str = ""
    pause: NodePause | None = None

    @property
    def waiting(self) -> int:
        """Jobs that wait to be sent or are being sent, as far as they are counted."""
        return min(sum(self.ages), CAP + 1)


def shapes(connection: Connection, now: float) -> list[LaneShape]:
    """All lanes with unfinished work, and those whose last try failed; by name."""
    breakers = jobs.breakers(connection)
    paused = {one.node: one for one in pauses.find(connection)}
    leased: defaultdict[str, list[float]] = defaultdict(list)
    for row in connection.execute(select(_t.c.lane, _t.c.created_at).where(text("state = 'leased'"))):
        leased[row[0]].append(row[1])
    ready, held = set(lanes_with(connection, _READY)), set(lanes_with(connection, _HELD))
    failing = {name for name, breaker in breakers.items() if breaker.failures}
    found = []
    for name in sorted({*ready, *held, *leased, *failing}):
        waits = _Waiting(connection, name, now) if name in ready else None
        taken = leased.get(name, [])
        breaker = breakers.get(name)
        oldest = [at for at in (waits.oldest() if waits is not None else None, *taken) if at is not None]
        found.append(
            LaneShape(
                name=name,
                ages=_sum(waits.ages() if waits is not None else [0] * (len(AGES) + 1), taken, now),
                ready=waits.due(later=False) if waits is not None else 0,
                put_off=waits.due(later=True) if waits is not None else 0,
                sending=len(taken),
                held=_held(connection, name) if name in held else 0,
                oldest=min(oldest, default=None),
                urgent=waits.urgent() if waits is not None else 0,
                failures=breaker.failures if breaker is not None else 0,
                since=breaker.since if breaker is not None else 0.0,
                open_until=breaker.open_until if breaker is not None else 0.0,
                error=breaker.last_error if breaker is not None and breaker.failures else "",
                pause=paused.get(name.partition(":")[2]),
            )
        )
    return found


class _Waiting:
    """Counts the jobs of a lane that are ready."""

    def __init__(self, connection: Connection, lane: str, now: float) -> None:
        self._connection = connection
        self._here = _READY, _t.c.lane == lane
        self._now = now

    def oldest(self) -> float | None:
        """When the oldest was made."""
        query = select(_t.c.created_at).where(*self._here).order_by(_t.c.created_at).limit(1)
        return self._connection.execute(query).scalar()

    def ages(self) -> list[int]:
        """By age: each a range of `ix_job_waiting`."""
        edges = [math.inf, *(self._now - age for age in AGES), -math.inf]  # younger than now: a clock was ahead
        return [self._between(_t.c.created_at, low, high) for high, low in pairwise(edges)]

    def urgent(self) -> int:
        """More urgent than usual: a range of `ix_job_due`."""
        return self._between(_t.c.priority, -math.inf, USUAL - 1)

    def due(self, *, later: bool) -> int:
        """Due now, or later: of each priority a range of `ix_job_due`."""
        number, here = 0, self._here
        query = select(_t.c.priority).where(*here).order_by(_t.c.priority).limit(1)
        priority = self._connection.execute(query).scalar()
        while priority is not None and number <= CAP:
            low, high = (self._now, math.inf) if later else (-math.inf, self._now)
            number += self._between(_t.c.due_at, low, high, _t.c.priority == priority)
            priority = self._connection.execute(query.where(_t.c.priority > priority)).scalar()
        return min(number, CAP + 1)

    def _between(self, column: ColumnElement[float], low: float, high: float, *more: ColumnElement[bool]) -> int:
        """How many are above one value and at most at another."""
        some = select(_t.c.id).where(*self._here, *more)
        if low > -math.inf:
            some = some.where(column > low)
        if high < math.inf:
            some = some.where(column <= high)
        return _counted(self._connection, some.order_by(column).limit(CAP + 1))


def _held(connection: Connection, lane: str) -> int:
    some = select(_t.c.id).where(_HELD, _t.c.lane == lane).order_by(_t.c.lane).limit(CAP + 1)
    return _counted(connection, some)


def _counted(connection: Connection, query: Select[tuple[int]]) -> int:
    return int(connection.execute(select(func.count()).select_from(query.subquery())).scalar_one())


def _sum(ages: Sequence[int], taken: Sequence[float], now: float) -> tuple[int, ...]:
    """What is ready by age, and what is being tried with it."""
    numbers = list(ages)
    for at in taken:
        numbers[sum(now - at >= age for age in AGES)] += 1
    return tuple(min(number, CAP + 1) for number in numbers)
