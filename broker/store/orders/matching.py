"""Finds the scheduled steps that the keys of something performed may mean, by indexed keys."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, or_, select

from broker.model.order import EntityId, Patient
from broker.store.db.prepared import Prepared
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
    """A scheduled step (row) of an order (row) with its keys. `issuer` is that of the accession number."""

    step: int
    order: int
    step_id: str
    study_instance_uid: str
    accession: str
    requested_procedure_id: str
    status: str
    issuer: str
    patient: Patient


def candidates(connection: Connection, study: str, accession: str, procedure: str) -> list[Candidate]:
    """Steps that have one of these keys, empty ones are not asked for; the newest MANY."""
    asked = {"study": study or None, "accession": accession or None, "procedure": procedure or None}
    if not any(asked.values()):
        return []
    return [_candidate(row) for row in _CANDIDATES.rows(connection, asked)]


def _candidate(row: Sequence[Any]) -> Candidate:
    aliases = tuple(EntityId(number, issuer) for number, issuer in json.loads(row[11]))
    issuers = json.loads(row[7]).get("IssuerOfAccessionNumberSequence") or [{}]
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
    )


def of_patient(connection: Connection, patient_id: str, modality: str) -> list[dict[str, Any]]:
    """Steps of whoever has a Patient ID, for one modality: rows of step and order, status, planned start."""
    rows = _PATIENTS.rows(connection, {"patient": patient_id, "modality": modality})
    return [dict(zip(("step", "order", "status", "start"), row, strict=True)) for row in rows]
