"""Cancels that came before their orders, and links between orders."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, and_, bindparam, delete, insert, or_, select

from broker.model.order import EntityId
from broker.store.db.prepared import Prepared
from broker.store.schema import tables

REPLACES, PARENT = "replaces", "parent"
_t = tables.tombstone
# a key that is not there is NULL and equals nothing
_STONES = Prepared(
    any=select(
        _t.c.id, _t.c.control, _t.c.order_status, _t.c.placer_number, _t.c.placer_issuer, _t.c.filler_number,
        _t.c.filler_issuer, _t.c.accession, _t.c.patient_id, _t.c.issuer, _t.c.steps,
    ).where(
        _t.c.patient_id == bindparam("patient_id"),
        or_(
            _t.c.filler_number == bindparam("filler"), _t.c.placer_number == bindparam("placer"),
            _t.c.accession == bindparam("accession"),
        ),
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A cancel by the keys it named; `steps` are the identifiers of those it named, none for the whole order."""

    control: str
    order_status: str
    placer: EntityId
    filler: EntityId
    accession: str
    patient_id: str
    issuer: str
    steps: tuple[str, ...]


def add(connection: Connection, stone: Tombstone, actor: str, at: float) -> int:
    """Keep a cancel (`at` in seconds since the epoch); the row."""
    values = {
        "at": at,
        "actor": actor,
        "control": stone.control,
        "order_status": stone.order_status,
        "placer_number": stone.placer.number,
        "placer_issuer": stone.placer.issuer,
        "filler_number": stone.filler.number,
        "filler_issuer": stone.filler.issuer,
        "accession": stone.accession,
        "patient_id": stone.patient_id,
        "issuer": stone.issuer,
        "steps": json.dumps(stone.steps),
    }
    return int(connection.execute(insert(_t).returning(_t.c.id), values).scalar_one())


def find(
    connection: Connection, filler: EntityId, placer: EntityId, accession: str, patient_id: str
) -> dict[int, Tombstone]:
    """Cancels kept for an order with these keys, by row, oldest first.

    One key must be the same and no number another. Issuers count where both sides have one.
    """
    keys = {"filler": filler.number or None, "placer": placer.number or None, "accession": accession or None}
    rows = _STONES.rows(connection, {"patient_id": patient_id, **keys})
    found = {}
    for row in sorted(rows):
        stone = Tombstone(
            row[1],
            row[2],
            EntityId(row[3], row[4]),
            EntityId(row[5], row[6]),
            row[7],
            row[8],
            row[9],
            tuple(json.loads(row[10])),
        )
        if not (_contradict(stone.filler, filler) or _contradict(stone.placer, placer)):
            found[int(row[0])] = stone
    return found


def _contradict(one: EntityId, other: EntityId) -> bool:
    numbers = bool(one.number and other.number)
    return numbers and (one.number != other.number or bool(one.issuer and other.issuer and one.issuer != other.issuer))


def drop(connection: Connection, rows: Collection[int]) -> None:
    """Forget cancels whose order has come."""
    if rows:
        connection.execute(delete(_t).where(_t.c.id.in_(rows)))


def expire(connection: Connection, before: float) -> int:
    """Forget cancels kept since before a time (seconds since the epoch); how many."""
    return int(connection.execute(delete(_t).where(_t.c.at < before)).rowcount)


def link(connection: Connection, request: int, kind: str, other: int) -> bool:
    """Note that one order `replaces` another or has it as its `parent`; false if it is known already."""
    table = tables.order_link
    values = {"request": request, "kind": kind, "other": other}
    same = and_(*(table.c[name] == value for name, value in values.items()))
    if connection.execute(select(table.c.request).where(same)).first():
        return False
    connection.execute(insert(table), values)
    return True


def secondary(connection: Connection, rows: Collection[int]) -> set[int]:
    """Of these orders, those that a number does not mean: replaced ones, and children of others of them."""
    table = tables.order_link.c
    query = select(table.request, table.kind, table.other).where(or_(table.other.in_(rows), table.request.in_(rows)))
    found = set()
    for request, kind, other in connection.execute(query):
        if kind == REPLACES:
            found.add(other)
        elif other in rows:
            found.add(request)
    return found
