"""Keeps which namespaces and universal IDs name one authority, and finds what is stored by universal ID alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Table,
    and_,
    bindparam,
    delete,
    insert,
    or_,
    select,
    text,
    update,
)

from broker.model.authority import AuthorityUse, KnownAuthority
from broker.store.db.engine import is_sqlite
from broker.store.db.prepared import Prepared
from broker.store.schema import tables

_a, _alias, _patient, _visit = tables.authority, tables.patient_alias, tables.patient, tables.visit
_heard = tables.heard
_more = tables.authority.alias("more")
_KNOWN = Prepared(
    any=select(_a.c.use, _a.c.namespace, _a.c.universal_id, _a.c.first_seen).where(
        or_(
            _a.c.universal_id == bindparam("universal_id"),
            _a.c.namespace == bindparam("namespace"),
            _a.c.namespace.in_(select(_more.c.namespace).where(_more.c.universal_id == bindparam("universal_id"))),
        )
    )
)
_LOCKS = {shared: text(f"SELECT pg_advisory_xact_lock{shared}(:key)") for shared in ("", "_shared")}
_NUMBERED = (tables.service_request, tables.tombstone, tables.appointment)
_NUMBERS = (AuthorityUse.PLACER, AuthorityUse.FILLER)
# an issuer's two names: what stands under the one is stored under the other from now on
_BEFORE: BindParameter[str] = bindparam("before")
_AFTER: BindParameter[str] = bindparam("after")


def _taken(table: Table) -> ColumnElement[bool]:
    """That somebody has, or had, the identifier of a row under the other name of its issuer."""
    has, had = _patient.alias("has"), _alias.alias("had")
    return or_(
        *(
            select(other.c.id).where(other.c.patient_id == table.c.patient_id, other.c.issuer == _AFTER).exists()
            for other in (has, had)
        )
    )


def _rename(table: Table, name: str = "issuer", *where: ColumnElement[bool]) -> Prepared:
    return Prepared(any=update(table).where(table.c[name] == _BEFORE, *where).values({name: _AFTER}))


def _same_number(use: AuthorityUse) -> Prepared:
    table, other = tables.service_request, tables.service_request.alias("other")
    number, issuer = f"{use}_number", f"{use}_issuer"
    pairs = select(table.c.id, other.c.id).join_from(table, other, table.c[number] == other.c[number])
    return Prepared(any=pairs.where(table.c[issuer] == _BEFORE, other.c[issuer] == _AFTER))


def _cancelled(use: AuthorityUse) -> Prepared:
    order, kept = tables.service_request.c, tables.tombstone.c
    number, issuer = f"{use}_number", f"{use}_issuer"
    ways = ((_BEFORE, _AFTER), (_AFTER, _BEFORE))
    names = or_(*(and_(order[issuer] == one, kept[issuer] == other) for one, other in ways))
    query = select(order.id).where(order[number] == kept[number], order[number] != "", names).distinct()
    return Prepared(any=query.order_by(order.id))


_TWICE = Prepared(
    any=select(_patient.c.patient_id).where(_patient.c.issuer == _BEFORE, _taken(_patient)).order_by(_patient.c.id)
)
_SHOWN = (
    select(_patient.c.patient_id)
    .join_from(_patient, tables.service_request)
    .join(tables.requested_procedure)
    .join(tables.scheduled_step)
    .where(
        _patient.c.issuer == _BEFORE,
        ~_taken(_patient),
        tables.scheduled_step.c.status.in_(bindparam("open", expanding=True)),
    )
    .distinct()
)
_RENAME_PATIENTS = [_rename(table, "issuer", ~_taken(table)) for table in (_patient, _alias)]
_RETIRED = Prepared(any=select(_alias.c.patient_id).where(_alias.c.issuer == _BEFORE).order_by(_alias.c.id))
_RENAME_WAITING = [_rename(table) for table in (tables.tombstone, tables.appointment)]
_same = _visit.alias("same")
_SAME_VISIT = Prepared(
    any=select(_visit.c.id, _visit.c.updated_at, _same.c.id, _same.c.updated_at)
    .join(_same, and_(_same.c.patient == _visit.c.patient, _same.c.admission_id == _visit.c.admission_id))
    .where(_visit.c.issuer == _BEFORE, _same.c.issuer == _AFTER)
)
_RENAME_VISITS = _rename(_visit)
_RENAME_NUMBERS = {use: [_rename(table, f"{use}_issuer") for table in _NUMBERED] for use in _NUMBERS}
_SAME_NUMBER = {use: _same_number(use) for use in _NUMBERS}
_CANCELLED = {use: _cancelled(use) for use in _NUMBERS}


def known(connection: Connection, namespace: str, universal_id: str) -> list[tuple[KnownAuthority, float]]:
    """Pairs that have one of two names, or a namespace of that universal ID; each with when it was first seen."""
    rows = _KNOWN.rows(connection, {"namespace": namespace, "universal_id": universal_id})
    return [(KnownAuthority(AuthorityUse(row[0]), row[1], row[2]), row[3]) for row in rows]


def hold(connection: Connection, names: Iterable[str], *, learning: bool) -> None:
    """Nobody else learns anything of these names until the transaction ends; while `learning`, nobody uses them.

    SQLite has one writer and needs no locks.
    """
    if is_sqlite(connection):
        return
    for name in sorted(names):
        digest = hashlib.blake2b(f"authority|{name}".encode(), digest_size=8).digest()
        key = int.from_bytes(digest, "big", signed=True)
        connection.execute(_LOCKS["" if learning else "_shared"], {"key": key})


def learn(connection: Connection, pair: KnownAuthority, at: float, source: str) -> None:
    """Keep a pair that contradicts none of its use."""
    values = {"use": pair.use, "namespace": pair.namespace, "universal_id": pair.universal_id}
    connection.execute(insert(_a), {**values, "first_seen": at, "source": source})


def patients_twice(connection: Connection, before: str, after: str) -> list[str]:
    """Identifiers that an issuer's patients have under both of its names, oldest first."""
    return [row[0] for row in _TWICE.rows(connection, {"before": before, "after": after})]


