"""Finds orders by the values that people search them by, page by page."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import ColumnElement, Connection, select
from sqlalchemy import exists as there_is

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
_BELOW = {
    "RequestedProcedureID": _procedure.c.requested_procedure_id,
    "StudyInstanceUID": _procedure.c.study_instance_uid,
}


def exists(connection: Connection, row: int) -> bool:
    """True if there is such an order."""
    return connection.execute(select(_request.c.id).where(_request.c.id == row)).first() is not None


def find(connection: Connection, wanted: Mapping[str, str], after: int, limit: int) -> list[int]:
    """Rows of orders that have all these values (keywords of the tables above), behind row `after`, oldest first."""
    where: list[ColumnElement[bool]] = [_request.c.id > after]
    where += [_OF_REQUEST[keyword] == value for keyword, value in wanted.items() if keyword in _OF_REQUEST]
    below = [_BELOW[keyword] == value for keyword, value in wanted.items() if keyword in _BELOW]
    if below:
        where.append(there_is().where(_procedure.c.request == _request.c.id, *below))
    query = select(_request.c.id).join_from(_request, _patient).where(*where)
    return list(connection.execute(query.order_by(_request.c.id).limit(limit)).scalars())
