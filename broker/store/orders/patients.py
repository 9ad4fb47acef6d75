"""Reads and writes the rows around a patient: visits, retired identifiers, orders, what each sender said last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from broker.model.order import EntityId
from broker.model.visit import Visit, VisitState
from broker.store.orders import patient_terms
from broker.store.schema import tables

_alias, _visit, _heard, _request = tables.patient_alias, tables.visit, tables.heard, tables.service_request


_VISIT = (
    _visit.c.id,
    _visit.c.patient,
    _visit.c.admission_id,
    _visit.c.issuer,
    *(_visit.c[field.name] for field in fields(Visit)[3:]),
)


def visits(connection: Connection, patient: int) -> list[Visit]:
    """Visits of a patient (row), oldest first."""
    found = connection.execute(select(*_VISIT).where(_visit.c.patient == patient).order_by(_visit.c.id))
    return [_visit_of(row) for row in found]


def _visit_of(row: Sequence[Any]) -> Visit:
    return Visit(
        row=row[0],
        patient=row[1],
        number=EntityId(row[2], row[3]),
        location=row[4],
        patient_class=row[5],
        state=VisitState(row[6]),
        opened_at=row[7],
        closed_at=row[8],
    )


def find_visit(connection: Connection, patient: int, number: EntityId) -> Visit | None:
    """The visit of this number; a number without an issuer, stored or asked for, matches if it is the only one."""
    found = [visit for visit in visits(connection, patient) if visit.number.number == number.number]
    exact = [visit for visit in found if visit.number.issuer == number.issuer]
    fit = exact or [visit for visit in found if not visit.number.issuer or not number.issuer]
    return fit[0] if len(fit) == 1 else None


def save_visit(connection: Connection, visit: Visit, at: float) -> int:
    """Insert or update a visit; the row."""
    values = {field.name: getattr(visit, field.name) for field in fields(Visit)[3:]}
    values |= {"patient": visit.patient, "admission_id": visit.number.number, "issuer": visit.number.issuer}
    values |= {"updated_at": at}
    if visit.row is None:
        return int(connection.execute(insert(_visit).returning(_visit.c.id), values).scalar_one())
    connection.execute(update(_visit).where(_visit.c.id == visit.row).values(**values))
    return visit.row


def visit_written_at(connection: Connection, visit: int) -> float:
    """When somebody said something of a visit (row) last."""
    return float(connection.execute(select(_visit.c.updated_at).where(_visit.c.id == visit)).scalar_one())


def move_visit(connection: Connection, visit: Visit, patient: int, number: EntityId) -> int:
    """Give a visit to a patient (row) under a number; where that patient has it already, his stays. The row.

    It says nothing new of the visit: which of two is the newer one stays as it is.
    """
    there = find_visit(connection, patient, number)
    if there is None or there.row == visit.row:
        values = {"patient": patient, "admission_id": number.number, "issuer": number.issuer}
        connection.execute(update(_visit).where(_visit.c.id == visit.row).values(**values))
        return visit.row or 0
    _forget(connection, "visit", visit.row)
    connection.execute(delete(_visit).where(_visit.c.id == visit.row))
    return there.row or 0


def orders_of(connection: Connection, patient: int, statuses: Sequence[str] = ()) -> list[int]:
    """Rows of a patient's orders, oldest first; with `statuses` those that have a step in one of them."""
    query = select(_request.c.id).where(_request.c.patient == patient).order_by(_request.c.id)
    if statuses:
        step, procedure = tables.scheduled_step, tables.requested_procedure
        query = query.where(
            select(step.c.id)
            .join_from(step, procedure)
            .where(procedure.c.request == _request.c.id, step.c.status.in_(statuses))
            .exists()
        )
    return list(connection.execute(query).scalars())


def studies_received(connection: Connection, patient: int) -> int:
    """Number of studies of a patient's orders of which objects have been received."""
    procedure, instance = tables.requested_procedure, tables.instance
    query = (
        select(func.count())
        .select_from(procedure)
        .join(_request)
        .where(
            _request.c.patient == patient,
            select(instance.c.id).where(instance.c.study_instance_uid == procedure.c.study_instance_uid).exists(),
        )
    )
    return int(connection.execute(query).scalar_one())


def absorb(connection: Connection, retired: int, survivor: int) -> None:
    """Give all that a patient (row) has to another one and remove the patient; worklist answers are not rewritten.

    It says nothing new of orders and visits: which of two is the newer one stays as it is.
    """
    connection.execute(update(_request).where(_request.c.patient == retired).values(patient=survivor))
    for visit in visits(connection, retired):
        move_visit(connection, visit, survivor, visit.number)
    connection.execute(update(_alias).where(_alias.c.patient == retired).values(patient=survivor))
    # the audit trail finds its rows by whom they concern now; SQLite may give the number to somebody else
    connection.execute(update(tables.audit).where(tables.audit.c.patient == retired).values(patient=survivor))
    _forget(connection, "patient", retired)
    patient_terms.forget(connection, retired)
    connection.execute(delete(tables.patient).where(tables.patient.c.id == retired))


def rekey(connection: Connection, before: EntityId, after: EntityId) -> None:
    """What waits for an order of a patient by identifier waits for it by another one."""
    for table in (tables.tombstone, tables.appointment):
        same = table.c.patient_id == before.number, table.c.issuer.in_((before.issuer, ""))
        connection.execute(update(table).where(*same).values(patient_id=after.number, issuer=after.issuer))


def add_alias(connection: Connection, retired: EntityId, patient: int, at: float) -> None:
    """Let a retired identifier lead to a patient (row)."""
    values = {"patient_id": retired.number, "issuer": retired.issuer, "patient": patient, "retired_at": at}
    connection.execute(insert(_alias), values)


def drop_alias(connection: Connection, identifier: EntityId) -> None:
    """An identifier that was retired is in use again."""
    connection.execute(
        delete(_alias).where(_alias.c.patient_id == identifier.number, _alias.c.issuer == identifier.issuer)
    )


def last_heard(connection: Connection, kind: str, subject: int, sender: str) -> str:
    """Time of the newest message of a sender that was applied to a patient or visit (row); empty if none was."""
    query = select(_heard.c.event_at).where(
        _heard.c.kind == kind, _heard.c.subject == subject, _heard.c.sender == sender
    )
    return connection.execute(query).scalar_one_or_none() or ""


def hear(connection: Connection, kind: str, subject: int, sender: str, event_at: str) -> None:
    """Remember the time of a message that was applied."""
    key = (_heard.c.kind == kind, _heard.c.subject == subject, _heard.c.sender == sender)
    if connection.execute(update(_heard).where(*key).values(event_at=event_at)).rowcount == 0:
        values = {"kind": kind, "subject": subject, "sender": sender, "event_at": event_at}
        connection.execute(insert(_heard), values)


def _forget(connection: Connection, kind: str, subject: int | None) -> None:
    connection.execute(delete(_heard).where(_heard.c.kind == kind, _heard.c.subject == subject))
