"""Writes an order as planned: its rows, the worklist answers of its steps, their event log, and what follows from it.

All stories share this module. A change of status is logged here with its cause, and here the RIS is told of it, in the
transaction of the change.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from broker.model.order import Document, Order, Patient, StepStatus
from broker.orders.core import lifecycle
from broker.orders.core import worklist_item as answers
from broker.orders.core.context import StoryContext
from broker.orders.lookup import patient_terms
from broker.orders.telling import notices
from broker.store.audit.adding import add_audit
from broker.store.orders import answers as answers_
from broker.store.orders import reading, saving


@dataclass(frozen=True, slots=True)
class Changed:
    """A step (row) whose status was `before` (empty for a new one) and is `after`."""

    step: int
    before: str
    after: str


def write(
    connection: Connection,
    order: Order,
    stored: Order | None,
    cause: str,
    context: StoryContext,
    reopened: Collection[int] = (),
) -> int:
    """Write an order as planned, `stored` being what was there; its row.

    Steps that have ended keep their answers, but for the `reopened` ones (rows). `cause` says in the event log why
    steps changed their status: `order:CA`, `appointment:S15`.
    """
    at, patient = context.at.timestamp(), order.patient
    # a patient without a row was looked for when this was planned
    before = reading.find_patient(connection, patient.patient_id, patient.issuer) if patient.row else None
    if before is None or before.attributes != patient.attributes:
        patient_row = saving.save_patient(connection, patient, at, patient_terms.news(before, patient))
    else:
        patient_row = before.row or 0
    source = "|".join(context.sender) if context.sender else ""
    request = saving.save_request(connection, order, patient_row, at, source)
    changed: list[Changed] = []
    old = {step.row: step for step in stored.steps()} if stored else {}
    for procedure in order.procedures:
        owner = saving.save_procedure(connection, procedure, request)
        for step in procedure.steps:
            known = old.get(step.row)
            if known is not None and known.status in lifecycle.ENDED and step.row not in reopened:
                continue
            index = answers.index(patient, answers.build(order, procedure, step))
            row = saving.save_step(connection, step, procedure, owner, order.accession, index, at)
            if known is None or known.status != step.status:
                changed.append(Changed(row, known.status if known else "", step.status))
            elif known.held != step.held:
                note(connection, row, step.status, cause, context)
    record(connection, request, changed, cause, context)
    if before is not None and before.attributes != patient.attributes:
        propagate(connection, before, replace(patient, row=before.row), request, at)
    return request


def propagate(connection: Connection, before: Patient, after: Patient, other_than: int | None, at: float) -> None:
    """Show changed demographics in the open steps of a patient's orders, but for those of one order."""
    assert before.row is not None
    for open_ in answers_.open_answers(connection, before.row, lifecycle.OPEN, other_than):
        answer = answers.with_patient(open_.answer, before, after)
        saving.save_index(connection, open_.step, answers.index(after, answer), at)


def record(connection: Connection, order: int, changes: Sequence[Changed], cause: str, context: StoryContext) -> None:
    """Append changes of steps of one order (row) to the log, and tell the RIS what they make of the order.

    To be called once for all that changes together, after it was written: what is told is the state of the order.
    """
    at, last = context.at.timestamp(), 0
    for change in changes:
        last = saving.add_event(connection, change.step, at, change.before, change.after, cause, context.actor)
    if any(change.before or change.after != StepStatus.SCHEDULED for change in changes):
        notices.changed(connection, order, {change.step: change.before for change in changes}, last, context)


def note(connection: Connection, step: int, status: str, cause: str, context: StoryContext) -> None:
    """Append what left the status of a step as it was (held, released, came too late): nothing follows from it."""
    saving.add_event(connection, step, context.at.timestamp(), status, status, cause, context.actor)


def audit(
    connection: Connection, context: StoryContext, action: str, kind: str, row: int | None, detail: Document
) -> None:
    """Append to the audit trail what was done to an object (`kind`, row); the context says who, when, where and why."""
    at, actor, address = context.at.timestamp(), context.actor, context.address
    detail = {**detail, "reason": context.reason} if context.reason else detail
    add_audit(connection, at, actor, action, kind, row or 0, detail, address=address)
