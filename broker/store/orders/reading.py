"""Loads orders, patients and events of steps; locks that keep messages about one order apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, or_, select, text, union_all

from broker.model.order import (
    AccessionHolder,
    EntityId,
    Order,
    Patient,
    Procedure,
    Step,
    StepEvent,
    StepStatus,
    Written,
)
from broker.store.db import documents
from broker.store.db.engine import is_sqlite
from broker.store.db.prepared import Prepared
from broker.store.schema import tables

_LOCK = text("SELECT pg_advisory_xact_lock(:key)")
_NAMED = "patient|"  # how names of patients begin
_request, _patient = tables.service_request.c, tables.patient.c
_procedure, _step, _event = tables.requested_procedure.c, tables.scheduled_step.c, tables.step_event.c
_alias = tables.patient_alias.c
_WHOLE = select(_patient.id, _patient.patient_id, _patient.issuer, _patient.attributes, _patient.aliases)
_PATIENT = Prepared(
    any=union_all(
        _WHOLE.where(_patient.patient_id == bindparam("patient_id"), _patient.issuer == bindparam("issuer")),
        _WHOLE.join(tables.patient_alias, _alias.patient == _patient.id).where(
            _alias.patient_id == bindparam("patient_id"), _alias.issuer == bindparam("issuer")
        ),
    )
)
_ORDER = Prepared(
    any=select(
        _request.placer_number,
        _request.placer_issuer,
        _request.filler_number,
        _request.filler_issuer,
        _request.accession,
        _request.attributes,
        _patient.id,
        _patient.patient_id,
        _patient.issuer,
        _patient.attributes,
        _request.changed_by,
        _request.ordered_from,
        _request.sent_from,
        _patient.aliases,
    )
    .join_from(tables.service_request, tables.patient)
    .where(_request.id == bindparam("row"))
)
_PROCEDURES = Prepared(
    any=select(_procedure.id, _procedure.requested_procedure_id, _procedure.study_instance_uid, _procedure.attributes)
    .where(_procedure.request == bindparam("row"))
    .order_by(_procedure.id)
)
_STEPS = Prepared(
    any=select(_step.id, _step.procedure, _step.step_id, _step.position, _step.status, _step.attributes, _step.held)
    .join_from(tables.scheduled_step, tables.requested_procedure)
    .where(_procedure.request == bindparam("row"))
    .order_by(_step.position, _step.id)
)
_holders = (
    select(
        _request.id,
        _request.patient,
        _request.accession,
        _request.attributes,
        _request.placer_number,
        _request.placer_issuer,
        _request.filler_number,
        _request.filler_issuer,
    )
    .order_by(_request.id)
    .limit(200)
)
_ONE, _OTHER = _request.accession == bindparam("one"), _request.accession == bindparam("other")
_HOLDERS = Prepared(any=_holders.where(_ONE))
_HOLDERS_OF_TWO = Prepared(any=_holders.where(or_(_ONE, _OTHER)))  # one index twice costs twice as much
_OWNER = Prepared(any=select(_procedure.request).where(_procedure.study_instance_uid == bindparam("uid")))


def lock(connection: Connection, names: Iterable[str]) -> None:
    """Hold these names until the transaction ends, and those of the patients that retired identifiers lead to.

    `patient|` and a patient's identifier is the name of whoever has or had it. SQLite has one writer and needs no
    locks. A merge may commit while we wait for a lock: what the identifiers lead to is read again under it.
    """
    if is_sqlite(connection):
        return
    held: set[str] = set()
    wanted = set(names)
    while wanted:
        _hold(connection, wanted)
        held |= wanted
        wanted = _led_to(connection, held) - held


def _led_to(connection: Connection, names: Iterable[str]) -> set[str]:
    """Names of the patients that retired identifiers among these names lead to."""
    retired = [name.removeprefix(_NAMED) for name in names if name.startswith(_NAMED)]
    query = (
        select(tables.patient.c.patient_id)
        .join(tables.patient_alias, tables.patient_alias.c.patient == tables.patient.c.id)
        .where(tables.patient_alias.c.patient_id.in_(retired))
    )
    return {_NAMED + patient_id for patient_id in connection.execute(query).scalars()} if retired else set()


def _hold(connection: Connection, names: Iterable[str]) -> None:
    digests = {hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names}
    for key in sorted(int.from_bytes(digest, "big", signed=True) for digest in digests):
        connection.execute(_LOCK, {"key": key})


def lock_names(connection: Connection, order: int) -> tuple[str, ...]:
    """Names to lock for work on an order (row): its patient, whom every message about it names. None: no such order."""
    query = select(tables.patient.c.patient_id).join_from(tables.service_request, tables.patient)
    found = connection.execute(query.where(tables.service_request.c.id == order)).scalar_one_or_none()
    return () if found is None else (f"patient|{found}",)


def find_patient(connection: Connection, patient_id: str, issuer: str) -> Patient | None:
    """The patient under an identifier and issuer, also under a retired one."""
    identifier = {"patient_id": patient_id, "issuer": issuer}
    rows = _PATIENT.rows(connection, identifier)
    has_it = next((row for row in rows if (row[1], row[2]) == (patient_id, issuer)), None)
    return _patient_of(has_it or rows[0]) if rows else None


def patient_of_row(connection: Connection, row: int) -> Patient | None:
    """The patient of a row."""
    found = connection.execute(_WHOLE.where(_patient.id == row)).first()
    return _patient_of(found) if found is not None else None


def identifiers_of(connection: Connection, patient_id: str) -> list[EntityId]:
    """All identifiers with this number that a patient has or had, whoever issued them."""
    query = union_all(
        select(_patient.issuer).where(_patient.patient_id == patient_id),
        select(_alias.issuer).where(_alias.patient_id == patient_id),
    )
    return [EntityId(patient_id, issuer) for issuer in connection.execute(query).scalars()]


def _patient_of(row: Sequence[Any]) -> Patient:
    """A patient of row, identifier, issuer, attributes, aliases."""
    aliases = tuple(EntityId(number, issuer) for number, issuer in documents.decode(row[4]))
    return Patient(row[0], row[1], row[2], documents.decode(row[3]), aliases)


def patient_changed(connection: Connection, patient_id: str, issuer: str, after: float, before: float) -> bool:
    """True if the patient was written last between two times (s since the epoch, both excluded)."""
    table = tables.patient.c
    query = select(table.id).where(
        table.patient_id == patient_id, table.issuer == issuer, table.updated_at > after, table.updated_at < before
    )
    return connection.execute(query).first() is not None


def load_order(connection: Connection, row: int) -> Order:
    """An order with its patient, procedures and steps."""
    (found,) = _ORDER.rows(connection, {"row": row})
    return Order(
        row=row,
        patient=_patient_of((*found[6:10], found[13])),
        placer=EntityId(found[0], found[1]),
        filler=EntityId(found[2], found[3]),
        accession=found[4],
        attributes=documents.decode(found[5]),
        procedures=_procedures(connection, row),
        written=Written(found[10], found[11], found[12]),
    )


def _procedures(connection: Connection, request: int) -> tuple[Procedure, ...]:
    procedures = _PROCEDURES.rows(connection, {"row": request})
    steps = _STEPS.rows(connection, {"row": request})
    below: dict[int, list[Step]] = {}
    for row in steps:
        below.setdefault(row[1], []).append(
            Step(row[0], row[2], row[3], StepStatus(row[4]), documents.decode(row[5]), bool(row[6]))
        )
    return tuple(
        Procedure(row[0], row[1], row[2], documents.decode(row[3]), tuple(below.get(row[0], ()))) for row in procedures
    )


def study_owners(connection: Connection, uids: Sequence[str]) -> dict[str, int]:
    """Row of the order that each Study Instance UID belongs to; unknown ones are left out."""
    owners = {uid: _OWNER.rows(connection, {"uid": uid}) for uid in uids}
    return {uid: int(rows[0][0]) for uid, rows in owners.items() if rows}


def accession_holders(connection: Connection, numbers: Sequence[str]) -> list[AccessionHolder]:
    """Orders that have one of two accession numbers, oldest first."""
    if not numbers:
        return []
    if numbers[0] == numbers[-1]:
        rows = _HOLDERS.rows(connection, {"one": numbers[0]})
    else:
        rows = _HOLDERS_OF_TWO.rows(connection, {"one": numbers[0], "other": numbers[-1]})
    return [_holder_of(connection, row) for row in rows]


def _holder_of(connection: Connection, row: Sequence[Any]) -> AccessionHolder:
    item = (documents.decode(row[3]).get("IssuerOfAccessionNumberSequence") or [{}])[0]
    namespace, universal = item.get("LocalNamespaceEntityID", ""), item.get("UniversalEntityID", "")
    procedures = _PROCEDURES.rows(connection, {"row": row[0]})
    return AccessionHolder(
        order=row[0],
        patient=row[1],
        accession=row[2],
        issuer=EntityId(row[2], namespace or universal, universal),
        placer=EntityId(row[4], row[5]),
        filler=EntityId(row[6], row[7]),
        procedures=frozenset(procedure[1] for procedure in procedures),
    )


def order_rows(connection: Connection) -> list[int]:
    """Rows of all orders, oldest first."""
    request = tables.service_request.c
    return list(connection.execute(select(request.id).order_by(request.id)).scalars())


def events_of_order(connection: Connection, order: int) -> dict[int, Sequence[StepEvent]]:
    """Events of the steps of an order (rows), oldest first."""
    query = (
        select(_event.step, _event.at, _event.before, _event.after, _event.cause, _event.actor)
        .join_from(tables.step_event, tables.scheduled_step)
        .join(tables.requested_procedure)
        .where(_procedure.request == order)
        .order_by(_event.id)
    )
    events: dict[int, list[StepEvent]] = {}
    for row in connection.execute(query):
        events.setdefault(row[0], []).append(StepEvent(*row))
    return dict(events)


def events_of_step(connection: Connection, step: int) -> list[StepEvent]:
    """Events of a step (row), oldest first."""
    query = select(_event.step, _event.at, _event.before, _event.after, _event.cause, _event.actor).where(
        _event.step == step
    )
    return [StepEvent(*row) for row in connection.execute(query.order_by(_event.id))]


def last_cause(connection: Connection, step: int) -> str:
    """Cause of the last change of status of a step (row), empty for none."""
    return next(
        (event.cause for event in reversed(events_of_step(connection, step)) if event.before != event.after), ""
    )
