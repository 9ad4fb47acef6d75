"""Enqueues, claims, finishes and puts back the jobs of the durable queue. `broker.queue` decides which and when.

A lane is passed as its stored name (`model.lane.Lane.name`), `now` in seconds since the epoch. On PostgreSQL several
processes claim side by side (`FOR UPDATE SKIP LOCKED`); on SQLite the one writer is serial.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, cast, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from broker import correlation
from broker.model.lane import STAT, UNFINISHED, JobKind, JobState
from broker.store import claims
from broker.store.db import clock, documents
from broker.store.db.engine import is_sqlite
from broker.store.db.prepared import Prepared
from broker.store.schema import tables

_t = tables.job
_lane = tables.lane
_NEW: dict[str, Any] = {column.name: bindparam(column.name) for column in _t.c if column.name != "id"}
_AT_ONCE = {"due_at": func.least(bindparam("due_at"), clock.NOW)}  # also if the clock of our host is ahead
_ENQUEUE = Prepared(
    sqlite=sqlite.insert(_t).values(_NEW).on_conflict_do_nothing().returning(_t.c.id),
    postgresql=postgresql.insert(_t).values(_NEW | _AT_ONCE).on_conflict_do_nothing().returning(_t.c.id),
)
_PAUSED = select(tables.pause.c.node).where(tables.pause.c.node == bindparam("node")).exists()
_UNLESS_PAUSED = select(*(cast(_NEW[name], _t.c[name].type) for name in _NEW)).where(~_PAUSED)
_ENQUEUE_LEASED = Prepared(
    sqlite=sqlite.insert(_t).from_select(list(_NEW), _UNLESS_PAUSED).on_conflict_do_nothing().returning(_t.c.id),
    postgresql=postgresql.insert(_t)
    .from_select(list(_NEW), _UNLESS_PAUSED)
    .on_conflict_do_nothing()
    .returning(_t.c.id),
)
# the claim is still ours
_OURS = and_(_t.c.id == bindparam("job"), _t.c.fence == bindparam("claim"), _t.c.state == JobState.LEASED)
_FINISH = Prepared(
    any=update(_t)
    .where(_OURS)
    .values(state=bindparam("new"), done_at=bindparam("done"), last_error=bindparam("error"), lease_owner="")
)
_PUT_BACK = Prepared(
    any=update(_t)
    .where(_OURS)
    .values(
        state=JobState.READY,
        due_at=bindparam("due"),
        last_error=bindparam("error"),
        lease_owner="",
        failures=_t.c.failures + bindparam("faults"),
        priority=_t.c.priority % claims.LAST + bindparam("place"),
    )
)

Report = Callable[[Connection], bool]  # `finish` or `put_back` with its arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """Work to enqueue: unique by kind, lane and subject. `held`: the code of why it waits for a person; empty: no."""

    kind: str
    lane: str
    subject: int
    detail: dict[str, Any]
    group_key: str | None = None
    priority: int = 5
    held: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A claimed job. `fence` proves that the claim is still ours. `last`: it failed, and goes behind all others."""

    id: int
    kind: str
    lane: str
    subject: int
    detail: dict[str, Any]
    attempts: int
    failures: int
    fence: int
    created_at: float
    group_key: str | None = None
    last: bool = False

    @property
    def correlation(self) -> str:
        """The name in the log of the work that made this job; empty for one of an earlier version."""
        return str(self.detail.get(correlation.KEY, ""))


def enqueue(connection: Connection, jobs: Iterable[NewJob], now: float) -> int:
    """Insert jobs, skipping those that are there already; how many are new."""
    return sum(len(_ENQUEUE.rows(connection, _row(job, now))) for job in jobs)


def _row(job: NewJob, now: float) -> dict[str, Any]:
    return {
        "kind": str(job.kind),
        "lane": job.lane,
        "subject": job.subject,
        "group_key": job.group_key,
        "detail": documents.encode(correlation.named(job.detail)),
        "state": (JobState.HELD if job.held else JobState.READY).value,
        "priority": job.priority,
        "due_at": now,
        "attempts": 0,
        "failures": 0,
        "lease_owner": "",
        "lease_until": 0.0,
        "fence": 0,
        "last_error": job.held,
        "created_at": now,
        "done_at": None,
    }


