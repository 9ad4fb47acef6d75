"""Reads what *Now* shows of the database: lanes, what waits for a person, the exams of a day. Gives no identities.

Every statement goes by an index and reads a bounded number of rows (`tests/store/test_overview.py`): counts end at CAP.
What is counted is asked for in the order of its index: with LIMIT alone PostgreSQL may read the table, in the hope that
it has it soon.
Times in seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, TextClause, and_, func, select, text

from broker.model.lane import JobState
from broker.model.order import StepStatus
from broker.store import jobs, knocks
from broker.store.images import gatherings
from broker.store.images.instances import InstanceState
from broker.store.queued import pauses
from broker.store.queued.pauses import NodePause
from broker.store.schema import tables

CAP = 10_000  # rows that are counted; what is more is shown as “more than”
_job, _lane, _instance, _mpps, _message = tables.job, tables.lane, tables.instance, tables.mpps, tables.message
_READY = text("state = 'ready'")  # bare, as the partial indexes say it


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneState:
    """One lane: what waits in it and since when, and its breaker; `since`: when its failures began."""

    name: str
    waiting: int = 0
    oldest: float | None = None
    failures: int = 0
    since: float = 0.0
    open_until: float = 0.0
    last_error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pile:
    """Things that wait for a person for one reason; `lane` of jobs. `oldest`: since when the first one waits.

    `more`: not all were looked at, and there may be more.
    """

    reason: str
    count: int
    oldest: float
    lane: str = ""
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What waits, by lane and by what it waits for. A count above CAP means “more than CAP”."""

    lanes: tuple[LaneState, ...] = ()
    held_jobs: tuple[Pile, ...] = ()
    held_objects: tuple[Pile, ...] = ()
    performed: tuple[Pile, ...] = ()
    refused: int = 0  # messages since the begin of the day that nobody has dealt with
    refused_at: float | None = None  # the last one of them
    knocking: int = 0
    knocked_at: float | None = None  # the last time
    exams: Mapping[str, int] = field(default_factory=dict)  # steps of the day, by status
    size: int = 0  # bytes of the database
    pauses: tuple[NodePause, ...] = ()  # of nodes, by a person
    gathering: int = 0  # series and studies that wait until they are complete
    gathering_since: float | None = None  # the first object of the one that waits longest


def counts(connection: Connection, day_began: float, day: str) -> Counts:
    """What *Now* shows. `day_began`: midnight on the clock of the site, `day` its date as YYYYMMDD."""
    refused, refused_at = _refused(connection, day_began)
    held = _instance.c.state == InstanceState.HELD
    gathering, since = gatherings.waiting(connection, CAP + 1)
    return Counts(
        lanes=tuple(_lanes(connection)),
        held_jobs=tuple(_held_jobs(connection)),
        held_objects=_piles(connection, _instance.c.reason, _instance.c.received_at, held, _instance.c.received_at),
        performed=_piles(connection, _mpps.c.attention, _mpps.c.created_at, _mpps.c.attention > "", _mpps.c.attention),
        refused=refused,
        refused_at=refused_at,
        knocking=knocks.count(connection),
        knocked_at=connection.execute(select(func.max(tables.knock.c.last_at))).scalar(),
        exams=_exams(connection, day),
        size=_size(connection),
        pauses=tuple(pauses.find(connection)),
        gathering=gathering,
        gathering_since=since,
    )


def waiting(connection: Connection) -> dict[str, int]:
    """How many jobs wait to be sent, or are being sent, in each lane that has some."""
    return {one.name: one.waiting for one in _lanes(connection) if one.waiting}


def _lanes(connection: Connection) -> Iterable[LaneState]:
    breakers = jobs.breakers(connection)
    leased = _leased(connection)
    ready = list(_lanes_with(connection, _READY))
    for name in sorted({*ready, *breakers, *leased}):
        number, oldest = _ready(connection, name) if name in ready else (0, None)
        more, other = leased.get(name, (0, None))
        breaker = breakers.get(name)
        yield LaneState(
            name=name,
            waiting=number + more,
            oldest=min((at for at in (oldest, other) if at is not None), default=None),
            failures=breaker.failures if breaker else 0,
            since=breaker.since if breaker else 0.0,
            open_until=breaker.open_until if breaker else 0.0,
            last_error=breaker.last_error if breaker else "",
        )


