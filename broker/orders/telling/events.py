"""The event log of Scheduled Procedure Steps: each change of status with its cause, in the transaction that makes it.

Whatever must follow from a change of status (telling the RIS) begins here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from broker.orders.core import lifecycle
from broker.orders.core.story import Context
from broker.orders.telling import notices
from broker.store.orders import events as store


@dataclass(frozen=True, slots=True)
class Changed:
    """A step (row) whose status was `before` (empty for a new one) and is `after`."""

    step: int
    before: str
    after: str


def record(connection: Connection, order: int, changes: Sequence[Changed], cause: str, context: Context) -> None:
    """Append changes of steps of one order (row) to the log, and tell the RIS what they make of the order.

    To be called once for all that changes together, after it was written: what is told is the state of the order.
    """
    at, last = context.at.timestamp(), 0
    for change in changes:
        last = store.add(connection, change.step, at, change.before, change.after, cause, context.actor)
    if any(change.before or change.after != lifecycle.SCHEDULED for change in changes):
        notices.changed(connection, order, {change.step: change.before for change in changes}, last, context)


def note(connection: Connection, step: int, status: str, cause: str, context: Context) -> None:
    """Append what left the status of a step as it was (held, released, came too late): nothing follows from it."""
    store.add(connection, step, context.at.timestamp(), status, status, cause, context.actor)