def enqueue_leased(connection: Connection, job: NewJob, now: float, owner: str, until: float) -> Job | None:
    """Insert a job that is leased from the start; None if it is there already, or its node is paused or drained."""
    row = {**_row(job, now), "node": job.lane.partition(":")[2]}
    row |= {"state": JobState.LEASED.value, "attempts": 1, "fence": 1, "lease_owner": owner, "lease_until": until}
    if not (added := _ENQUEUE_LEASED.rows(connection, row)):
        return None
    return Job(
        id=int(added[0][0]),
        kind=str(job.kind),
        lane=job.lane,
        subject=job.subject,
        detail=correlation.named(job.detail),
        attempts=1,
        failures=0,
        fence=1,
        created_at=now,
    )


def revive(connection: Connection, jobs: Iterable[NewJob], now: float) -> int:
    """Begin anew with those of these jobs that were discarded; how many."""
    done = 0
    for job in jobs:
        these = _t.c.kind == str(job.kind), _t.c.lane == job.lane, _t.c.subject == job.subject
        values: dict[str, Any] = {"state": JobState.HELD if job.held else JobState.READY, "due_at": now}
        values |= {"failures": 0, "created_at": now, "last_error": job.held, "priority": job.priority}
        statement = update(_t).where(*these, _t.c.state == JobState.DISCARDED).values(values)
        done += int(connection.execute(statement).rowcount)
    return done


def join_group(connection: Connection, lane: str, subjects: Sequence[int], group_key: str) -> None:
    """Make unfinished jobs of these subjects members of a group, so that a later job waits for them."""
    connection.execute(
        update(_t)
        .where(_t.c.lane == lane, _t.c.subject.in_(subjects), _t.c.kind == JobKind.DELIVER, _t.c.state.in_(UNFINISHED))
        .values(group_key=group_key)
    )


def claim(
    connection: Connection,
    lane: str,
    owner: str,
    now: float,
    lease: float,
    limit: int,
    longest: float = math.inf,
    *,
    stat: bool = False,
) -> list[Job]:
    """Lease up to `limit` due jobs of a lane for `lease` seconds, in the order to send them. The attempt counts now.

    None waits longer than `longest` seconds: one that is due later was put off by a clock that was ahead, and is due.
    `stat`: only those that a rule made STAT, and that are in no doubt.
    """
    values = {"lane": lane, "owner": owner, "now": now, "until": now + lease, "far": now + longest, "limit": limit}
    values |= {"node": lane.partition(":")[2], "below": STAT + 1 if stat else claims.LAST}
    return [
        Job(
            id=row[0],
            kind=row[1],
            lane=row[2],
            subject=row[3],
            detail=documents.decode(row[4]),
            attempts=row[5],
            failures=row[6],
            fence=row[7],
            created_at=row[8],
            group_key=row[9],
            last=row[10] >= claims.LAST,
        )
        for row in claims.take(connection, values)
    ]


def finish(connection: Connection, job: Job, state: JobState, now: float, error: str = "") -> bool:
    """End a job as done, held or discarded; False if the claim was lost meanwhile."""
    done_at = now if state == JobState.DONE else None
    values = {"job": job.id, "claim": job.fence, "new": state.value, "done": done_at, "error": error}
    ended = bool(_FINISH.count(connection, values))
    if ended and state == JobState.DONE and job.group_key and job.kind == JobKind.DELIVER:
        claims.supersede(connection, job.id)
    return ended


def put_back(
    connection: Connection, job: Job, due_at: float, error: str, *, item_fault: bool, last: bool = False
) -> bool:
    """Make a job ready again at `due_at`; False if the claim was lost meanwhile.

    `last`: others go first, also those that come later. So does one with a fault of its own.
    """
    values = {"job": job.id, "claim": job.fence, "due": due_at, "error": error, "faults": int(item_fault)}
    values["place"] = claims.LAST if last or item_fault else 0
    return bool(_PUT_BACK.count(connection, values))


def report(connection: Connection, reports: Iterable[Report]) -> int:
    """Many outcomes in one transaction; how many count. A claim that was lost is no error: the new owner decides."""
    return sum(record(connection) for record in reports)


def release_held(connection: Connection, kind: str, subjects: Sequence[int], errors: Sequence[str], now: float) -> int:
    """Make jobs about these subjects ready that were held with one of these errors, which is mended; how many."""
    freed = update(_t).where(*_held(kind, subjects, errors)).values(state=JobState.READY, due_at=now)
    return int(connection.execute(freed).rowcount)


def held_subjects(connection: Connection, kind: str, subjects: Sequence[int], errors: Sequence[str]) -> set[int]:
    """Those of these subjects about which a job is held with one of these errors."""
    return set(connection.execute(select(_t.c.subject).where(*_held(kind, subjects, errors))).scalars())


