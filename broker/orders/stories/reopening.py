"""An ended step begins again: only a person may say so, with a reason. No message reopens anything."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from broker.errors import BrokerError
from broker.model.order import Order, Procedure, Step, StepStatus
from broker.orders.core import lifecycle
from broker.orders.core import worklist_item as answers
from broker.orders.core.story import Context
from broker.orders.stories import writing
from broker.store.mpps.performed_steps import REOPENED
from broker.store.orders import reading, saving

MAX_REASON = 1000  # characters


class NotReopened(BrokerError):
    """The step is not there, has not ended, or no reason is given; the text says which."""

    code = "not-reopened"


def reopen(connection: Connection, order: int, step: int, reason: str, context: Context) -> None:
    """Make an ended step (row) of an order (row) SCHEDULED again.

    `context.actor` is the person. The reason stands in the audit trail only. Raises NotReopened.
    """
    reason = reason.strip()
    if not 0 < len(reason) <= MAX_REASON:
        raise NotReopened(f"a reason of 1 to {MAX_REASON} characters is needed")
    stored = _load(connection, order)
    found = next(((p, s) for p in stored.procedures for s in p.steps if s.row == step), None)
    if found is None:
        raise NotReopened("the order has no such step")
    procedure, before = found
    if before.status not in lifecycle.ENDED:
        raise NotReopened("the step has not ended")
    _write(connection, stored, procedure, replace(before, status=StepStatus.SCHEDULED, held=False), context)
    writing.record(connection, order, [writing.Changed(step, before.status, StepStatus.SCHEDULED)], REOPENED, context)
    detail = {"step": step, "before": before.status, "reason": reason}
    saving.add_audit(connection, context.at.timestamp(), context.actor, "order.reopened", "order", order, detail)


def _load(connection: Connection, order: int) -> Order:
    """The order, after what is being done to it or its patient at the moment."""
    named = reading.lock_names(connection, order)
    if not named:
        raise NotReopened("there is no such order")
    reading.lock(connection, named)
    return reading.load_order(connection, order)


def _write(connection: Connection, order: Order, procedure: Procedure, step: Step, context: Context) -> None:
    assert procedure.row is not None
    index = answers.index(order.patient, answers.build(order, procedure, step))
    at = context.at.timestamp()
    saving.save_step(connection, step, procedure, procedure.row, order.accession, index, at)
