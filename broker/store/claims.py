"""Claims the due jobs of a lane in their order, and finds those of a claim whose answer its owner did not get.

A job in doubt, which failed perhaps by its own fault, goes behind all others of its lane, also those that come later:
its priority is raised by LAST, so that the index of claims keeps both apart. However many are in doubt and due, a batch
has a few of them, or one if the others fill it, so that none starves.

A job that its process had in hand when it died goes behind those in doubt, one in each batch. So what ended the process
is alone with those that were done before it, and is known when that happens again and again: a broker that dies of one
job is not kept from the others for ever. One that a person or a machine ends, however often, holds nothing back: what
it had in hand changes from death to death.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from broker.model.lane import UNFINISHED, JobKind, JobState
from broker.store.db import clock
from broker.store.db.prepared import Prepared
from broker.store.schema import tables

_t = tables.job
LAST = 100  # is added to the priority of a job in doubt; those of rules are below
LAST_AT_ONCE = 4  # jobs in doubt of a batch: what comes meanwhile waits for no more of them
DIED = 2 * LAST  # is added for a job that its process had in hand when it died
DEATHS = ("process-died", *(f"process-died-{count}" for count in range(2, 10)))  # what such a job says
FATAL = "process-dies"  # why it is held after the next death in a row: a broker that is killed dies of none
SUPERSEDED = "newer-version-sent"  # why a person must look at a delivery that a later version has overtaken
BUSY_TRIES = 3  # so often a destination answered that it is busy with an item: others of its group may go first
# why a delivery is held by others than itself: the order of its group stays
_NO_FAULT = ("gave-up", "unknown-node", "held-by-rule", "wrong-entry")


def held_back(job: FromClause, earlier: FromClause) -> ColumnElement[bool]:
    """A job of a group has to wait for another one of it (`earlier` is a second view of the table)."""
    before = and_(earlier.c.id < job.c.id, or_(*(earlier.c.state == s for s in UNFINISHED)), ~_failing(earlier))
    ahead = and_(  # the later version is at work, or is to be tried before this one
        earlier.c.id > job.c.id,
        earlier.c.kind == JobKind.DELIVER,
        or_(
            earlier.c.state == JobState.LEASED,
            and_(earlier.c.state == JobState.READY, _doubted(job), ~_doubted(earlier)),
        ),
    )
    same = (earlier.c.lane == job.c.lane, earlier.c.group_key == job.c.group_key)
    return select(earlier.c.id).where(*same, or_(before, ahead)).exists()


def _failing(job: FromClause) -> ColumnElement[bool]:
    """A delivery that is not at work and failed by its own fault, as far as is known."""
    held = and_(job.c.state == JobState.HELD, job.c.attempts > 0, *(job.c.last_error != code for code in _NO_FAULT))
    return and_(job.c.kind == JobKind.DELIVER, or_(held, and_(job.c.state == JobState.READY, _doubted(job))))


def _doubted(job: FromClause) -> ColumnElement[bool]:
    busy = and_(job.c.attempts >= BUSY_TRIES, job.c.last_error.startswith("status-"))
    return or_(job.c.failures > 0, busy)


def _claim(*, lock: bool, last: bool) -> ReturningUpdate[Any]:
    """Takes due jobs in the order of `ix_job_due`; `held_back` says which of a group wait.

    None of a node that is paused; of one that drains those up to its last. `last`: those in doubt of one priority.
    """
    blocked = held_back(_t, _t.alias("earlier"))
    until = select(tables.pause.c.last_job).where(tables.pause.c.node == bindparam("node")).scalar_subquery()
    if last:  # by equality, so that the index goes on by due time: what is not due yet is not walked over
        these = [
            _t.c.priority == bindparam("priority"),
            _t.c.due_at >= bindparam("low"),
            _t.c.due_at <= bindparam("now"),
        ]
    else:
        these = [
            _t.c.priority < bindparam("below"),
            or_(_t.c.due_at <= bindparam("now"), _t.c.due_at > bindparam("far")),
        ]
    due = (
        select(_t.c.id)
        .where(
            _t.c.lane == bindparam("lane"),
            _t.c.state == JobState.READY,
            *these,
            or_(_t.c.group_key.is_(None), ~blocked),
            _t.c.id + 0 <= func.coalesce(until, literal_column(str(2**63 - 1))),
        )
        .order_by(_t.c.priority, _t.c.due_at, _t.c.id)
        .limit(bindparam("limit", type_=Integer))
    )
    if lock:
        due = due.with_for_update(skip_locked=True)
    # as a CTE: PostgreSQL may run a plain subquery again for each row of the table, and lock more than `limit`
    return (
        update(_t)
        .where(_t.c.id.in_(select(due.cte("due").c.id)))
        .values(
            state=JobState.LEASED,
            lease_owner=bindparam("owner"),
            lease_until=bindparam("until"),
            attempts=_t.c.attempts + 1,
            fence=_t.c.fence + 1,
        )
        .returning(
            _t.c.id,
            _t.c.kind,
            _t.c.lane,
            _t.c.subject,
            _t.c.detail,
            _t.c.attempts,
            _t.c.failures,
            _t.c.fence,
            _t.c.created_at,
            _t.c.group_key,
            _t.c.priority,
            _t.c.due_at,
        )
    )


_CLAIM = Prepared(sqlite=_claim(lock=False, last=False), postgresql=_claim(lock=True, last=False))
_CLAIM_LAST = Prepared(sqlite=_claim(lock=False, last=True), postgresql=_claim(lock=True, last=True))
_NEXT_LAST = Prepared(
    any=select(_t.c.priority)
    .where(_t.c.lane == bindparam("lane"), _t.c.state == JobState.READY, _t.c.priority > bindparam("above"))
    .order_by(_t.c.priority)
    .limit(1)
)


def take(connection: Connection, values: Mapping[str, Any]) -> list[Any]:
    """Lease the next due jobs of a lane; their rows in the order to send them: `_claim` returns the columns.

    `values` by name: lane and its node, owner, now, until when, far (what is due later is due now), limit (of jobs),
    below (which priority; less than LAST: none in doubt).
    """
    lane, limit = values["lane"], values["limit"]
    doubted = list(_doubted_priorities(connection, lane)) if values["below"] >= LAST else []
    first = _CLAIM.rows(connection, {**values, "limit": limit - 1 if doubted and limit > 1 else limit})
    rows = _in_order(first)
    room = min(limit - len(rows), LAST_AT_ONCE)
    for priority in doubted:
        room = min(room, 1) if priority >= DIED else room
        for low, now in ((-math.inf, values["now"]), (values["far"], math.inf)):
            if room <= 0:
                return rows
            if low < math.inf:
                more = {**values, "priority": priority, "low": low, "now": now, "limit": room}
                del more["far"], more["below"]
                found = _in_order(_CLAIM_LAST.rows(connection, more))
                rows, room = rows + found, room - len(found)
    return rows


def _doubted_priorities(connection: Connection, lane: str) -> Iterator[int]:
    """The priorities of the jobs in doubt of a lane, in hops along the index."""
    above = LAST - 1
    while found := _NEXT_LAST.rows(connection, {"lane": lane, "above": above}):
        above = found[0][0]
        yield above


def _in_order(rows: Sequence[Any]) -> list[Any]:
    """Jobs by priority, due time and row, but those of a group by row: in which order a database returns is open."""
    ordered = sorted(rows, key=lambda row: (row[10], row[11], row[0]))
    groups: defaultdict[str, list[Any]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: -row[0]):
        if row[9] is not None:
            groups[row[9]].append(row)
    return [row if row[9] is None else groups[row[9]].pop() for row in ordered]


def supersede(connection: Connection, job: int) -> bool:
    """A version of an object is delivered (job): earlier ones that failed wait for a person. True if there are some."""
    group = select(_t.c.group_key).where(_t.c.id == job).scalar_subquery()
    lane = select(_t.c.lane).where(_t.c.id == job).scalar_subquery()
    earlier = and_(_t.c.lane == lane, _t.c.group_key == group, _t.c.id < job, _failing(_t))
    done = update(_t).where(earlier).values(state=JobState.HELD, last_error=SUPERSEDED)
    return bool(connection.execute(done).rowcount)


def overtaken(connection: Connection, job: int) -> bool:
    """A held delivery sends an older version of an object than its destination got since."""
    later = _t.alias("later")
    newer = and_(
        later.c.lane == _t.c.lane,
        later.c.group_key == _t.c.group_key,
        later.c.id > _t.c.id,
        later.c.kind == JobKind.DELIVER,
        later.c.state == JobState.DONE,
    )
    over = or_(_t.c.last_error == SUPERSEDED, select(later.c.id).where(newer).exists())
    held = _t.c.id == job, _t.c.state == JobState.HELD, _t.c.kind == JobKind.DELIVER
    return connection.execute(select(_t.c.id).where(*held, over)).first() is not None


def free_of_dead(connection: Connection, owner_prefix: str) -> tuple[int, int]:
    """Put back what processes had in hand that died (owners with a prefix); how many, and how many are held for it."""
    now = clock.now(connection)
    theirs = _t.c.lease_owner.startswith(owner_prefix, autoescape=True)
    dead = _t.c.state == JobState.LEASED, or_(_t.c.lease_until <= now, theirs)
    held = update(_t).where(*dead, _t.c.last_error == DEATHS[-1])
    ended = int(connection.execute(held.values(state=JobState.HELD, lease_owner="", last_error=FATAL)).rowcount)
    place = _t.c.priority % LAST + DIED
    freed = (
        update(_t)
        .where(*dead)
        .values(
            state=JobState.READY,
            lease_owner="",
            due_at=now,
            priority=place,
            last_error=case(dict(pairwise(DEATHS)), value=_t.c.last_error, else_=DEATHS[0]),
        )
    )
    return int(connection.execute(freed).rowcount), ended


@dataclass(frozen=True, slots=True)
class LostClaim:
    """A claim of which its owner did not hear: the stored name of its lane, and when its lease ends."""

    lane: str
    owner: str
    until: float


def free_claims(connection: Connection, claims: Sequence[LostClaim]) -> list[int]:
    """Put back the jobs of claims that are in nobody's hand; how many of each."""
    counts = []
    for claim in claims:
        leased = _t.c.lane == claim.lane, _t.c.lease_owner == claim.owner, _t.c.lease_until == claim.until
        back = update(_t).where(*leased, _t.c.state == JobState.LEASED).values(state=JobState.READY, lease_owner="")
        counts.append(int(connection.execute(back).rowcount))
    return counts