def _held(kind: str, subjects: Sequence[int], errors: Sequence[str]) -> tuple[Any, ...]:
    return _t.c.kind == kind, _t.c.subject.in_(subjects), _t.c.state == JobState.HELD, _t.c.last_error.in_(errors)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldJob:
    """A job that waits for a person, and why. Times in seconds since the epoch."""

    id: int
    kind: str
    lane: str
    subject: int
    detail: dict[str, Any]
    failures: int
    error: str
    created_at: float


def end_hold(connection: Connection, job: int, state: JobState, now: float) -> bool:
    """Make a held job READY, with all its tries before it, or DISCARDED; False if it is not held."""
    values: dict[str, Any] = {"state": state, "due_at": now}
    if state == JobState.READY:
        # giving up counts from here
        values |= {"failures": 0, "created_at": now, "priority": _t.c.priority % claims.LAST}
    done = connection.execute(update(_t).where(_t.c.id == job, _t.c.state == JobState.HELD).values(**values))
    return bool(done.rowcount)


def renew(connection: Connection, ids: Sequence[int], owner: str, until: float) -> int:
    """Extend leases that are still ours; how many."""
    done = connection.execute(
        update(_t)
        .where(_t.c.id.in_(ids), _t.c.lease_owner == owner, _t.c.state == JobState.LEASED)
        .values(lease_until=until)
    )
    return int(done.rowcount)


def free_leases(
    connection: Connection,
    now: float | None = None,
    *,
    owner_prefix: str | None = None,
    longest: float = math.inf,
) -> int:
    """Put back jobs whose lease is over, or all of the owners with a prefix (after a restart); how many.

    Without `now` it is the time of the database's own clock. A lease for more than `longest` seconds is over too: it
    was given by a clock that was ahead.
    """
    now = clock.now(connection) if now is None else now
    over = or_(_t.c.lease_until <= now, _t.c.lease_until > now + longest)
    if owner_prefix is not None:
        over = or_(over, _t.c.lease_owner.startswith(owner_prefix, autoescape=True))
    done = connection.execute(
        update(_t).where(_t.c.state == JobState.LEASED, over).values(state=JobState.READY, lease_owner="", due_at=now)
    )
    return int(done.rowcount)


def open_breaker(connection: Connection, lane: str, failures: int, until: float, error: str) -> None:
    """Do not try a lane before `until`. The first failure in a row says since when, by the clock of the database."""
    now = clock.now(connection)
    values = {"failures": failures, "open_until": until, "last_error": error}
    dialect = sqlite if is_sqlite(connection) else postgresql
    statement = dialect.insert(_lane).values(name=lane, since=now, **values)
    began = case((_lane.c.failures > 0, _lane.c.since), else_=now)
    more = values | {"since": began}
    connection.execute(statement.on_conflict_do_update(index_elements=[_lane.c.name], set_=more))


def breaker_failures(connection: Connection, lane: str) -> int:
    """Consecutive failures of a lane."""
    return int(connection.execute(select(_lane.c.failures).where(_lane.c.name == lane)).scalar() or 0)


def close_breaker(connection: Connection, lane: str) -> None:
    """The lane works again."""
    connection.execute(update(_lane).where(_lane.c.name == lane).values(failures=0, open_until=0.0, last_error=""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """Failures in a row of a lane, since when, and until when it is not tried. Times in seconds since the epoch."""

    failures: int
    since: float
    open_until: float
    last_error: str


def breakers(connection: Connection) -> dict[str, Breaker]:
    """The breaker of every lane that ever failed."""
    rows = connection.execute(select(_lane))
    return {
        row.name: Breaker(failures=row.failures, since=row.since, open_until=row.open_until, last_error=row.last_error)
        for row in rows
    }


def lanes_done(connection: Connection, kind: str, subjects: Sequence[int]) -> set[str]:
    """Lanes in which work on one of these subjects is done."""
    query = select(_t.c.lane).where(_t.c.kind == kind, _t.c.subject.in_(subjects), _t.c.state == JobState.DONE)
    return set(connection.execute(query).scalars())


def probe_write(connection: Connection, now: float) -> None:
    """The smallest real write: the breaker row of a lane that no work uses."""
    open_breaker(connection, "probe", 0, 0.0, "")
    connection.execute(update(_lane).where(_lane.c.name == "probe").values(open_until=now))
    connection.execute(delete(_lane).where(_lane.c.name == "probe"))
