"""Reads the worklist answers of steps as they are stored: of a patient, of an order, of some steps, of one moment."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, select

from broker.model.order import Document, OpenAnswer
from broker.store.db import documents
from broker.store.schema import tables


def open_answers(
    connection: Connection, patient: int, statuses: Sequence[str], other_than: int | None
) -> list[OpenAnswer]:
    """Answers of a patient's steps in `statuses`, those of one order left out."""
    step, procedure, request = tables.scheduled_step, tables.requested_procedure, tables.service_request
    query = (
        select(step.c.id, step.c.answer)
        .join_from(step, procedure)
        .join(request)
        .where(
            request.c.patient == bindparam("patient"),
            request.c.id != bindparam("other"),
            (step.c.status + "").in_(statuses),  # an expression: SQLite would take the index of all open steps
        )
        .order_by(step.c.id)
    )
    found = connection.execute(query, {"patient": patient, "other": other_than if other_than is not None else -1})
    return [OpenAnswer(row, documents.decode(answer)) for row, answer in found]


def answers_of(connection: Connection, order: int) -> list[tuple[str, Document]]:
    """Status and answer of each step of an order, in its sequence."""
    step, procedure = tables.scheduled_step, tables.requested_procedure
    query = (
        select(step.c.status, step.c.answer)
        .join_from(step, procedure)
        .where(procedure.c.request == order)
        .order_by(procedure.c.id, step.c.position, step.c.id)
    )
    return [(status, documents.decode(answer)) for status, answer in connection.execute(query)]


def answers_written(
    connection: Connection, orders: Sequence[int], patients: Sequence[int], at: float
) -> dict[int, Document]:
    """Answers by step of those written at a time (s since the epoch), among the steps of all orders of some patients.

    The patients of `orders` count too: what is told of one order may change what is shown in the others.
    """
    step, procedure, request = tables.scheduled_step, tables.requested_procedure, tables.service_request
    owners = connection.execute(select(request.c.patient).where(request.c.id.in_(orders))).scalars()
    query = (
        select(step.c.id, step.c.answer)
        .join_from(step, procedure)
        .join(request)
        .where(request.c.patient.in_({*patients, *owners}), step.c.updated_at == at)
        .order_by(step.c.id)
    )
    return {row: documents.decode(answer) for row, answer in connection.execute(query)}


def answers_by_step(connection: Connection, steps: Sequence[int]) -> dict[int, Document]:
    """Answers of some steps, by their rows."""
    step = tables.scheduled_step.c
    query = select(step.id, step.answer).where(step.id.in_(steps))
    return {row: documents.decode(answer) for row, answer in connection.execute(query)}