def _lanes_with(connection: Connection, state: ColumnElement[bool] | TextClause) -> Iterable[str]:
    """Names of lanes with jobs in a state, in hops along the index: a million jobs of a lane cost one step."""
    first = select(_job.c.lane).where(state).order_by(_job.c.lane).limit(1)
    lane: str | None = connection.execute(first).scalar()
    while lane is not None:
        yield lane
        lane = connection.execute(first.where(_job.c.lane > lane)).scalar()


def _ready(connection: Connection, lane: str) -> tuple[int, float | None]:
    """How many jobs of a lane are ready, and when the oldest was made."""
    here = _READY, _job.c.lane == lane
    some = select(_job.c.id).where(*here).order_by(_job.c.created_at).limit(CAP + 1).subquery()
    oldest = select(_job.c.created_at).where(*here).order_by(_job.c.created_at).limit(1)
    number = connection.execute(select(func.count()).select_from(some)).scalar_one()
    return int(number), connection.execute(oldest).scalar()


def _leased(connection: Connection) -> dict[str, tuple[int, float | None]]:
    """Jobs that are being tried now: no more than the lanes have taken."""
    query = select(_job.c.lane, func.count(), func.min(_job.c.created_at)).where(text("state = 'leased'"))
    return {row[0]: (int(row[1]), row[2]) for row in connection.execute(query.group_by(_job.c.lane))}


def _held_jobs(connection: Connection) -> Iterable[Pile]:
    """What is held in each lane, so that a lane with many hides no other."""
    held = _job.c.state == JobState.HELD
    for lane in _lanes_with(connection, held):
        here = and_(held, _job.c.lane == lane)
        for pile in _piles(connection, _job.c.last_error, _job.c.created_at, here, _job.c.lane):
            yield replace(pile, lane=lane)


def _piles(
    connection: Connection, reason: Column[Any], at: Column[Any], waiting: ColumnElement[bool], order: Column[Any]
) -> tuple[Pile, ...]:
    """What waits, by reason. `order`: of the index that knows what waits."""
    some = select(reason.label("reason"), at.label("at")).where(waiting).order_by(order).limit(CAP + 1).subquery()
    query = select(some.c.reason, func.count(), func.min(some.c.at)).group_by(some.c.reason).order_by(some.c.reason)
    rows = connection.execute(query).all()
    more = sum(row[1] for row in rows) > CAP
    return tuple(Pile(reason=row[0], count=int(row[1]), oldest=float(row[2]), more=more) for row in rows)


def _refused(connection: Connection, since: float) -> tuple[int, float | None]:
    refused = text("NOT accepted"), _message.c.received_at >= since, _message.c.dealt_at.is_(None)
    some = select(_message.c.id).where(*refused).order_by(_message.c.received_at).limit(CAP + 1).subquery()
    last = select(_message.c.received_at).where(*refused).order_by(_message.c.received_at.desc()).limit(1)
    number = connection.execute(select(func.count()).select_from(some)).scalar_one()
    return int(number), connection.execute(last).scalar()


def _exams(connection: Connection, day: str) -> dict[str, int]:
    """Steps that begin on a day, by status: of each status a range of the index."""
    step = tables.scheduled_step.c
    found = {}
    for status in StepStatus:
        here = step.status == status, step.start_at >= day, step.start_at < f"{day}~"
        some = select(step.id).where(*here).order_by(step.start_at).limit(CAP + 1).subquery()
        if number := connection.execute(select(func.count()).select_from(some)).scalar_one():
            found[status.value] = int(number)
    return found


def _size(connection: Connection) -> int:
    """Bytes of the whole database; on SQLite without its log."""
    if connection.dialect.name == "postgresql":
        return int(connection.execute(select(func.pg_database_size(func.current_database()))).scalar_one())
    pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    return int(pages) * int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())
