"""Databases of any size: copies of the one order that a broker took in itself, every key of a copy its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg.sql import SQL

from broker.orders.term_walk import make_findable
from broker.store.db.database import Database
from broker.store.db.pace import Pace

NUMBERED = frozenset({"id", "patient", "request", "procedure", "step", "object_id"})  # row numbers
KEPT = frozenset({"configuration", "alembic_version", "sign_in_link"})  # tables without rows of an order

_STATUS = "CASE WHEN id % 50 > 0 THEN 'COMPLETED' WHEN id % 1000 = 0 THEN 'ARRIVED' ELSE 'SCHEDULED' END"
YEAR = datetime.now(UTC).year - 3  # the first year of copies
_PAST = f"({YEAR}0101 + 10000 * ({{0}} / 336 % 3) + 100 * ({{0}} % 12) + ({{0}} / 12) % 28)"
_DAY = f"(CASE WHEN {{0}} % 100 = 0 THEN 20300301 + {{0}} / 100 % 28 ELSE {_PAST} END)"
# copies as a hospital has them: on the days of three years and on eight stations, 49 of 50 are done, one in 100 is to
# come, and no two messages came at once
SPREAD = (
    f"UPDATE scheduled_step SET start_at = {_DAY.format('id')} || '103000', status = {_STATUS} WHERE id > 1",
    f"UPDATE step_station SET start_at = {_DAY.format('step')} || '103000', ae_title = 'CT0' || (step % 8)"
    " WHERE step > 1",
    "UPDATE message SET received_at = received_at - 1000000 + id WHERE id > 1",
    "UPDATE audit SET at = at - 1000000 + id WHERE id > 1",
    "UPDATE mpps SET created_at = created_at - 1000000 + id, updated_at = updated_at - 1000000 + id WHERE id > 1",
)


def fill(database: Path, count: int, changes: Mapping[str, str]) -> None:
    """Copy the one order of the database of a stopped broker until it has `count`.

    `changes`: texts of the first order, and the SQL that stands in their place in copy number `n.value` (from 1).
    """
    _name(f"sqlite:///{database}")
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-400000")
    # nodes and rules of the first start stand in the audit trail before the order
    connection.execute("DELETE FROM audit WHERE object_kind <> 'order'")
    connection.execute("UPDATE audit SET id = 1")
    for table, made in connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall():
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        row = columns[0] if "WITHOUT ROWID" in made.upper() else "rowid"
        first = connection.execute(f"SELECT {', '.join(columns)} FROM {table} WHERE {row} = 1").fetchone()
        if not _has_copies(table, columns, first):
            continue
        values = ", ".join(_value(*pair, changes, "randomblob(32)") for pair in zip(columns, first, strict=True))
        numbers = f"WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < {count - 1})"
        copies = f"SELECT {values} FROM {table}, n WHERE {table}.{row} = 1"
        connection.execute(f"{numbers} INSERT INTO {table} ({', '.join(columns)}) {copies}")
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def fill_postgresql(url: str, count: int, changes: Mapping[str, str]) -> None:
    """As `fill`, in a database of PostgreSQL that nobody else uses."""
    _name(url)
    digest = "sha256(convert_to(CAST(n.value AS TEXT), 'UTF8'))"
    with psycopg.connect(url.replace("postgresql+psycopg:", "postgresql:", 1)) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute("SET session_replication_role = replica")  # no look for foreign keys
        connection.execute("DELETE FROM audit WHERE object_kind <> 'order'")
        connection.execute("UPDATE audit SET id = 1")
        tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        for (table,) in connection.execute(tables).fetchall():
            named = "SELECT column_name FROM information_schema.columns WHERE table_name = %s ORDER BY ordinal_position"
            columns = [f'"{row[0]}"' for row in connection.execute(named, (table,))]
            chosen = f"SELECT {', '.join(columns)} FROM {table} ORDER BY ctid LIMIT 1"
            first = connection.execute(SQL(chosen)).fetchone()  # type: ignore[arg-type]
            if not _has_copies(table, [column.strip('"') for column in columns], first):
                continue
            assert first is not None
            values = ", ".join(_value(*pair, changes, digest) for pair in zip(columns, first, strict=True))
            numbers = f"generate_series(1, {count - 1}) AS n(value)"
            copies = f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM ({chosen}) AS one, {numbers}"
            connection.execute(SQL(copies))  # type: ignore[arg-type]
            if '"id"' in columns:
                connection.execute(
                    SQL(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {count})")  # type: ignore[arg-type]
                )


def _name(url: str) -> None:
    """Write the words of the first patient, which a broker that ended at once has not: copies are found as it is."""
    database = Database(url)
    make_findable(Pace(database))
    database.close()


def _has_copies(table: str, columns: Sequence[str], first: Sequence[object] | None) -> bool:
    """A table whose first row is of the order."""
    return table not in KEPT and first is not None and bool(set(columns) & {"patient_id", *NUMBERED})


def _value(column: str, first: object, changes: Mapping[str, str], digest: str) -> str:
    """SQL of a column of a copy; `digest`: of one that no other row has."""
    if column.strip('"') == "digest":
        return digest
    if column.strip('"') in NUMBERED:
        return f"{column} + n.value"
    made = column
    for text, instead in changes.items():
        if isinstance(first, str) and text in first:
            made = f"replace({made}, '{text}', {instead})"
    return made
