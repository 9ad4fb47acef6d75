"""Reads the objects of a series or study as rules judge them together, and writes what became of those that waited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from broker.model.lane import JobKind, JobState
from broker.store.db.pace import padded
from broker.store.images.instances import InstanceState
from broker.store.schema import tables

_t, _job, _link, _mpps = tables.instance, tables.job, tables.mpps_link, tables.mpps


@dataclass(frozen=True, slots=True, kw_only=True)
class GatheredObject:
    """An object of a series or study. `trace`: marks of the rules that it met itself, `facts`: what they saw (JSON).

    `planned`: it had a delivery. Time in seconds since the epoch.
    """

    id: int
    sop_instance_uid: str
    version: int
    state: str
    reason: str
    received_at: float
    rules_version: int
    trace: str
    facts: str
    planned: bool


_COLUMNS = [_t.c[name] for name in GatheredObject.__slots__ if name != "planned"]
_PLANNED = (
    select(_job.c.id)
    .where(_job.c.kind == JobKind.DELIVER, _job.c.subject == _t.c.id)
    .limit(1)
    .scalar_subquery()
    .is_not(None)
)


def rows(connection: Connection, study: str, series: str) -> list[int]:
    """The objects of a study, or of one of its series, in the order in which they came."""
    query = select(_t.c.id).where(_t.c.study_instance_uid == study)
    if series:
        query = query.where(_t.c.series_instance_uid == series)
    return sorted(connection.execute(query).scalars())


def load(connection: Connection, ids: Sequence[int]) -> list[GatheredObject]:
    """Objects by their rows, in their order."""
    query = select(*_COLUMNS, _PLANNED).where(_t.c.id.in_(padded(ids))).order_by(_t.c.id)
    names = GatheredObject.__slots__
    return [GatheredObject(**dict(zip(names, row, strict=True))) for row in connection.execute(query)]


def leave(connection: Connection, ids: Sequence[int], state: InstanceState, reason: str, at: float) -> set[int]:
    """Give objects that wait for their series or study another state or reason, at a time; which changed."""
    these = _t.c.id.in_(padded(ids)), (_t.c.state + "") == InstanceState.WAITING
    values = {"state": state, "reason": reason, "discarded_at": at if state == InstanceState.DISCARDED else 0.0}
    done = connection.execute(update(_t).where(*these).values(values).returning(_t.c.id))
    return set(done.scalars())


def still_routed(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Those of some objects that are routed, so that their bytes are kept; a purge waits for this transaction."""
    here = select(_t.c.id).where(_t.c.id.in_(padded(ids)), (_t.c.state + "") == InstanceState.ROUTED)
    return set(connection.execute(here.order_by(_t.c.id).with_for_update()).scalars())


def send_again(connection: Connection, lane: str, ids: Sequence[int], now: float) -> int:
    """Begin the deliveries of these objects in a lane anew, as far as they are done; how many."""
    these = _job.c.kind == JobKind.DELIVER, _job.c.lane == lane, _job.c.subject.in_(padded(ids))
    values = {"state": JobState.READY, "due_at": now, "created_at": now, "failures": 0, "done_at": None}
    again = update(_job).where(*these, (_job.c.state + "") == JobState.DONE).values(values | {"last_error": ""})
    return int(connection.execute(again).rowcount)


def performed(connection: Connection, study: str) -> list[tuple[int, str]]:
    """Rows and status of the performed procedure steps that name a study."""
    query = (
        select(_mpps.c.id, _mpps.c.status)
        .join_from(_link, _mpps, _link.c.mpps == _mpps.c.id)
        .where(_link.c.study_instance_uid == study, _link.c.study_instance_uid != "")
        .distinct()
        .order_by(_mpps.c.id)
    )
    return [(row[0], row[1]) for row in connection.execute(query)]
