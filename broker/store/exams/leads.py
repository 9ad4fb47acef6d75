"""Finds the orders that one condition of a search leads to by its index, as long as they are few."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, and_, func, intersect, literal, select

from broker.model.exam import ExamSelection
from broker.store.db.pace import padded
from broker.store.schema import tables

FEW = 2_000  # orders of one lead: if they are more, walking through all finds a page sooner
OF_A_DAY = 10_000  # orders of a day, which always lead: their list goes by time
COMMON = 50_000  # patients of one word: a commoner one leads nowhere
LAST = "\U0010ffff"
_request, _patient, _alias = tables.service_request, tables.patient, tables.patient_alias
_procedure, _step, _station = tables.requested_procedure, tables.scheduled_step, tables.step_station
_term = tables.patient_term
NUMBERS = (_request.c.placer_number, _request.c.filler_number)
_Rows = Select[Any]


def begins(column: Column[Any], text: str) -> ColumnElement[bool]:
    """A column that is compared by code points begins with a text: a range of its index."""
    return and_(column >= text, column < text + LAST)


def few(connection: Connection, selection: ExamSelection, statuses: Sequence[str]) -> list[int] | None:
    """Orders (rows) among which all are that match, by the first condition that leads to few; None: none does.

    `statuses`: all there are. They are not ordered.
    """
    for queries in _leads(connection, selection, statuses):
        most = OF_A_DAY if selection.day and not selection.number else FEW
        rows: dict[int, None] = {}
        for query in queries:
            rows |= dict.fromkeys(connection.execute(query.limit(most + 1)).scalars())
        if len(rows) <= most:
            return list(rows)
    return None


def _leads(connection: Connection, selection: ExamSelection, statuses: Sequence[str]) -> Iterator[Sequence[_Rows]]:
    """For each condition with an index the orders that it leads to, the usually rarest first; several are one lead."""
    if selection.number:
        yield [
            *(select(_request.c.id).where(column == selection.number) for column in NUMBERS),
            select(_request.c.id).where(_request.c.accession == selection.accession),
            _of_steps(begins(_step.c.accession, selection.accession)),
        ]
    if selection.patient is not None:
        yield [select(_request.c.id).where(_request.c.patient == selection.patient)]
    if selection.patient_id:
        yield [
            _of_patients(select(_patient.c.id).where(_patient.c.patient_id == selection.patient_id)),
            _of_patients(select(_alias.c.patient).where(_alias.c.patient_id == selection.patient_id)),
            _of_steps(begins(_step.c.patient_id, selection.patient_id)),
        ]
    rare = [term for term in selection.terms if len(selection.terms) == 1 or _is_rare(connection, term)]
    if rare:
        patients = [select(_term.c.patient).where(begins(_term.c.term, term)) for term in rare]
        fresh = select(_request.c.id).where(_request.c.patient.in_(padded(selection.fresh)))
        found = _of_patients(patients[0] if len(patients) == 1 else intersect(*patients))
        yield [found, fresh] if selection.fresh else [found]
    if selection.station:
        where = [_station.c.ae_title == selection.station]
        if selection.day:
            where.append(begins(_station.c.start_at, selection.day))
        yield [_owners(_procedure.join(_step).join(_station, _station.c.step == _step.c.id)).where(*where)]
    if selection.day:
        yield [_of_steps(_step.c.status.in_(statuses), begins(_step.c.start_at, selection.day))]
    if selection.statuses:
        yield [_of_steps(_step.c.status == status) for status in selection.statuses]


def _is_rare(connection: Connection, term: str) -> bool:
    some = select(literal(1)).select_from(_term).where(begins(_term.c.term, term)).limit(COMMON + 1).subquery()
    return int(connection.execute(select(func.count()).select_from(some)).scalar_one()) <= COMMON


def _owners(tables_: Any) -> _Rows:
    return select(_procedure.c.request).select_from(tables_)


def _of_steps(*where: ColumnElement[bool]) -> _Rows:
    return _owners(_procedure.join(_step)).where(*where)


def _of_patients(patients: Any) -> _Rows:
    """The orders of patients."""
    some = patients.subquery("found")
    return select(_request.c.id).join(some, some.c[0] == _request.c.patient)
