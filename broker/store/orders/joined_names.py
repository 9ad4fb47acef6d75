"""Gives identifiers that stand under the one name of an authority its other name, for some numbers at a time.

Every statement goes by number, or by a patient's row, and so by an index: what it takes does not depend on how many
rows the authority has. `before` and `after` are the two names. Statements are made once: to build one costs more than
to run it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Connection,
    Table,
    Update,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    union,
    update,
)

from broker.model.authority import AuthorityUse
from broker.store.db.pace import padded
from broker.store.schema import tables

_alias, _patient, _visit, _heard = tables.patient_alias, tables.patient, tables.visit, tables.heard
_request, _tombstone, _appointment = tables.service_request, tables.tombstone, tables.appointment
_same, _other = _visit.alias("same"), _request.alias("other")
Numbered = tuple[Table, "Column[Any]", "Column[Any]"]  # a table, what is counted as the number, the issuer


def _numbered(table: Table, number: str, issuer: str) -> Numbered:
    return table, table.c[number], table.c[issuer]


_ORDER_NUMBERS = (AuthorityUse.PLACER, AuthorityUse.FILLER)
_ORDER_TABLES = (_request, _tombstone, _appointment)
# where identifiers of a use stand; a visit goes by its patient (row)
PLACES: dict[AuthorityUse, tuple[Numbered, ...]] = {
    AuthorityUse.PATIENT: tuple(
        _numbered(table, "patient_id", "issuer") for table in (_patient, _alias, _tombstone, _appointment)
    ),
    AuthorityUse.VISIT: (_numbered(_visit, "patient", "issuer"),),
    AuthorityUse.PLACER: tuple(_numbered(table, "placer_number", "placer_issuer") for table in _ORDER_TABLES),
    AuthorityUse.FILLER: tuple(_numbered(table, "filler_number", "filler_issuer") for table in _ORDER_TABLES),
    AuthorityUse.ACCESSION: (),  # it is recognized when it is read
}
_NUMBERS: BindParameter[Any] = bindparam("numbers", expanding=True)
_ROWS: BindParameter[Any] = bindparam("rows", expanding=True)
_BEFORE: BindParameter[str] = bindparam("before")
_AFTER: BindParameter[str] = bindparam("after")


def _rename(place: Numbered, *where: ColumnElement[bool]) -> Update:
    table, number, issuer = place
    return update(table).where(number.in_(_NUMBERS), issuer == _BEFORE, *where).values({issuer.name: _AFTER})


def _taken(table: Table) -> ColumnElement[bool]:
    """That somebody has, or had, the identifier of a row under the other name of its issuer."""
    has, had = _patient.alias("has"), _alias.alias("had")
    return or_(
        *(
            select(other.c.id).where(other.c.patient_id == table.c.patient_id, other.c.issuer == _AFTER).exists()
            for other in (has, had)
        )
    )


_ISSUERS = {
    use: union(*(select(issuer).where(number.in_(_NUMBERS)) for _, number, issuer in places))
    for use, places in PLACES.items()
    if places
}
_OWNERS = union(
    select(_patient.c.id).where(_patient.c.patient_id.in_(_NUMBERS)),
    select(_alias.c.patient).where(_alias.c.patient_id.in_(_NUMBERS)),
)
_THEIRS = union(
    select(_patient.c.patient_id).where(_patient.c.id.in_(_ROWS)),
    select(_alias.c.patient_id).where(_alias.c.patient.in_(_ROWS)),
)
_mine = _patient.c.patient_id.in_(_NUMBERS), _patient.c.issuer == _BEFORE
_TWICE = select(_patient.c.patient_id).where(*_mine, _taken(_patient)).order_by(_patient.c.id)
_SHOWN = (
    select(_patient.c.patient_id)
    .join_from(_patient, _request)
    .join(tables.requested_procedure)
    .join(tables.scheduled_step)
    .where(*_mine, ~_taken(_patient), tables.scheduled_step.c.status.in_(bindparam("open", expanding=True)))
    .distinct()
)
_RENAME_PATIENTS = [_rename(place, ~_taken(place[0])) for place in PLACES[AuthorityUse.PATIENT][:2]]
_RENAME_WAITING = [_rename(place) for place in PLACES[AuthorityUse.PATIENT][2:]]
_RETIRED = (
    select(_alias.c.patient_id, _alias.c.patient)
    .where(_alias.c.patient_id.in_(_NUMBERS), _alias.c.issuer == _BEFORE)
    .order_by(_alias.c.id)
)
_SAME_VISIT = (
    select(_visit.c.id, _visit.c.updated_at, _same.c.id, _same.c.updated_at)
    .join(_same, and_(_same.c.patient == _visit.c.patient, _same.c.admission_id == _visit.c.admission_id))
    .where(_visit.c.patient.in_(_NUMBERS), _visit.c.issuer == _BEFORE, _same.c.issuer == _AFTER)
)
_RENAME_VISITS = _rename(PLACES[AuthorityUse.VISIT][0])
_RENAME_NUMBERS = {use: [_rename(place) for place in PLACES[use]] for use in _ORDER_NUMBERS}


def _same_number(use: AuthorityUse) -> Any:
    number, issuer = f"{use}_number", f"{use}_issuer"
    pairs = select(_request.c.id, _other.c.id).join_from(_request, _other, _request.c[number] == _other.c[number])
    return pairs.where(_request.c[number].in_(_NUMBERS), _request.c[issuer] == _BEFORE, _other.c[issuer] == _AFTER)


def _cancelled(use: AuthorityUse) -> Any:
    order, kept = _request.c, _tombstone.c
    number, issuer = f"{use}_number", f"{use}_issuer"
    ways = ((_BEFORE, _AFTER), (_AFTER, _BEFORE))
    names = or_(*(and_(order[issuer] == one, kept[issuer] == other) for one, other in ways))
    query = select(order.id).join_from(_request, _tombstone, order[number] == kept[number])
    return query.where(order[number].in_(_NUMBERS), order[number] != "", names).distinct().order_by(order.id)


def _patients(use: AuthorityUse) -> Any:
    query = select(_patient.c.patient_id).join_from(_request, _patient)
    return query.where(_request.c[f"{use}_number"].in_(_NUMBERS)).distinct()


_SAME_NUMBER = {use: _same_number(use) for use in _ORDER_NUMBERS}
_CANCELLED = {use: _cancelled(use) for use in _ORDER_NUMBERS}
_PATIENTS = {use: _patients(use) for use in _ORDER_NUMBERS}


def _scalars(connection: Connection, query: Any, numbers: Collection[Any], **values: Any) -> list[Any]:
    """The first column of what a query finds for some numbers."""
    if not numbers:
        return []
    return list(connection.execute(query, {"numbers": padded(list(numbers)), **values}).scalars())


def last_row(connection: Connection, place: Numbered) -> int:
    """The last row of a table."""
    return int(connection.execute(select(func.max(place[0].c.id))).scalar_one() or 0)


def numbers_of(connection: Connection, place: Numbered, issuer: str, after: int, until: int) -> list[Any]:
    """Numbers that stand in a table under an issuer, in rows behind one and up to another; each once."""
    table, number, of = place
    query = select(number).where(table.c.id > after, table.c.id <= until, of == issuer).order_by(table.c.id)
    return list(dict.fromkeys(connection.execute(query).scalars()))


def issuers(connection: Connection, use: AuthorityUse, numbers: Collection[Any]) -> set[str]:
    """The issuers under which these numbers stand anywhere."""
    return set(_scalars(connection, _ISSUERS[use], numbers))


def company(connection: Connection, numbers: Collection[str], patients: Collection[int]) -> list[str]:
    """These identifiers of patients, and all others that they or these patients (rows) have or had; any issuer."""
    rows = [*patient_rows(connection, numbers), *patients]
    theirs = connection.execute(_THEIRS, {"rows": padded(rows)}).scalars() if rows else ()
    return sorted({*numbers, *theirs})


def patient_rows(connection: Connection, numbers: Collection[str]) -> list[int]:
    """Rows of the patients who have or had one of these identifiers; any issuer."""
    return _scalars(connection, _OWNERS, numbers)


def patients_of_orders(connection: Connection, use: AuthorityUse, numbers: Collection[str]) -> list[str]:
    """Identifiers of the patients of the orders that have one of these numbers; any issuer."""
    return _scalars(connection, _PATIENTS[use], numbers)


def patients_twice(connection: Connection, numbers: Collection[str], before: str, after: str) -> list[str]:
    """Those of these identifiers that patients have under both names, oldest first."""
    return _scalars(connection, _TWICE, numbers, before=before, after=after)


def keep_apart(connection: Connection, number: str, universal_id: str) -> bool:
    """Note that two patients with this identifier stay two; False if that was known."""
    table, values = tables.kept_apart, {"universal_id": universal_id, "patient_id": number}
    if connection.execute(select(table.c.patient_id).filter_by(**values)).first():
        return False
    connection.execute(insert(table), values)
    return True


def rename_patients(
    connection: Connection, numbers: Collection[str], before: str, after: str, open_: Sequence[str]
) -> list[str]:
    """Patients with these identifiers, and retired identifiers, get the other name where nobody has that.

    Identifiers of those with a step in a status of `open_`, to be shown there.
    """
    shown = _scalars(connection, _SHOWN, numbers, before=before, after=after, open=open_)
    _run(connection, _RENAME_PATIENTS, numbers, before, after)
    return shown


def _run(connection: Connection, renames: Sequence[Update], numbers: Collection[Any], before: str, after: str) -> None:
    for rename in renames if numbers else ():
        connection.execute(rename, {"numbers": padded(list(numbers)), "before": before, "after": after})


def written_at(connection: Connection, patient: int) -> float:
    """When a patient (row) was written last."""
    return float(connection.execute(select(_patient.c.updated_at).where(_patient.c.id == patient)).scalar_one())


def order_written_at(connection: Connection, order: int) -> float:
    """When an order (row) was written last."""
    return float(connection.execute(select(_request.c.updated_at).where(_request.c.id == order)).scalar_one())


def retired_of(connection: Connection, numbers: Collection[str], issuer: str) -> list[tuple[str, int]]:
    """Those of these identifiers that are retired ones of an issuer, each with its patient (row), oldest first."""
    if not numbers:
        return []
    found = connection.execute(_RETIRED, {"numbers": padded(list(numbers)), "before": issuer})
    return [(number, patient) for number, patient in found]


def rename_waiting(connection: Connection, numbers: Collection[str], before: str, after: str) -> None:
    """What waits for an order of a patient with one of these identifiers waits for one by the other name."""
    _run(connection, _RENAME_WAITING, numbers, before, after)


def rename_visits(connection: Connection, patients: Collection[int], before: str, after: str) -> None:
    """Visits of these patients (rows) get the other name. Of two that are one now, the last written one stays."""
    if not patients:
        return
    pairs = connection.execute(_SAME_VISIT, {"numbers": padded(list(patients)), "before": before, "after": after})
    older = [row if at <= its else other for row, at, other, its in pairs]
    for row in older:
        connection.execute(delete(_heard).where(_heard.c.kind == "visit", _heard.c.subject == row))
        connection.execute(delete(_visit).where(_visit.c.id == row))
    _run(connection, [_RENAME_VISITS], patients, before, after)


def rename_numbers(
    connection: Connection, use: AuthorityUse, numbers: Collection[str], before: str, after: str
) -> list[tuple[int, int]]:
    """These order numbers get the other name; pairs of orders (rows) that have the same number now."""
    if not numbers:
        return []
    names = {"numbers": padded(list(numbers)), "before": before, "after": after}
    pairs = [(int(row[0]), int(row[1])) for row in connection.execute(_SAME_NUMBER[use], names)]
    _run(connection, _RENAME_NUMBERS[use], numbers, before, after)
    return pairs


def cancelled_elsewhere(
    connection: Connection, use: AuthorityUse, numbers: Collection[str], before: str, after: str
) -> list[int]:
    """Orders (rows) with one of these numbers for which a cancel is kept under the other name, oldest first."""
    return _scalars(connection, _CANCELLED[use], numbers, before=before, after=after)
