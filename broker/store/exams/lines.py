"""Loads what lists show of exams."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from broker.model.exam import ExamLine, ExamStep
from broker.model.order import Document
from broker.store.db import documents
from broker.store.db.pace import padded
from broker.store.schema import tables

_request, _patient = tables.service_request, tables.patient
_procedure, _step, _station = tables.requested_procedure, tables.scheduled_step, tables.step_station
_ORDER = (
    _request.c.id,
    _request.c.patient,
    _request.c.accession,
    _request.c.placer_number,
    _request.c.filler_number,
    _request.c.attributes,
    _patient.c.patient_id,
    _patient.c.issuer,
    _patient.c.attributes.label("demographics"),
)
_COLUMNS = ("id", "status", "held", "start_at", "modality", "attributes")
_STEP = (_procedure.c.request, *(_step.c[name] for name in _COLUMNS))


def raw_texts(connection: Connection, rows: Sequence[int]) -> dict[int, str]:
    """The JSON texts of some orders (rows), with their procedures and steps: lines, as the columns hold them."""
    some = padded(rows)
    of_procedure = select(_procedure.c.request, _procedure.c.attributes).where(_procedure.c.request.in_(some))
    of_step = select(_procedure.c.request, _step.c.attributes).join_from(_step, _procedure)
    of_order = select(_request.c.id, _request.c.attributes).where(_request.c.id.in_(some))
    texts = {row: [text] for row, text in connection.execute(of_order)}
    for query in (of_procedure, of_step.where(_procedure.c.request.in_(some))):
        for row, text in connection.execute(query):
            texts.setdefault(row, []).append(text)
    return {row: "\n".join(parts) for row, parts in texts.items()}


def load(connection: Connection, rows: Sequence[int]) -> list[ExamLine]:
    """The exams of some orders (rows), in their sequence; without those that are gone."""
    if not rows:
        return []
    some = padded(rows)
    orders_of = select(*_ORDER).join_from(_request, _patient).where(_request.c.id.in_(some))
    orders = {row.id: row for row in connection.execute(orders_of)}
    procedures: dict[int, list[Document]] = {}
    below = select(_procedure.c.request, _procedure.c.attributes).where(_procedure.c.request.in_(some))
    for procedure in connection.execute(below.order_by(_procedure.c.id)):
        procedures.setdefault(procedure.request, []).append(documents.decode(procedure.attributes))
    steps: dict[int, list[ExamStep]] = {}
    steps_of = select(*_STEP).join_from(_step, _procedure).where(_procedure.c.request.in_(some))
    for step in connection.execute(steps_of.order_by(_step.c.start_at, _step.c.position, _step.c.id)):
        steps.setdefault(step.request, []).append(
            ExamStep(
                row=step.id,
                status=step.status,
                held=bool(step.held),
                start_at=step.start_at,
                modality=step.modality,
                attributes=documents.decode(step.attributes),
            )
        )
    return [
        ExamLine(
            order=row,
            patient=order.patient,
            patient_id=order.patient_id,
            issuer=order.issuer,
            demographics=documents.decode(order.demographics),
            accession=order.accession,
            placer=order.placer_number,
            filler=order.filler_number,
            attributes=documents.decode(order.attributes),
            procedures=tuple(procedures.get(row, ())),
            steps=tuple(steps.get(row, ())),
        )
        for row in rows
        if (order := orders.get(row)) is not None
    ]
