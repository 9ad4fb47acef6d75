"""Keeps what was taken over from other worklist servers: which order it is here, and how it last was there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, exists, insert, or_, select, update

from broker.model.sourced import Sourced, SourcedState
from broker.store.db.prepared import Prepared
from broker.store.schema import tables

_item = tables.source_item
_COLUMNS = (
    _item.c.key,
    _item.c.request,
    _item.c.step_id,
    _item.c.start_at,
    _item.c.digest,
    _item.c.state,
    _item.c.misses,
)
_ONE = Prepared(any=select(*_COLUMNS).where(_item.c.node == bindparam("node"), _item.c.key == bindparam("key")))
_DROP = Prepared(any=delete(_item).where(_item.c.node == bindparam("node"), _item.c.key == bindparam("key")))
_ADD = Prepared(any=insert(_item).values({column.name: bindparam(column.name) for column in _item.c}))


def of_node(connection: Connection, node: str) -> Mapping[str, Sourced]:
    """All items of a node, by key."""
    found = connection.execute(select(*_COLUMNS).where(_item.c.node == node))
    return {row.key: _sourced(row) for row in found}


def find(connection: Connection, node: str, key: str) -> Sourced | None:
    """One item of a node."""
    rows = _ONE.rows(connection, {"node": node, "key": key})
    return _sourced(rows[0]) if rows else None


def _sourced(row: Sequence[Any]) -> Sourced:
    return Sourced(
        key=row[0],
        request=row[1],
        step_id=row[2],
        start_at=row[3],
        digest=bytes(row[4]),
        state=SourcedState(row[5]),
        misses=row[6],
    )


def save(connection: Connection, node: str, item: Sourced, at: float) -> None:
    """Write an item, new or not (`at` in seconds since the epoch)."""
    values = {name: getattr(item, name) for name in Sourced.__slots__}
    _DROP.count(connection, {"node": node, "key": item.key})
    _ADD.rows(connection, {**values, "node": node, "updated_at": at})


def rename(connection: Connection, node: str, key: str, new: str) -> None:
    """An item has another key now."""
    connection.execute(update(_item).where(_item.c.node == node, _item.c.key == key).values(key=new))


def count_misses(connection: Connection, node: str, missed: Sequence[str], found: Sequence[str], at: float) -> None:
    """One more complete import did not have these items, and those that were missed before are back."""
    for keys, misses in ((missed, _item.c.misses + 1), (found, 0)):
        for first in range(0, len(keys), 500):
            chosen = _item.c.key.in_(keys[first : first + 500])
            connection.execute(update(_item).where(_item.c.node == node, chosen).values(misses=misses, updated_at=at))


def forget(connection: Connection, node: str, before: str) -> int:
    """Forget items that began before a moment (`YYYYMMDDHHMMSS`); how many."""
    return connection.execute(delete(_item).where(_item.c.node == node, _item.c.start_at < before)).rowcount


def known_elsewhere(connection: Connection, patient: int, actor: str) -> bool:
    """Somebody else than `actor` has told of a patient (row): by an order, or by a message about the patient."""
    request, heard = tables.service_request.c, tables.heard.c
    query = select(
        or_(
            exists().where(request.patient == patient, request.changed_by != actor),
            exists().where(heard.kind == "patient", heard.subject == patient),
        )
    )
    return bool(connection.execute(query).scalar_one())
