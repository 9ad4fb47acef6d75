"""Puts events of performed procedure steps into the queue for those who subscribed (PS3.4 F.9), in the transaction
that makes them true. One job per node, lane `mpps-event:<node>`; those about one step are a group, served in order.
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


class Event(IntEnum):
    """Event Type ID (PS3.4 table F.9-1). UPDATED never stands for a change of status."""

    IN_PROGRESS = 1
    COMPLETED = 2
    DISCONTINUED = 3
    UPDATED = 4
    DELETED = 5


_BY_STATUS: dict[str, Event] = {
    PerformedStatus.COMPLETED: Event.COMPLETED,
    PerformedStatus.DISCONTINUED: Event.DISCONTINUED,
}


def event_of(kind: str, status: str) -> Event | None:
    """What a message (`create`, `set`) that leaves a step in `status` is told as; None for an intermediate N-SET."""
    return _BY_STATUS.get(status) or (Event.IN_PROGRESS if kind == MessageKind.CREATE else None)


def of_message(
    connection: Connection, subscribers: Sequence[Node], mpps: int, message: int, event: Event, at: float
) -> None:
    """A message (row) has changed an MPPS (row) `at` (s since the epoch)."""
    _enqueue(connection, JobKind.MPPS_EVENT, message, subscribers, mpps, event, at)


def of_change(
    connection: Connection, subscribers: Sequence[Node], mpps: int, revision: int, event: Event, at: float
) -> None:
    """The broker or a person has changed an MPPS (row), which has this revision now."""
    _enqueue(connection, f"{JobKind.MPPS_CHANGE}-{revision}", mpps, subscribers, mpps, event, at)


def _enqueue(
    connection: Connection, kind: str, subject: int, nodes: Sequence[Node], mpps: int, event: Event, at: float
) -> None:
    detail = {"mpps": mpps, "event": int(event)}
    lanes = [Lane(LaneKind.MPPS_EVENT, node.name) for node in nodes]
    new = [NewJob(kind, lane.name, subject, detail, group_key=f"mpps:{mpps}") for lane in lanes]
    jobs.enqueue(connection, new, at)
