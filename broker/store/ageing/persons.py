"""Says which visits and patients nobody names any more, and deletes them with all that is theirs.

The audit trail names patients by number and is kept longer. So that it can still be asked for a patient's rows, the
identifiers of a patient who goes are kept with the number, as long as the trail itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, func, insert, literal, or_, select

from broker.model.visit import VisitState
from broker.store.db import clock
from broker.store.db.pace import padded
from broker.store.schema import tables
from broker.store.thinning import ThinningRule

_patient, _visit, _request = tables.patient, tables.visit, tables.service_request
_alias, _former, _heard = tables.patient_alias, tables.former_patient, tables.heard


def _none(query: Select[tuple[int]]) -> ColumnElement[bool]:
    return query.limit(1).scalar_subquery().is_(None)


def _visit_is_over(before: float) -> ColumnElement[bool]:
    """Nobody spoke of it since. One that is open stays while its patient has an order."""
    order = select(_request.c.id).where(_request.c.patient == _visit.c.patient)
    times = (_visit.c[name] < before for name in ("updated_at", "opened_at", "closed_at"))
    newest = select(func.max(_visit.alias().c.id)).scalar_subquery()  # SQLite would give its number again
    return and_(*times, or_(_visit.c.state != VisitState.OPEN, _none(order)), _visit.c.id < newest)


def _patient_is_over(before: float) -> ColumnElement[bool]:
    """Nobody spoke of the patient since, and no order, visit or study names him."""
    naming = (
        select(_request.c.id).where(_request.c.patient == _patient.c.id),
        select(_visit.c.id).where(_visit.c.patient == _patient.c.id),
        select(tables.study_key.c.study).where(tables.study_key.c.patient_id == _patient.c.patient_id),
    )
    newest = select(func.max(_patient.alias().c.id)).scalar_subquery()  # as of a visit; the audit trail has it
    return and_(_patient.c.updated_at < before, *map(_none, naming), _patient.c.id < newest)


def _drop_beside_visits(connection: Connection, keys: Sequence[int]) -> None:
    _forget_heard(connection, "visit", keys)


def _drop_beside_patients(connection: Connection, keys: Sequence[int]) -> None:
    """Keep the identifiers of patients (rows) for the audit trail, and delete what belongs to them."""
    rows, at = padded(keys), literal(clock.now(connection))
    for number, table in ((_patient.c.id, _patient), (_alias.c.patient, _alias)):
        had = select(number, table.c.patient_id, table.c.issuer, at).where(number.in_(rows))
        connection.execute(insert(_former).from_select(["patient", "patient_id", "issuer", "gone_at"], had))
    _forget_heard(connection, "patient", keys)
    numbers = list(connection.execute(select(_patient.c.patient_id).where(_patient.c.id.in_(rows))).scalars())
    apart = tables.kept_apart.c.patient_id.in_(padded(numbers))  # if one comes again, it is said once more
    connection.execute(delete(tables.kept_apart).where(apart))
    for column in (tables.patient_term.c.patient, _alias.c.patient):
        connection.execute(delete(column.table).where(column.in_(rows)))


def _forget_heard(connection: Connection, kind: str, keys: Sequence[int]) -> None:
    here = _heard.c.kind == kind, _heard.c.subject.in_(padded(keys))
    connection.execute(delete(_heard).where(*here))


VISITS = ThinningRule(
    name="visits",
    age=_visit.c.updated_at,
    over=_visit_is_over,
    ordered=False,
    noted="visit",
    beside=_drop_beside_visits,
)
PATIENTS = ThinningRule(
    name="patients",
    age=_patient.c.updated_at,
    over=_patient_is_over,
    ordered=False,
    noted="patient",
    beside=_drop_beside_patients,
)
FORMER_PATIENTS = ThinningRule(
    name="former-patients", age=_former.c.gone_at, over=lambda before: _former.c.gone_at < before, grows=False
)
