"""Keeps what came before its order: cancels, and appointments. Booked appointments stay with their order."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, insert, or_, select, update

from broker.model.appointment import Appointment, AppointmentState
from broker.model.order import EntityId, KeptCancel
from broker.store.db.prepared import Prepared
from broker.store.schema import tables

_a, _c = tables.appointment.c, tables.tombstone.c
_COLUMNS = (
    _a.id,
    _a.sender,
    _a.number,
    _a.request,
    _a.state,
    _a.event,
    _a.filler_number,
    _a.filler_issuer,
    _a.placer_number,
    _a.placer_issuer,
    _a.patient_id,
    _a.issuer,
    _a.start_at,
    _a.steps,
    _a.slots,
    _a.sent_from,
)
_APPOINTMENTS = Prepared(
    any=select(*_COLUMNS)
    .where(
        _a.request.is_(None),
        or_(
            and_(_a.filler_number != "", _a.filler_number == bindparam("filler")),
            and_(_a.placer_number != "", _a.placer_number == bindparam("placer")),
        ),
    )
    .order_by(_a.id)
)
# a key that is not there is NULL and equals nothing
_CANCELS = Prepared(
    any=select(
        _c.id,
        _c.control,
        _c.order_status,
        _c.placer_number,
        _c.placer_issuer,
        _c.filler_number,
        _c.filler_issuer,
        _c.accession,
        _c.patient_id,
        _c.issuer,
        _c.steps,
    ).where(
        _c.patient_id == bindparam("patient_id"),
        or_(
            _c.filler_number == bindparam("filler"),
            _c.placer_number == bindparam("placer"),
            _c.accession == bindparam("accession"),
        ),
    )
)


def _appointment_of(row: Sequence[Any]) -> Appointment:
    return Appointment(
        row=row[0],
        sender=row[1],
        number=row[2],
        request=row[3],
        state=AppointmentState(row[4]),
        event=row[5],
        filler=EntityId(row[6], row[7]),
        placer=EntityId(row[8], row[9]),
        patient_id=row[10],
        issuer=row[11],
        start_at=row[12],
        steps=frozenset(json.loads(row[13])),
        slots=tuple(json.loads(row[14])),
        sent_from=row[15],
    )


def appointments_of(connection: Connection, request: int) -> list[Appointment]:
    """All appointments of an order (row), oldest first."""
    return [
        _appointment_of(row)
        for row in connection.execute(select(*_COLUMNS).where(_a.request == request).order_by(_a.id))
    ]


def appointments(connection: Connection, filler: EntityId, placer: EntityId) -> list[Appointment]:
    """Appointments kept for an order with one of these numbers, oldest first; issuers count where both have one."""
    rows = _APPOINTMENTS.rows(connection, {"filler": filler.number, "placer": placer.number})
    kept = (_appointment_of(row) for row in rows)
    return [
        appointment
        for appointment in kept
        if not _contradict(appointment.filler, filler) and not _contradict(appointment.placer, placer)
    ]


def save_appointment(connection: Connection, appointment: Appointment, at: float) -> int:
    """Insert or update; the row. `at` in seconds since the epoch."""
    values = {
        "at": at,
        "sender": appointment.sender,
        "number": appointment.number,
        "request": appointment.request,
        "state": appointment.state,
        "event": appointment.event,
        "filler_number": appointment.filler.number,
        "filler_issuer": appointment.filler.issuer,
        "placer_number": appointment.placer.number,
        "placer_issuer": appointment.placer.issuer,
        "patient_id": appointment.patient_id,
        "issuer": appointment.issuer,
        "start_at": appointment.start_at,
        "steps": json.dumps(sorted(appointment.steps)),
        "slots": json.dumps(appointment.slots, ensure_ascii=False),
        "sent_from": appointment.sent_from,
    }
    if appointment.row is None:
        return int(connection.execute(insert(tables.appointment).returning(_a.id), values).scalar_one())
    connection.execute(update(tables.appointment).where(_a.id == appointment.row).values(values))
    return appointment.row


def keep_cancel(connection: Connection, cancel: KeptCancel, actor: str, at: float) -> int:
    """Keep a cancel (`at` in seconds since the epoch); the row."""
    values = {
        "at": at,
        "actor": actor,
        "control": cancel.control,
        "order_status": cancel.order_status,
        "placer_number": cancel.placer.number,
        "placer_issuer": cancel.placer.issuer,
        "filler_number": cancel.filler.number,
        "filler_issuer": cancel.filler.issuer,
        "accession": cancel.accession,
        "patient_id": cancel.patient_id,
        "issuer": cancel.issuer,
        "steps": json.dumps(cancel.steps),
    }
    return int(connection.execute(insert(tables.tombstone).returning(_c.id), values).scalar_one())


def cancels(
    connection: Connection, filler: EntityId, placer: EntityId, accession: str, patient_id: str
) -> dict[int, KeptCancel]:
    """Cancels kept for an order with these keys, by row, oldest first.

    One key must be the same and no number another. Issuers count where both sides have one.
    """
    keys = {"filler": filler.number or None, "placer": placer.number or None, "accession": accession or None}
    rows = _CANCELS.rows(connection, {"patient_id": patient_id, **keys})
    kept = {}
    for row in sorted(rows):
        cancel = KeptCancel(
            control=row[1],
            order_status=row[2],
            placer=EntityId(row[3], row[4]),
            filler=EntityId(row[5], row[6]),
            accession=row[7],
            patient_id=row[8],
            issuer=row[9],
            steps=tuple(json.loads(row[10])),
        )
        if not (_contradict(cancel.filler, filler) or _contradict(cancel.placer, placer)):
            kept[int(row[0])] = cancel
    return kept


def _contradict(one: EntityId, other: EntityId) -> bool:
    numbers = bool(one.number and other.number)
    return numbers and (one.number != other.number or bool(one.issuer and other.issuer and one.issuer != other.issuer))


def drop_cancels(connection: Connection, rows: Collection[int]) -> None:
    """Forget cancels whose order has come."""
    if rows:
        connection.execute(delete(tables.tombstone).where(_c.id.in_(rows)))
