"""Reads what is stored around the objects of audit rows, for messages to a repository."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Column, Connection, select

from broker.model.audit import AuditContext, AuditedPatient, AuditRecord
from broker.model.lane import JobKind
from broker.store.db import documents
from broker.store.db.pace import padded
from broker.store.schema import tables

_request, _procedure, _patient = tables.service_request, tables.requested_procedure, tables.patient
_step, _link, _mpps, _job, _instance = (
    tables.scheduled_step,
    tables.mpps_link,
    tables.mpps,
    tables.job,
    tables.instance,
)
_Found = Mapping[int, Sequence[Any]]


def contexts(connection: Connection, records: Sequence[AuditRecord]) -> list[AuditContext]:
    """The context of each row, as things are stored now; what is gone is left out."""
    patients = _by(connection, _patient.c.id, _of(records, lambda one: one.patient))
    orders = _of(records, lambda one: one.object_id if one.kind == "order" else None)
    requests = _by(connection, _request.c.id, orders)
    studies = _studies(connection, orders)
    performed = _of(records, lambda one: one.object_id if one.kind == "mpps" else None)
    instances = _by(connection, _mpps.c.id, performed)
    linked = _linked(connection, performed)
    delivered = _delivered(connection, _of(records, lambda one: one.object_id if one.kind == "job" else None))
    found = []
    for one in records:
        order = requests.get(one.object_id) if one.kind == "order" else None
        mpps = instances.get(one.object_id) if one.kind == "mpps" else None
        uids = {"order": studies, "mpps": linked, "job": delivered}.get(one.kind, {}).get(one.object_id, [])
        detail = one.detail.get("study")
        found.append(
            AuditContext(
                patient=_person(patients.get(one.patient or 0)),
                studies=tuple(dict.fromkeys([*uids, *([detail] if isinstance(detail, str) else [])])),
                accessions=(order.accession,) if order is not None and order.accession else (),
                mpps=mpps.sop_instance_uid if mpps is not None else "",
                sop_classes=one.detail.get("sop_classes", {}),
            )
        )
    return found


def _of(records: Iterable[AuditRecord], number: Any) -> list[int]:
    return list(dict.fromkeys(found for one in records if (found := number(one))))


def _by(connection: Connection, key: Column[Any], numbers: Sequence[int]) -> dict[int, Any]:
    """Rows of a table by their number."""
    if not numbers:
        return {}
    rows = connection.execute(select(key.table).where(key.in_(padded(numbers))))
    return {row.id: row for row in rows}


def _studies(connection: Connection, orders: Sequence[int]) -> dict[int, list[str]]:
    query = select(_procedure.c.request, _procedure.c.study_instance_uid).order_by(_procedure.c.id)
    return _grouped(connection, query.where(_procedure.c.request.in_(padded(orders))), orders)


def _linked(connection: Connection, performed: Sequence[int]) -> dict[int, list[str]]:
    """Studies of the scheduled steps that an MPPS means."""
    query = (
        select(_link.c.mpps, _procedure.c.study_instance_uid)
        .join(_step, _step.c.id == _link.c.step)
        .join(_procedure, _procedure.c.id == _step.c.procedure)
        .where(_link.c.mpps.in_(padded(performed)))
        .order_by(_link.c.mpps, _link.c.position)
    )
    return _grouped(connection, query, performed)


def _delivered(connection: Connection, jobs: Sequence[int]) -> dict[int, list[str]]:
    """The study of the object that a job delivers."""
    query = (
        select(_job.c.id, _instance.c.study_instance_uid)
        .join(_instance, _instance.c.id == _job.c.subject)
        .where(_job.c.id.in_(padded(jobs)), _job.c.kind == JobKind.DELIVER.value)
    )
    return _grouped(connection, query, jobs)


def _grouped(connection: Connection, query: Any, numbers: Sequence[int]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for number, uid in connection.execute(query) if numbers else ():
        if uid:
            found.setdefault(number, []).append(uid)
    return found


def _person(row: Any) -> AuditedPatient | None:
    if row is None:
        return None
    name = documents.decode(row.attributes).get("PatientName", "")
    return AuditedPatient(number=row.patient_id, issuer=row.issuer, name=name if isinstance(name, str) else "")
