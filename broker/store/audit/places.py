"""Says how far the audit trail has been handed to the queue for each audit repository, and what comes next."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, insert, select, update

from broker.model.audit import AuditRecord
from broker.store.audit.trail import record_of
from broker.store.schema import tables

_place, _audit = tables.audit_place, tables.audit


def place(connection: Connection, node: str) -> int:
    """The last row that was handed over for a node. A new one begins with what comes from now on."""
    found = connection.execute(select(_place.c.row).where(_place.c.node == node)).scalar()
    if found is not None:
        return int(found)
    last = int(connection.execute(select(func.max(_audit.c.id))).scalar() or 0)
    connection.execute(insert(_place).values(node=node, row=last))
    return last


def move(connection: Connection, node: str, row: int) -> None:
    """What is up to a row has been handed over for a node."""
    connection.execute(update(_place).where(_place.c.node == node).values(row=row))


def numbers(connection: Connection, after: int, limit: int) -> list[int]:
    """Numbers of the next rows, in their order."""
    query = select(_audit.c.id).where(_audit.c.id > after).order_by(_audit.c.id).limit(limit)
    return list(connection.execute(query).scalars())


def rows(connection: Connection, after: int, last: int) -> Sequence[AuditRecord]:
    """The rows behind a row, up to another one, in their order."""
    query = select(_audit).where(_audit.c.id > after, _audit.c.id <= last).order_by(_audit.c.id)
    return [record_of(row) for row in connection.execute(query)]
