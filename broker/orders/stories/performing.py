"""Lets scheduled steps follow the performed procedure steps that are linked to them, one order at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sqlalchemy import Connection

from broker.model.order import Step, StepStatus
from broker.model.performed import PerformedStatus
from broker.orders.core import lifecycle
from broker.orders.core.context import StoryContext
from broker.orders.stories import writing
from broker.store.mpps import performed_steps
from broker.store.orders import reading

FINAL = (PerformedStatus.COMPLETED, PerformedStatus.DISCONTINUED)


def lock_names(connection: Connection, steps: Iterable[int]) -> set[str]:
    """Names to lock for work on these steps (rows): their patients."""
    rows = {row for step in steps if (row := performed_steps.order_of(connection, step)) is not None}
    return {name for row in rows for name in reading.lock_names(connection, row)}


def follow(connection: Connection, steps: Iterable[int], row: int, event: str, context: StoryContext) -> set[str]:
    """Let the steps (rows) follow what has happened to an MPPS (row); the caller holds the locks of their patients.

    What came of it as codes: `step-canceled` or `step-ended` for a step that has ended otherwise and stays so.
    """
    by_order: dict[int, set[int]] = {}
    for step in steps:
        order = performed_steps.order_of(connection, step)
        if order is not None:
            by_order.setdefault(order, set()).add(step)
    codes: set[str] = set()
    for order, rows in by_order.items():
        stored = reading.load_order(connection, order)
        after = {
            step.row: _moved(connection, step, row, codes) for step in stored.steps() if step.row in rows and step.row
        }
        procedures = tuple(
            replace(one, steps=tuple(after.get(step.row or 0, step) for step in one.steps)) for one in stored.procedures
        )
        changed = replace(stored, procedures=procedures)
        if changed == stored:
            for one, moved in after.items():
                writing.note(connection, one, moved.status, f"mpps:{event}", context)
            continue
        before = {step.row: step.status for step in stored.steps()}
        reopened = {
            one for one, moved in after.items() if before[one] in lifecycle.ENDED and moved.status != before[one]
        }
        writing.write(connection, changed, stored, f"mpps:{event}", context, reopened)
    return codes


def _moved(connection: Connection, step: Step, row: int, codes: set[str]) -> Step:
    linked = performed_steps.of_step(connection, step.row or 0)
    append = any(status in FINAL for other, status, *_ in linked if other != row)
    outcomes = [StepStatus(outcome) for _, _, outcome, counts in linked if counts]
    status = lifecycle.performed(step.status, outcomes, append=append)
    told = lifecycle.performed(StepStatus.STARTED, outcomes, append=append)
    if status in lifecycle.ENDED and told != status:
        codes.add("step-canceled" if status == StepStatus.CANCELED else "step-ended")
    return replace(step, status=status, held=step.held and status in lifecycle.WAITING)
