"""Asks in SQL whether a column of bytes holds some bytes."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, func

from broker.store.db.engine import is_sqlite


def holds(connection: Connection, column: ColumnElement[bytes], part: bytes) -> ColumnElement[bool]:
    """A condition that is true where the column holds `part`."""
    if is_sqlite(connection):
        return func.instr(column, part) > 0
    escaped = part.replace(b"\\", b"\\\\").replace(b"%", b"\\%").replace(b"_", b"\\_")
    return column.op("LIKE", is_comparison=True)(b"%" + escaped + b"%")
