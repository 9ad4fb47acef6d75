"""Changes jobs that wait or are held, by their rows, as a person decided. `now` in seconds since the epoch.

What is being sent just now is left alone: its sender reports what becomes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update

from broker.model.lane import STAT, JobKind, JobState
from broker.store import claims, lanes
from broker.store.db import documents
from broker.store.db.pace import padded
from broker.store.images.instances import InstanceState
from broker.store.schema import tables

_t, _i = tables.job, tables.instance
DISCARDED_BY_PERSON = "discarded-by-person"


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingDelivery:
    """A delivery of an object (row) that waits or is held. `there`: its bytes are kept."""

    id: int
    lane: str
    subject: int
    sop_instance_uid: str
    priority: int
    detail: dict[str, Any]
    there: bool


def make_due(connection: Connection, rows: Sequence[int], now: float) -> list[tuple[str, bool]]:
    """Try waiting jobs at once, and their lanes: breakers are closed. The lane of each, and whether it is STAT."""
    found = connection.execute(
        update(_t)
        .where(_t.c.id.in_(padded(rows)), _t.c.state == JobState.READY)
        .values(due_at=now)
        .returning(_t.c.lane, _t.c.priority)
    ).all()
    lanes.close_breakers(connection, sorted({lane for lane, _ in found}))
    return [(lane, priority <= STAT) for lane, priority in found]


def give_up(connection: Connection, row: int, error: str, now: float) -> bool:
    """Never try a job that waits or is held; it stays, as discarded. False if it does neither."""
    return _give_up(connection, row, (JobState.READY, JobState.HELD), error, now)


def give_up_held(connection: Connection, row: int, error: str, now: float) -> bool:
    """Never try a held job; it stays, as discarded. False if it is not held."""
    return _give_up(connection, row, (JobState.HELD,), error, now)


def _give_up(connection: Connection, row: int, states: Sequence[JobState], error: str, now: float) -> bool:
    waits = _t.c.id == row, _t.c.state.in_(states)
    values = {"state": JobState.DISCARDED, "last_error": error, "due_at": now, "done_at": now}
    return bool(connection.execute(update(_t).where(*waits).values(**values)).rowcount)


def in_no_doubt(connection: Connection, lane: str, limit: int) -> list[int]:
    """Jobs (rows) of a lane that wait and never failed by what may be their own fault; the most urgent first."""
    query = (
        select(_t.c.id)
        .where(_t.c.lane == lane, _t.c.state == JobState.READY, _t.c.priority < claims.LAST, _t.c.failures == 0)
        .order_by(_t.c.priority, _t.c.due_at)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def deliveries(connection: Connection, rows: Sequence[int]) -> list[WaitingDelivery]:
    """Those of some jobs (rows) that are deliveries of objects and wait or are held, in order of their rows."""
    columns = (_t.c.id, _t.c.lane, _t.c.subject, _i.c.sop_instance_uid, _t.c.priority, _t.c.detail, _i.c.state)
    query = (
        select(*columns)
        .join(_i, _i.c.id == _t.c.subject)
        .where(
            _t.c.id.in_(padded(rows)),
            _t.c.kind == JobKind.DELIVER,
            _t.c.state.in_((JobState.READY, JobState.HELD)),
        )
        .order_by(_t.c.id)
    )
    return [
        WaitingDelivery(
            id=row[0],
            lane=row[1],
            subject=row[2],
            sop_instance_uid=row[3],
            priority=row[4] % claims.LAST,
            detail=documents.decode(row[5]),
            there=row[6] != InstanceState.PURGED,
        )
        for row in connection.execute(query)
    ]


def tried(connection: Connection, after: int, until: int, names: Sequence[str]) -> list[int]:
    """Waiting jobs (rows) of these lanes, behind one and up to another, that were tried before."""
    here = _t.c.id > after, _t.c.id <= until, _t.c.lane.in_(names)
    query = select(_t.c.id).where(*here, _t.c.state == JobState.READY, _t.c.attempts > 0).order_by(_t.c.id)
    return list(connection.execute(query).scalars())


def forget_tries(connection: Connection, rows: Sequence[int], *, now: float) -> None:
    """Count the tries of what still waits anew, and try it at once: it must not be given up for those of before."""
    waits = _t.c.id.in_(padded(rows)), _t.c.state == JobState.READY
    connection.execute(update(_t).where(*waits).values(attempts=0, due_at=now))


def delivery_of(connection: Connection, lane: str, subject: int) -> tuple[int, JobState] | None:
    """The delivery of an object (row) on a lane, and its state; None if there never was one."""
    here = _t.c.kind == JobKind.DELIVER, _t.c.lane == lane, _t.c.subject == subject
    row = connection.execute(select(_t.c.id, _t.c.state).where(*here)).first()
    return (row[0], JobState(row[1])) if row is not None else None


def send_again(connection: Connection, row: int, now: float) -> bool:
    """Let a delivery that is done begin anew; False if it is not done. Its tries go on to be counted.

    So an answer that the object is there already (0111H) is still taken for one.
    """
    done = _t.c.id == row, _t.c.state == JobState.DONE
    values: dict[str, Any] = {"state": JobState.READY, "due_at": now, "created_at": now, "done_at": None}
    values |= {"failures": 0, "last_error": "", "priority": _t.c.priority % claims.LAST}
    return bool(connection.execute(update(_t).where(*done).values(**values)).rowcount)


def is_under_way(connection: Connection, lane: str, subject: int) -> bool:
    """A lane has delivered an object (row), or will."""
    here = _t.c.kind == JobKind.DELIVER, _t.c.lane == lane, _t.c.subject == subject
    return connection.execute(select(_t.c.id).where(*here, _t.c.state != JobState.DISCARDED)).first() is not None
