"""Ends steps here that have ended where an import comes from. An ended examination is never offered again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from broker.hl7.findings import Finding
from broker.model.order import Order, Step, StepStatus
from broker.orders.core import lifecycle
from broker.orders.core.context import StoryContext
from broker.orders.core.values import OrderChange
from broker.orders.documents import replacing
from broker.orders.stories import intake

_CONTROLS = {
    StepStatus.CANCELED: ("CA", ""),
    StepStatus.COMPLETED: ("SC", "CM"),
    StepStatus.DISCONTINUED: ("SC", "DC"),
}


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of steps that have ended elsewhere: canceled, completed, discontinued, unchanged, or kept and why."""

    outcome: str
    findings: tuple[Finding, ...] = ()


def open_part(change: OrderChange) -> OrderChange | None:
    """The change without the steps that have ended there; None if no step is left."""
    procedures = [
        replace(procedure, steps=tuple(step for step in procedure.steps if step.status not in lifecycle.ENDED))
        for procedure in change.procedures
    ]
    left = tuple(procedure for procedure in procedures if procedure.steps)
    return replace(change, procedures=left) if left else None


def end(
    connection: Connection, stored: Order, steps: Sequence[Step], status: StepStatus, context: StoryContext
) -> Ended:
    """End stored steps as they ended elsewhere, by the life cycle: one that has started is not cancelled."""
    waiting = [step for step in steps if step.status not in lifecycle.ENDED]
    if not waiting:
        return Ended("unchanged")
    control, order_status = _CONTROLS[status]
    change = replace(replacing.canceling(stored, waiting), control=control, order_status=order_status, row=stored.row)
    plans, audit = intake.apply(connection, [change], context)
    findings = tuple(finding for planned in plans for finding in planned.findings)
    if audit is None:
        return Ended("kept", findings)
    for entry in audit:
        intake.add_audit(connection, entry, context)
    return Ended(status.value.lower(), findings)
