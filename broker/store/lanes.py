"""Says which lanes of the queue have work that is due, and lets lanes begin afresh. The jobs are in `store.jobs`.

A lane is passed as its stored name (`model.lane.Lane.name`), `now` in seconds since the epoch.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, and_, func, or_, select, update

from broker.model.lane import STAT, UNFINISHED, JobState, Lane, LaneKind
from broker.store.db import clock
from broker.store.db.clock import ClockReading
from broker.store.db.pace import padded
from broker.store.schema import tables

CAP = 10_000  # jobs that are counted
FEW = 16  # lanes that are looked at without asking first which have work
_t = tables.job
_lane = tables.lane


class LanesLook(NamedTuple):
    """What the clock of the database says, the lanes with work that may be tried then, and the nodes that are paused.

    A node that drains is not among these.
    """

    reading: ClockReading
    due: list[str]
    paused: frozenset[str]


def look(connection: Connection, longest: float, stat: Collection[str] = ()) -> LanesLook:
    """What a dispatcher has to know. `stat`: lanes of which only what is STAT counts."""
    reading = clock.read(connection)
    paused = select(tables.pause.c.node).where(tables.pause.c.last_job == 0)
    return LanesLook(
        reading,
        due_lanes(connection, reading.wall, longest, stat),
        frozenset(connection.execute(paused).scalars()),
    )


def due_lanes(connection: Connection, now: float, longest: float = math.inf, stat: Collection[str] = ()) -> list[str]:
    """Lanes with work that may be tried now. Hops along the index: a million jobs of a dead lane cost one step.

    Neither job nor breaker waits longer than `longest` seconds: what says so was written by a clock that was ahead.
    A lane whose node is paused has none; while its node drains, only jobs of before count. Of
    those in `stat` only what is STAT does.
    """
    rows = connection.execute(select(tables.pause.c.node, tables.pause.c.last_job))
    paused: dict[str, int] = {row[0]: row[1] for row in rows}
    broken = select(_lane.c.name).where(_lane.c.open_until > now, _lane.c.open_until <= now + longest)
    closed = set(connection.execute(broken).scalars())
    is_due = or_(_t.c.due_at <= now, _t.c.due_at > now + longest)
    due: list[str] = []
    for lane in having(connection, JobState.READY):
        last = paused.get(lane.partition(":")[2])
        if lane not in closed and last != 0:
            ready = select(_t.c.id).where(_t.c.lane == lane, _t.c.state == JobState.READY, is_due).limit(1)
            if last is not None:
                ready = ready.where(_t.c.id + 0 <= last)
            if lane in stat:
                ready = ready.where(_t.c.priority <= STAT)
            if connection.execute(ready).first() is not None:
                due.append(lane)
    return due


def having(connection: Connection, state: JobState) -> Iterable[str]:
    """Stored names of the lanes that have jobs in a state."""
    lane: str | None = ""
    while lane is not None:
        query = select(_t.c.lane).where(_t.c.state == state, _t.c.lane > lane).order_by(_t.c.lane).limit(1)
        lane = connection.execute(query).scalar()
        if lane is not None:
            yield lane


def close_breakers(connection: Connection, lanes: Sequence[str]) -> None:
    """Forget the failures of these lanes: their node has changed."""
    connection.execute(update(_lane).where(_lane.c.name.in_(lanes)).values(failures=0, open_until=0.0, last_error=""))


def try_now(connection: Connection, lanes: Sequence[str]) -> int:
    """Try these lanes at once, whatever they wait for; how many were closed. Their failures go on counting."""
    closed = _lane.c.name.in_(lanes), _lane.c.open_until > 0
    return int(connection.execute(update(_lane).where(*closed).values(open_until=0.0)).rowcount)


def end_waits(connection: Connection, now: float) -> None:
    """No lane is closed, since the clock by which that was written was set. The failures of lanes go on counting."""
    connection.execute(update(_lane).where(_lane.c.open_until > 0).values(open_until=0.0))
    connection.execute(update(_lane).where(_lane.c.since > now).values(since=now))


def span(connection: Connection) -> tuple[int, int]:
    """Rows of the first and the last job."""
    first, last = connection.execute(select(func.min(_t.c.id), func.max(_t.c.id))).one()
    return first or 1, last or 0


def late(connection: Connection, after: int, until: int, lanes: Sequence[str] | None, now: float) -> list[int]:
    """Jobs (rows) behind one and up to another that are due later than now, or younger; of these lanes, or of all."""
    waits = or_(
        and_(_t.c.state == JobState.READY, _t.c.due_at > now),
        and_(_t.c.state.in_(UNFINISHED), _t.c.created_at > now),
    )
    query = select(_t.c.id).where(_t.c.id > after, _t.c.id <= until, waits).order_by(_t.c.id)
    return list(connection.execute(query if lanes is None else query.where(_t.c.lane.in_(lanes))).scalars())


def make_due(connection: Connection, rows: Sequence[int], *, now: float) -> None:
    """What still waits of these jobs is due. What was made by a clock that was ahead is as old as this moment."""
    mine = _t.c.id.in_(padded(rows))
    connection.execute(update(_t).where(mine, _t.c.state == JobState.READY, _t.c.due_at > now).values(due_at=now))
    early = (mine, _t.c.state.in_(UNFINISHED), _t.c.created_at > now)
    connection.execute(update(_t).where(*early).values(created_at=now))


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneReport:
    """A lane: jobs that wait or are held; failures in a row, since when, and until when it is not tried.

    Times in s since the epoch, 0 for none. A count above CAP means “more than CAP”.
    """

    name: str
    waiting: int
    held: int
    failures: int
    since: float
    open_until: float
    last_error: str


def reports(connection: Connection, lanes: Sequence[str]) -> list[LaneReport]:
    """Those of these lanes that have unfinished work, or that failed last."""
    wanted, counted = set(lanes), dict[tuple[str, str], int]()
    for state in UNFINISHED:
        busy = lanes if len(lanes) <= FEW else [lane for lane in having(connection, state) if lane in wanted]
        counted |= {(lane, state): _count(connection, state, lane) for lane in busy}
    breakers = {row.name: row for row in connection.execute(select(_lane)) if row.name in wanted}
    made = []
    for name in lanes:
        breaker = breakers.get(name)
        report = LaneReport(
            name=name,
            waiting=counted.get((name, JobState.READY), 0) + counted.get((name, JobState.LEASED), 0),
            held=counted.get((name, JobState.HELD), 0),
            failures=breaker.failures if breaker is not None else 0,
            since=breaker.since if breaker is not None else 0.0,
            open_until=breaker.open_until if breaker is not None else 0.0,
            last_error=breaker.last_error if breaker is not None else "",
        )
        if report.waiting or report.held or report.failures:
            made.append(report)
    return made


def _count(connection: Connection, state: JobState, lane: str) -> int:
    """Jobs of a lane in a state, as far as they are counted."""
    here = _t.c.state == state, _t.c.lane == lane
    some = select(_t.c.id).where(*here).order_by(_t.c.lane).limit(CAP + 1).subquery()
    return int(connection.execute(select(func.count()).select_from(some)).scalar_one())


def reports_of_node(connection: Connection, node: str) -> list[LaneReport]:
    """The lanes of a node, as `reports` has them."""
    return reports(connection, [Lane(kind, node).name for kind in LaneKind])
