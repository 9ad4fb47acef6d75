"""Finds the scheduled steps that the keys of something performed may mean, by indexed keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, bindparam, or_, select

from broker.model.order import EntityId, Patient
from broker.store.db import documents
from broker.store.db.prepared import Prepared
from broker.store.orders import by_number, reading
from broker.store.schema import tables

MANY = 200  # candidates of one set of keys; more share a key only where it is none

_step, _procedure, _request, _patient = (
    tables.scheduled_step,
    tables.requested_procedure,
    tables.service_request,
    tables.patient,
)
_s = _step.c
_FROM = (
    select(
        _s.id,
        _request.c.id,
        _s.step_id,
        _s.study_instance_uid,
        _s.accession,
        _s.requested_procedure_id,
        _s.status,
        _request.c.attributes,
        _patient.c.id,
        _patient.c.patient_id,
        _patient.c.issuer,
        _patient.c.aliases,
        by_number.joined_into(_request.c.id),
    )
    .join_from(_step, _procedure)
    .join(_request)
    .join(_patient)
)
# accession and Requested Procedure ID are asked for in each other's column too: some devices mix them up
_CANDIDATES = Prepared(
    any=_FROM.where(
        or_(
            _s.study_instance_uid == bindparam("study"),
            _s.accession == bindparam("accession"),
            _s.accession == bindparam("procedure"),
            _s.requested_procedure_id == bindparam("procedure"),
            _s.requested_procedure_id == bindparam("accession"),
        )
    )
    .order_by(_s.id.desc())
    .limit(MANY)
)
_PATIENTS = Prepared(
    any=select(_s.id, _procedure.c.request, _s.status, _s.start_at)
    .join_from(_step, _procedure)
    .where(_s.patient_id == bindparam("patient"), _s.modality == bindparam("modality"))
    .order_by(_s.id.desc())
    .limit(20)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A scheduled step (row) of an order (row) with its keys. `issuer` is that of the accession number.

    Of an order that was joined into another these are the step and the order in force, with the keys that a modality
    has from its worklist. `planned_study` is the Study Instance UID that the order in force has.
    """

    step: int
    order: int
    step_id: str
    study_instance_uid: str
    accession: str
    requested_procedure_id: str
    status: str
    issuer: str
    patient: Patient
    planned_study: str


def candidates(connection: Connection, study: str, accession: str, procedure: str) -> list[Candidate]:
    """Steps in force that one of these keys means, empty ones are not asked for; the newest MANY."""
    asked = {"study": study or None, "accession": accession or None, "procedure": procedure or None}
    if not any(asked.values()):
        return []
    rows = _CANDIDATES.rows(connection, asked)
    return [_candidate(row) if row[12] is None else _in_force(connection, _candidate(row)) for row in rows]


def _candidate(row: Sequence[Any]) -> Candidate:
    aliases = tuple(EntityId(number, issuer) for number, issuer in documents.decode(row[11]))
    issuers = documents.decode(row[7]).get("IssuerOfAccessionNumberSequence") or [{}]
    issuer = issuers[0].get("LocalNamespaceEntityID", "")
    patient = Patient(row[8], row[9], row[10], {}, aliases)
    return Candidate(
        step=row[0],
        order=row[1],
        step_id=row[2],
        study_instance_uid=row[3],
        accession=row[4],
        requested_procedure_id=row[5],
        status=row[6],
        issuer=issuer,
        patient=patient,
        planned_study=row[3],
    )


def _in_force(connection: Connection, candidate: Candidate) -> Candidate:
    """A step of an order that was joined into another: the step in force that stands for it, itself without one."""
    row = by_number.in_force(connection, candidate.order)
    joined, order = (reading.load_order(connection, number) for number in (candidate.order, row))
    stands = by_number.counterparts(joined, order).get(candidate.step)
    return next(
        (
            replace(
                candidate,
                step=step.row or 0,
                order=row,
                status=step.status,
                patient=order.patient,
                planned_study=procedure.study_instance_uid,
            )
            for procedure in order.procedures
            for step in procedure.steps
            if step.row == stands
        ),
        candidate,
    )


def of_patient(connection: Connection, patient_id: str, modality: str) -> list[dict[str, Any]]:
    """Steps of whoever has a Patient ID, for one modality: rows of step and order, status, planned start."""
    rows = _PATIENTS.rows(connection, {"patient": patient_id, "modality": modality})
    return [dict(zip(("step", "order", "status", "start"), row, strict=True)) for row in rows]
