"""Records a received object in one transaction: its row, one delivery per destination, what the RIS is told.

The same SOP Instance UID again: the same bytes are a success without new work but for destinations that lack them (and
mend a file that was lost); other bytes are a new version, delivered after its predecessor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum

from sqlalchemy import Connection

from broker.model.lane import JobKind, Lane, LaneKind
from broker.routing.arrivals.news import Telling
from broker.routing.levels.gathering import NOTHING, Joining
from broker.routing.rules.evaluate import PlannedDelivery
from broker.store import jobs
from broker.store import notices as store_notices
from broker.store.images import instances
from broker.store.images.instances import InstanceState, KnownVersion, NewInstance
from broker.store.images.soundness import FILE_FAULTS
from broker.store.jobs import NewJob
from broker.store.mpps import objects
from broker.store.notices import NewNotice

HELD_BY_RULE = "held-by-rule"  # why a delivery waits that a rule holds for a person


class ReceptionOutcome(StrEnum):
    """Says what an arrival was, beside the versions of the same object that were known before."""

    NEW = "new"
    VERSION = "version"  # other bytes under a known UID
    DUPLICATE = "duplicate"  # the same bytes again
    REPAIRED = "repaired"  # the same bytes again, whose file was lost or damaged


def record(
    connection: Connection,
    new: NewInstance,
    deliveries: Sequence[PlannedDelivery],
    rules: Sequence[str],
    intact: Callable[[KnownVersion], bool],
    telling: Telling | None = None,
    joining: Joining = NOTHING,
    notices: Sequence[NewNotice] = (),
) -> ReceptionOutcome:
    """The transaction: instance row and one delivery per destination.

    `intact` tells whether the file of a known version is still there: a positive answer must not rest on a lost one.
    One that a sender found spoiled is replaced too.
    `telling` is what the RIS is told of it, `joining` the series and study that it may wait for, `notices` what rules
    tell nodes.
    """
    if telling is not None:
        telling.write(connection)
    if notices:
        store_notices.enqueue(connection, notices, new.received_at)
    detail = {"rules": list(rules), "rules_version": new.rules_version}
    held = _kept_back(connection, new.sop_instance_uid)
    first = instances.add_first(connection, new)
    if first is not None:
        _enqueue(connection, first, deliveries, detail, new.received_at, None, held)
        joining.arrived(connection)
        return ReceptionOutcome.NEW
    known = instances.versions(connection, new.sop_instance_uid)
    twins = [version for version in known if version.digest == new.digest]
    same = next((version for version in twins if version.state != InstanceState.PURGED), None)
    if same is not None:
        changed = instances.reroute(connection, same.id, new)
        _enqueue(connection, same.id, deliveries, detail, new.received_at, None, held, known=True)
        if changed and new.state == InstanceState.WAITING:
            joining.arrived(connection)
        else:
            joining.came_again(connection)
        if intact(same) and not jobs.held_subjects(connection, JobKind.DELIVER, [same.id], FILE_FAULTS):
            return ReceptionOutcome.DUPLICATE
        instances.refile(connection, same.id, new)
        jobs.release_held(connection, JobKind.DELIVER, [same.id], FILE_FAULTS, new.received_at)
        return ReceptionOutcome.REPAIRED
    if twins:  # purged since: only destinations that never had these bytes; what was discarded is decided anew
        had = jobs.lanes_done(connection, JobKind.DELIVER, [version.id for version in twins])
        deliveries = [one for one in deliveries if lane_of(one.node) not in had]
        if not deliveries and had and new.state != InstanceState.WAITING:
            joining.came_again(connection)
            return ReceptionOutcome.DUPLICATE
    subject = instances.add(connection, new, known[0].version + 1)
    group = _group(known)
    for one in deliveries:
        jobs.join_group(connection, lane_of(one.node), [version.id for version in known], group)
    _enqueue(connection, subject, deliveries, detail, new.received_at, group, held)
    joining.arrived(connection)
    return ReceptionOutcome.NEW if twins else ReceptionOutcome.VERSION


def enqueue_deliveries(
    connection: Connection,
    subject: int,
    sop_instance_uid: str,
    deliveries: Sequence[PlannedDelivery],
    detail: dict[str, object],
    now: float,
) -> None:
    """Enqueue deliveries of an object that is there (row). One that a person gave up before begins anew.

    Versions of one object stay in one group: they are delivered one after the other.
    """
    known = instances.versions(connection, sop_instance_uid)
    group = _group(known) if len(known) > 1 else None
    if group is not None:
        for one in deliveries:
            jobs.join_group(connection, lane_of(one.node), [version.id for version in known], group)
    held = _kept_back(connection, sop_instance_uid)
    _enqueue(connection, subject, deliveries, detail, now, group, held, known=True)


def _group(known: Sequence[KnownVersion]) -> str:
    """The group of the versions of an object, newest first."""
    return f"sop:{known[-1].id}"


def _kept_back(connection: Connection, sop_instance_uid: str) -> str:
    """Why the deliveries of an object are held; empty if they are not."""
    return objects.WRONG_ENTRY if objects.is_kept_back(connection, sop_instance_uid) else ""


def _enqueue(
    connection: Connection,
    subject: int,
    deliveries: Sequence[PlannedDelivery],
    detail: dict[str, object],
    now: float,
    group: str | None,
    held: str,
    *,
    known: bool = False,
) -> None:
    """`known`: the object had deliveries before. One that was discarded is none that was made: it is made now."""
    new = [
        NewJob(
            kind=JobKind.DELIVER,
            lane=lane_of(one.node),
            subject=subject,
            detail=detail,
            group_key=group,
            priority=one.priority,
            held=held or (HELD_BY_RULE if one.held else ""),
        )
        for one in deliveries
    ]
    if known:
        jobs.revive(connection, new, now)
    jobs.enqueue(connection, new, now)


def lacking(
    connection: Connection, subject: int, sop_instance_uid: str, deliveries: Sequence[PlannedDelivery]
) -> list[PlannedDelivery]:
    """Those of some deliveries of an object (row) whose destinations never had its bytes from an earlier row of it."""
    known = instances.versions(connection, sop_instance_uid)
    mine = next((version.digest for version in known if version.id == subject), b"")
    twins = [version.id for version in known if version.digest == mine and version.id != subject]
    had = jobs.lanes_done(connection, JobKind.DELIVER, twins) if twins else set()
    return [one for one in deliveries if lane_of(one.node) not in had]


def lane_of(node: str) -> str:
    """The stored name of the lane in which objects go to a node."""
    return Lane(LaneKind.DELIVER, node).name
