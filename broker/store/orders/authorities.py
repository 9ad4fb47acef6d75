"""Keeps which namespaces and universal IDs name one authority, and finds what is stored by universal ID alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, Connection, Table, and_, bindparam, delete, insert, or_, select, text, update

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


def _taken(table: Table, after: str) -> ColumnElement[bool]:
    """That somebody has, or had, the identifier of a row under the other name of its issuer."""
    has, had = _patient.alias("has"), _alias.alias("had")
    return or_(
        *(
            select(other.c.id).where(other.c.patient_id == table.c.patient_id, other.c.issuer == after).exists()
            for other in (has, had)
        )
    )


def patients_twice(connection: Connection, before: str, after: str) -> list[str]:
    """Identifiers that an issuer's patients have under both of its names, oldest first."""
    query = select(_patient.c.patient_id).where(_patient.c.issuer == before, _taken(_patient, after))
    return list(connection.execute(query.order_by(_patient.c.id)).scalars())


def rename_patients(connection: Connection, before: str, after: str, open_: Sequence[str]) -> list[str]:
    """Patients of an issuer, and retired identifiers, get its other name where nobody has that.

    Identifiers of those with a step in a status of `open_`, to be shown there.
    """
    request, procedure, step = tables.service_request, tables.requested_procedure, tables.scheduled_step
    query = (
        select(_patient.c.patient_id)
        .join_from(_patient, request)
        .join(procedure)
        .join(step)
        .where(_patient.c.issuer == before, ~_taken(_patient, after), step.c.status.in_(open_))
        .distinct()
    )
    shown = list(connection.execute(query).scalars())
    for table in (_patient, _alias):
        connection.execute(update(table).where(table.c.issuer == before, ~_taken(table, after)).values(issuer=after))
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
    query = select(_alias.c.patient_id).where(_alias.c.issuer == issuer).order_by(_alias.c.id)
    return list(connection.execute(query).scalars())


def rename_waiting(connection: Connection, before: str, after: str) -> None:
    """What waits for an order of an issuer's patient waits for one of the issuer by its other name."""
    for table in (tables.tombstone, tables.appointment):
        connection.execute(update(table).where(table.c.issuer == before).values(issuer=after))


def rename_visits(connection: Connection, before: str, after: str) -> None:
    """Visits of an issuer get its other name. Of two that are one now, the one that was written last stays."""
    same = _visit.alias("same")
    pairs = (
        select(_visit.c.id, _visit.c.updated_at, same.c.id, same.c.updated_at)
        .join(same, and_(same.c.patient == _visit.c.patient, same.c.admission_id == _visit.c.admission_id))
        .where(_visit.c.issuer == before, same.c.issuer == after)
    )
    older = [row if at <= its else other for row, at, other, its in connection.execute(pairs).all()]
    for row in older:
        connection.execute(delete(_heard).where(_heard.c.kind == "visit", _heard.c.subject == row))
        connection.execute(delete(_visit).where(_visit.c.id == row))
    connection.execute(update(_visit).where(_visit.c.issuer == before).values(issuer=after))


def rename_numbers(connection: Connection, use: AuthorityUse, before: str, after: str) -> list[tuple[int, int]]:
    """Order numbers of an issuer get its other name; pairs of orders (rows) that have the same number now."""
    pairs = list(_same_number(connection, tables.service_request, use, before, after))
    for table in _NUMBERED:
        column = table.c[f"{use}_issuer"]
        connection.execute(update(table).where(column == before).values({column.name: after}))
    return pairs


def cancelled_elsewhere(connection: Connection, use: AuthorityUse, before: str, after: str) -> list[int]:
    """Orders (rows) for whose number a cancel is kept under the other name of an issuer, oldest first."""
    order, kept = tables.service_request.c, tables.tombstone.c
    number, issuer = f"{use}_number", f"{use}_issuer"
    names = or_(
        *(and_(order[issuer] == one, kept[issuer] == other) for one, other in ((before, after), (after, before)))
    )
    query = select(order.id).where(order[number] == kept[number], order[number] != "", names).distinct()
    return list(connection.execute(query.order_by(order.id)).scalars())


def _same_number(
    connection: Connection, table: Table, use: AuthorityUse, before: str, after: str
) -> Iterable[tuple[int, int]]:
    other = table.alias("other")
    number, issuer = f"{use}_number", f"{use}_issuer"
    query = (
        select(table.c.id, other.c.id)
        .join_from(table, other, table.c[number] == other.c[number])
        .where(table.c[issuer] == before, other.c[issuer] == after)
    )
    return ((int(row[0]), int(row[1])) for row in connection.execute(query))
