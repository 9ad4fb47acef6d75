"""Which changes of an order a RIS is told, and who is told them. Pure.

A RIS knows orders, not steps: an event is a change of what all steps together say of the order (IHE RAD-4, RAD-13;
HL7 tables 0038 and 0123).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from broker.model.order import StepStatus
from broker.orders.core import lifecycle as life
from broker.site.nodes import Node


class Event(StrEnum):
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
    None: ("SC", "S"), Event.ARRIVED: ("SC", "S"), Event.REOPENED: ("SC", "S"), Event.STARTED: ("IP", "I"),
    Event.PARTIAL: ("A", "A"), Event.COMPLETED: ("CM", "R"), Event.DISCONTINUED: ("DC", "X"),
    Event.CANCELLED: ("CA", "X"),
}  # fmt: skip
ENDS = (Event.COMPLETED, Event.DISCONTINUED)  # of work


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that a RIS is told of an order (row). Kept with its job, so that every try says the same.

    `status` is ORC-5, `result` OBR-25, both as they were then; times in seconds since the epoch: `at` of the event,
    `began` and `ended` of the work, if known. `control_id` is MSH-10 of every try.
    """

    order: int
    event: Event
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
        """From the detail of a job."""
        return cls(**{**document, "event": Event(document["event"])})


def state(statuses: Collection[str]) -> Event | None:
    """What the steps together say of the order; None if all that is open waits still (or there is none)."""
    found = set(statuses)
    if found and found <= set(life.ENDED):
        ends = ((StepStatus.COMPLETED, Event.COMPLETED), (StepStatus.DISCONTINUED, Event.DISCONTINUED))
        return next((event for status, event in ends if status in found), Event.CANCELLED)
    for status, event in (
        (StepStatus.STARTED, Event.STARTED),
        (StepStatus.COMPLETED, Event.PARTIAL),
        (StepStatus.ARRIVED, Event.ARRIVED),
        (StepStatus.READY, Event.ARRIVED),
    ):
        if status in found:
            return event
    return None


def event(before: Collection[str], after: Collection[str]) -> Event | None:
    """What happened when the statuses of an order's steps changed so; None for nothing a RIS does not know."""
    was, now = state(before), state(after)
    if was is now:
        return None
    return now or Event.REOPENED


def codes(said: Event | None) -> tuple[str, str]:
    """ORC-5 and OBR-25 of an order whose steps say this."""
    return _CODES[said]


def audience(
    nodes: Iterable[Node], wanted: Event, source: str, sender: tuple[str, str] | None = None
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