def rename_patients(connection: Connection, before: str, after: str, open_: Sequence[str]) -> list[str]:
    """Patients of an issuer, and retired identifiers, get its other name where nobody has that.

    Identifiers of those with a step in a status of `open_`, to be shown there.
    """
    names = {"before": before, "after": after}
    shown = list(connection.execute(_SHOWN, {**names, "open": open_}).scalars())
    for rename in _RENAME_PATIENTS:
        rename.count(connection, names)
    return shown


def written_at(connection: Connection, patient: int) -> float:
    """When a patient (row) was written last."""
    return float(connection.execute(select(_patient.c.updated_at).where(_patient.c.id == patient)).scalar_one())


def order_written_at(connection: Connection, order: int) -> float:
    """When an order (row) was written last."""
    request = tables.service_request.c
    return float(connection.execute(select(request.updated_at).where(request.id == order)).scalar_one())


def retired_of(connection: Connection, issuer: str) -> list[str]:
    """Retired identifiers of an issuer, oldest first."""
    return [row[0] for row in _RETIRED.rows(connection, {"before": issuer})]


def rename_waiting(connection: Connection, before: str, after: str) -> None:
    """What waits for an order of an issuer's patient waits for one of the issuer by its other name."""
    for rename in _RENAME_WAITING:
        rename.count(connection, {"before": before, "after": after})


def rename_visits(connection: Connection, before: str, after: str) -> None:
    """Visits of an issuer get its other name. Of two that are one now, the one that was written last stays."""
    names = {"before": before, "after": after}
    older = [row if at <= its else other for row, at, other, its in _SAME_VISIT.rows(connection, names)]
    for row in older:
        connection.execute(delete(_heard).where(_heard.c.kind == "visit", _heard.c.subject == row))
        connection.execute(delete(_visit).where(_visit.c.id == row))
    _RENAME_VISITS.count(connection, names)


def rename_numbers(connection: Connection, use: AuthorityUse, before: str, after: str) -> list[tuple[int, int]]:
    """Order numbers of an issuer get its other name; pairs of orders (rows) that have the same number now."""
    names = {"before": before, "after": after}
    pairs = [(int(row[0]), int(row[1])) for row in _SAME_NUMBER[use].rows(connection, names)]
    for rename in _RENAME_NUMBERS[use]:
        rename.count(connection, names)
    return pairs


def cancelled_elsewhere(connection: Connection, use: AuthorityUse, before: str, after: str) -> list[int]:
    """Orders (rows) for whose number a cancel is kept under the other name of an issuer, oldest first."""
    return [int(row[0]) for row in _CANCELLED[use].rows(connection, {"before": before, "after": after})]
