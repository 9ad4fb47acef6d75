"""Says which jobs of an ordered group may be claimed, and finds those of a claim whose answer its owner did not get.

The versions of one object are a group of deliveries. One that the destination does not take by its own fault keeps no
later version back, and once a later one is delivered it does not go over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, FromClause, and_, or_, select, update

from broker.model.lane import UNFINISHED, JobKind, JobState
from broker.store.schema import tables

_t = tables.job
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


def supersede(connection: Connection, job: int) -> bool:
    """A version of an object is delivered (job): earlier ones that failed wait for a person. True if there are some."""
    group = select(_t.c.group_key).where(_t.c.id == job).scalar_subquery()
    lane = select(_t.c.lane).where(_t.c.id == job).scalar_subquery()
    earlier = and_(_t.c.lane == lane, _t.c.group_key == group, _t.c.id < job, _failing(_t))
    done = update(_t).where(earlier).values(state=JobState.HELD, last_error=SUPERSEDED)
    return bool(connection.execute(done).rowcount)


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
