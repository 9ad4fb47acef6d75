"""Finds orders by the values that people search them by, page by page."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import ColumnElement, Connection, Select, select

from broker.store.schema import tables

_request, _patient = tables.service_request, tables.patient
_procedure, _step, _event = tables.requested_procedure, tables.scheduled_step, tables.step_event
_OF_REQUEST = {
    "AccessionNumber": _request.c.accession,
    "PlacerOrderNumberImagingServiceRequest": _request.c.placer_number,
    "FillerOrderNumberImagingServiceRequest": _request.c.filler_number,
    "PatientID": _patient.c.patient_id,
    "IssuerOfPatientID": _patient.c.issuer,
}


def exists(connection: Connection, row: int) -> bool:
    """True if there is such an order."""
    return connection.execute(select(_request.c.id).where(_request.c.id == row)).first() is not None


def patient_of(connection: Connection, row: int) -> int | None:
    """Row of the patient of an order (row); None for no such order."""
    found: int | None = connection.execute(select(_request.c.patient).where(_request.c.id == row)).scalar()
    return found


def find(connection: Connection, wanted: Mapping[str, str], after: int, limit: int) -> list[int]:
    """Rows of orders that have all these values (keywords of the tables above), behind row `after`, oldest first."""
    where: list[ColumnElement[bool]] = [_request.c.id > after]
    where += [_OF_REQUEST[keyword] == value for keyword, value in wanted.items() if keyword in _OF_REQUEST]
    below = _below(wanted)
    if below is not None:
        where.append(_request.c.id.in_(below))
    query = select(_request.c.id).join_from(_request, _patient).where(*where)
    return list(connection.execute(query.order_by(_request.c.id).limit(limit)).scalars())


def _below(wanted: Mapping[str, str]) -> Select[tuple[int]] | None:
    """The orders that have a procedure with all values that are wanted of one; None if none is."""
    where: list[ColumnElement[bool]] = []
    if "StudyInstanceUID" in wanted:
        where.append(_procedure.c.study_instance_uid == wanted["StudyInstanceUID"])
    if "RequestedProcedureID" in wanted:  # the index of it is that of steps, which carry it too
        steps = select(_step.c.procedure).where(_step.c.requested_procedure_id == wanted["RequestedProcedureID"])
        where.append(_procedure.c.id.in_(steps))
    return select(_procedure.c.request).where(*where) if where else None
