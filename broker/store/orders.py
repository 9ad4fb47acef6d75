"""Writing orders: patient, request, procedures, steps with their search columns, audit."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, Table, case, delete, insert, update

from broker.store import tables
from broker.store.orders_rows import Document, Order, Patient, Procedure, Step, StepIndex


def _text(document: Document) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _save(connection: Connection, table: Table, row: int | None, values: dict[str, Any], new: dict[str, Any]) -> int:
    """Update a row, or insert it with the values of `new` as well; its id."""
    if row is None:
        return int(connection.execute(insert(table).returning(table.c.id), {**values, **new}).scalar_one())
    connection.execute(update(table).where(table.c.id == row).values(**values))
    return row


def save_patient(connection: Connection, patient: Patient, at: float) -> int:
    """Insert or update a patient; the row."""
    values = {
        "patient_id": patient.patient_id,
        "issuer": patient.issuer,
        "attributes": _text(patient.attributes),
        "updated_at": at,
    }
    return _save(connection, tables.patient, patient.row, values, {})


def save_request(connection: Connection, order: Order, patient: int, at: float, source: str = "") -> int:
    """Insert or update the Imaging Service Request of an order, without what is below it; the row.

    `source`: application and facility (`MSH-3|MSH-4`) that a new order comes from.
    """
    values = {
        "patient": patient,
        "placer_number": order.placer.number,
        "placer_issuer": order.placer.issuer,
        "filler_number": order.filler.number,
        "filler_issuer": order.filler.issuer,
        "accession": order.accession,
        "attributes": _text(order.attributes),
        "updated_at": at,
    }
    return _save(connection, tables.service_request, order.row, values, {"created_at": at, "source": source})


def save_procedure(connection: Connection, procedure: Procedure, request: int) -> int:
    """Insert or update a Requested Procedure, without its steps; the row."""
    values = {
        "request": request,
        "requested_procedure_id": procedure.requested_procedure_id,
        "study_instance_uid": procedure.study_instance_uid,
        "attributes": _text(procedure.attributes),
    }
    return _save(connection, tables.requested_procedure, procedure.row, values, {})


def save_step(
    connection: Connection, step: Step, procedure: Procedure, owner: int, accession: str, index: StepIndex, at: float
) -> int:
    """Insert or update a step of the procedure in row `owner`, with its stations; the row."""
    table = tables.scheduled_step
    values: dict[str, Any] = {
        "procedure": owner,
        "step_id": step.step_id,
        "position": step.position,
        "status": step.status,
        "start_at": step.start_at,
        "modality": step.attributes.get("Modality", ""),
        "patient_id": index.patient_id,
        "patient_name": index.patient_name,
        "accession": accession,
        "requested_procedure_id": procedure.requested_procedure_id,
        "study_instance_uid": procedure.study_instance_uid,
        "attributes": _text(step.attributes),
        "answer": _text(index.answer),
        "updated_at": at,
    }
    if step.row is not None:
        values["revision"] = table.c.revision + 1
        values["status_at"] = case((table.c.status == step.status, table.c.status_at), else_=at)
    row = _save(connection, table, step.row, values, {"status_at": at, "revision": 1})
    station = tables.step_station
    if step.row is not None:
        connection.execute(delete(station).where(station.c.step == row))
    rows = [{"step": row, "ae_title": title, "start_at": step.start_at} for title in dict.fromkeys(step.stations)]
    if rows:
        connection.execute(insert(station), rows)
    return row


def save_index(connection: Connection, step: int, index: StepIndex, at: float) -> None:
    """Give a step a new answer and the patient columns that go with it."""
    table = tables.scheduled_step
    connection.execute(
        update(table)
        .where(table.c.id == step)
        .values(
            patient_id=index.patient_id,
            patient_name=index.patient_name,
            answer=_text(index.answer),
            revision=table.c.revision + 1,
            updated_at=at,
        )
    )


def add_audit(
    connection: Connection, at: float, actor: str, action: str, kind: str, object_id: int, detail: Document
) -> None:
    """Append to the audit trail."""
    values = {"at": at, "actor": actor, "action": action, "object_kind": kind, "object_id": object_id}
    connection.execute(insert(tables.audit), {**values, "detail": _text(detail)})
