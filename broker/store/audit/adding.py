"""Appends to the audit trail. Whom an object is for is looked up by the statement that inserts the row."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, ScalarSelect, bindparam, insert, select

from broker.model.order import Document
from broker.store.db import documents
from broker.store.db.prepared import Prepared
from broker.store.schema import tables

_GIVEN = ("at", "actor", "action", "object_kind", "object_id", "detail", "address")
_request, _procedure, _step = tables.service_request, tables.requested_procedure, tables.scheduled_step
_link, _visit = tables.mpps_link, tables.visit


def _of_mpps() -> ScalarSelect[int | None]:
    """The patient of the first scheduled step that an MPPS is linked to."""
    return (
        select(_request.c.patient)
        .select_from(_link)
        .join(_step, _step.c.id == _link.c.step)
        .join(_procedure, _procedure.c.id == _step.c.procedure)
        .join(_request, _request.c.id == _procedure.c.request)
        .where(_link.c.mpps == bindparam("object_id"))
        .order_by(_link.c.position)
        .limit(1)
        .scalar_subquery()
    )


def _of_step() -> ScalarSelect[int | None]:
    return (
        select(_request.c.patient)
        .select_from(_step)
        .join(_procedure, _procedure.c.id == _step.c.procedure)
        .join(_request, _request.c.id == _procedure.c.request)
        .where(_step.c.id == bindparam("object_id"))
        .scalar_subquery()
    )


def _of_study() -> ScalarSelect[int | None]:
    return (
        select(_request.c.patient)
        .select_from(_procedure)
        .join(_request, _request.c.id == _procedure.c.request)
        .where(_procedure.c.study_instance_uid == bindparam("study"))
        .order_by(_procedure.c.id)
        .limit(1)
        .scalar_subquery()
    )


_PATIENT_OF = {
    "patient": bindparam("object_id"),
    "order": select(_request.c.patient).where(_request.c.id == bindparam("object_id")).scalar_subquery(),
    "visit": select(_visit.c.patient).where(_visit.c.id == bindparam("object_id")).scalar_subquery(),
    "mpps": _of_mpps(),
    "worklist": _of_step(),
    "study": _of_study(),
}


def _insert(patient: object) -> Prepared:
    return Prepared(any=insert(tables.audit).values({name: bindparam(name) for name in _GIVEN} | {"patient": patient}))


_KNOWN = _insert(bindparam("concerns"))
_LOOKED_UP: Mapping[str, Prepared] = {kind: _insert(of) for kind, of in _PATIENT_OF.items()}


def add_audit(
    connection: Connection,
    at: float,
    actor: str,
    action: str,
    kind: str,
    object_id: int,
    detail: Document,
    *,
    address: str = "",
    patient: int | None = None,
) -> None:
    """Append to the audit trail: `actor` did `action` with an object (`kind` and row, 0 for none) at `at`.

    `address`: of the caller, `local` for this machine. `patient` (row): whom it concerns, where `kind` does not tell.
    """
    values = {"at": at, "actor": actor, "action": action, "object_kind": kind, "object_id": object_id}
    values |= {"detail": documents.encode(detail), "address": address}
    if patient is None and kind in _LOOKED_UP:
        study = {"study": detail.get("study", "")} if kind == "study" else {}
        _LOOKED_UP[kind].rows(connection, values | study)
    else:
        _KNOWN.rows(connection, values | {"concerns": patient})
