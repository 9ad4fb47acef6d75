"""Databases of any size: copies of the one order that a broker took in itself, every key of a copy its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path

NUMBERED = frozenset({"id", "patient", "request", "procedure", "step", "object_id"})  # row numbers
KEPT = frozenset({"configuration", "alembic_version"})  # tables without rows of an order


def fill(database: Path, count: int, changes: Mapping[str, str]) -> None:
    """Copy the one order of the database of a stopped broker until it has `count`.

    `changes`: texts of the first order, and the SQL that stands in their place in copy number `n.value` (from 1).
    """
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-400000")
    # nodes and rules of the first start stand in the audit trail before the order
    connection.execute("DELETE FROM audit WHERE object_kind <> 'order'")
    connection.execute("UPDATE audit SET id = 1")
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        first = connection.execute(f"SELECT {', '.join(columns)} FROM {table} WHERE rowid = 1").fetchone()
        if table in KEPT or first is None or not set(columns) & {"patient_id", *NUMBERED}:
            continue
        values = ", ".join(_value(*pair, changes) for pair in zip(columns, first, strict=True))
        numbers = f"WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < {count - 1})"
        copies = f"SELECT {values} FROM {table}, n WHERE {table}.rowid = 1"
        connection.execute(f"{numbers} INSERT INTO {table} ({', '.join(columns)}) {copies}")
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _value(column: str, first: object, changes: Mapping[str, str]) -> str:
    """SQL of a column of a copy."""
    if column == "digest":
        return "randomblob(32)"
    if column in NUMBERED:
        return f"{column} + n.value"
    made = column
    for text, instead in changes.items():
        if isinstance(first, str) and text in first:
            made = f"replace({made}, '{text}', {instead})"
    return made
