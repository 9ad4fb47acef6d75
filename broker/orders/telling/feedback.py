"""Decides which changes of an order a RIS is told, and which nodes are told.

A RIS knows orders, not steps: an event is a change of what all steps together say of the order (IHE RAD-4, RAD-13; HL7
tables 0038 and 0123).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from broker.model.order import StepStatus
from broker.orders.core import lifecycle as life
from broker.site.nodes import Node


class OrderEvent(StrEnum):
    """What happened to an order, as in `events` of a node."""

    ARRIVED = "arrived"
    STARTED = "started"
    PARTIAL = "partial"  # some steps completed, none at work, others open
    COMPLETED = "completed"
    DISCONTINUED = "discontinued"
    CANCELLED = "cancelled"
    REOPENED = "reopened"  # nothing has begun any more: still, or again, to be done
    IMAGES = "images"  # the first object of a study


# ORC-5 and OBR-25 by what the steps say; None is an order nobody has begun
_CODES = {
    None: ("SC", "S"),
    OrderEvent.ARRIVED: ("SC", "S"),
    OrderEvent.REOPENED: ("SC", "S"),
    OrderEvent.STARTED: ("IP", "I"),
    OrderEvent.PARTIAL: ("A", "A"),
    OrderEvent.COMPLETED: ("CM", "R"),
    OrderEvent.DISCONTINUED: ("DC", "X"),
    OrderEvent.CANCELLED: ("CA", "X"),
}
ENDS = (OrderEvent.COMPLETED, OrderEvent.DISCONTINUED)  # of work


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing that a RIS is told of an order (row). Kept with its job, so that every try says the same.

    `status` is ORC-5, `result` OBR-25, both as they were then; times in seconds since the epoch: `at` of the event,
    `began` and `ended` of the work, if known. `control_id` is MSH-10 of every try.
    """

    order: int
    event: OrderEvent
    status: str
    result: str
    control_id: str
    at: float
    began: float | None = None
    ended: float | None = None

    def document(self) -> dict[str, Any]:
        """As the detail of a job."""
        return asdict(self)

    @classmethod
    def of(cls, document: dict[str, Any]) -> Notice:
        """From the detail of a job, which has the name of its work in the log too."""
        known = {one.name: document[one.name] for one in fields(cls) if one.name in document}
        return cls(**{**known, "event": OrderEvent(document["event"])})


def state(statuses: Collection[str]) -> OrderEvent | None:
    """What the steps together say of the order; None if all that is open waits still (or there is none)."""
    present = set(statuses)
    if present and present <= set(life.ENDED):
        ends = ((StepStatus.COMPLETED, OrderEvent.COMPLETED), (StepStatus.DISCONTINUED, OrderEvent.DISCONTINUED))
        return next((event for status, event in ends if status in present), OrderEvent.CANCELLED)
    for status, event in (
        (StepStatus.STARTED, OrderEvent.STARTED),
        (StepStatus.COMPLETED, OrderEvent.PARTIAL),
        (StepStatus.ARRIVED, OrderEvent.ARRIVED),
        (StepStatus.READY, OrderEvent.ARRIVED),
    ):
        if status in present:
            return event
    return None


def event(before: Collection[str], after: Collection[str]) -> OrderEvent | None:
    """What happened when the statuses of an order's steps changed so; None for nothing a RIS does not know."""
    was, now = state(before), state(after)
    if was is now:
        return None
    return now or OrderEvent.REOPENED


def codes(said: OrderEvent | None) -> tuple[str, str]:
    """ORC-5 and OBR-25 of an order whose steps say this."""
    return _CODES[said]


def audience(
    nodes: Iterable[Node], wanted: OrderEvent, source: str, sender: tuple[str, str] | None = None
) -> Sequence[Node]:
    """Those of the nodes that want to hear of an event of an order from `source` (`MSH-3|MSH-4`).

    `sender`: application and facility whose message made it happen, if one did: it knows.
    """
    return [
        node
        for node in nodes
        if node.feedback is not None
        and wanted.value in node.feedback.events
        and node.feedback.takes_orders_of(source)
        and (node.feedback.echo or sender is None or not node.sends_as(*sender))
    ]
