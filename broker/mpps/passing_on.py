"""Puts messages and events of performed procedure steps into the queue, in the transaction that makes them true.

Messages of modalities go on as they came (IHE PPS Manager): one job per node and message, lane `mpps:<node>`.
Subscribers are told events (PS3.4 F.9): one job per node and event, lane `mpps-event:<node>`.
The jobs about one step are a group, which the queue serves in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from sqlalchemy import Connection

from broker.model.lane import JobKind, Lane, LaneKind
from broker.model.performed import MessageKind, PerformedStatus
from broker.site.nodes import Node
from broker.store import jobs
from broker.store.jobs import NewJob


class MppsEvent(IntEnum):
    """Event Type ID (PS3.4 table F.9-1). UPDATED never stands for a change of status."""

    IN_PROGRESS = 1
    COMPLETED = 2
    DISCONTINUED = 3
    UPDATED = 4
    DELETED = 5


_BY_STATUS: dict[str, MppsEvent] = {
    PerformedStatus.COMPLETED: MppsEvent.COMPLETED,
    PerformedStatus.DISCONTINUED: MppsEvent.DISCONTINUED,
}


def event_of(kind: str, status: str) -> MppsEvent | None:
    """The event of a message of this kind that leaves a step in `status`; None for an intermediate N-SET."""
    return _BY_STATUS.get(status) or (MppsEvent.IN_PROGRESS if kind == MessageKind.CREATE else None)


def pass_on(connection: Connection, nodes: Sequence[Node], mpps: int, message: int, at: float) -> None:
    """Enqueue a message (row) about an MPPS (row) for each node, `at` in s since the epoch."""
    _enqueue(connection, LaneKind.MPPS, nodes, JobKind.MPPS, message, {}, mpps, at)


def tell_message(
    connection: Connection, subscribers: Sequence[Node], mpps: int, message: int, event: MppsEvent, at: float
) -> None:
    """Enqueue the event that a message (row) has changed an MPPS (row), `at` in s since the epoch."""
    detail = {"mpps": mpps, "event": int(event)}
    _enqueue(connection, LaneKind.MPPS_EVENT, subscribers, JobKind.MPPS_EVENT, message, detail, mpps, at)


def tell_change(
    connection: Connection, subscribers: Sequence[Node], mpps: int, revision: int, event: MppsEvent, at: float
) -> None:
    """Enqueue the event that the broker or a person has changed an MPPS (row), which has this revision now."""
    detail = {"mpps": mpps, "event": int(event)}
    kind = f"{JobKind.MPPS_CHANGE}-{revision}"
    _enqueue(connection, LaneKind.MPPS_EVENT, subscribers, kind, mpps, detail, mpps, at)


def _enqueue(
    connection: Connection,
    lane: LaneKind,
    nodes: Sequence[Node],
    kind: str,
    subject: int,
    detail: dict[str, int],
    mpps: int,
    at: float,
) -> None:
    group = f"mpps:{mpps}"
    new = [
        NewJob(kind=kind, lane=Lane(lane, node.name).name, subject=subject, detail=detail, group_key=group)
        for node in nodes
    ]
    jobs.enqueue(connection, new, at)
