"""The plans of the statements that some work really runs, caught on their way to the database."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from sqlalchemy import Connection, event

from broker.store.db.database import Database


def plans(database: Database, *work: Any) -> list[str]:
    """The plan of each statement that some work runs, behind its text."""
    statements: list[tuple[str, Any]] = []

    def look(connection: Connection) -> list[str]:
        raw: Any = connection.connection.dbapi_connection
        if isinstance(raw, sqlite3.Connection):
            raw.set_trace_callback(lambda statement: statements.append((statement, ())))
        else:
            event.listen(connection, "before_cursor_execute", lambda *args: statements.append((args[2], args[3])))
        try:
            work[0](connection, *work[1:])
        finally:
            if isinstance(raw, sqlite3.Connection):
                raw.set_trace_callback(None)
        return [_plan(connection, *one) for one in statements if one[0].startswith(("SELECT", "WITH"))]

    return database.read(look).result(60)


@contextmanager
def counted_statements(database: Database) -> Iterator[list[str]]:
    """The texts of all statements that the database is given meanwhile, but for those about transactions."""
    found: list[str] = []
    engines = (database._write_engine, database._read_engine)

    def note(*args: Any) -> None:
        found.append(args[2])

    def watch(connection: Any, *more: object) -> None:
        connection.set_trace_callback(lambda text: found.append(text))

    if database.dialect == "sqlite":  # the hot paths go round SQLAlchemy
        raw = [database.execute(_driver)]
        for one in raw:
            watch(one)
        try:
            yield found
        finally:
            for one in raw:
                one.set_trace_callback(None)
            found[:] = [text for text in found if not text.startswith(_ABOUT)]
        return
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", note)


_ABOUT = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "ROLLBACK")


def _driver(connection: Connection) -> Any:
    return connection.connection.dbapi_connection


def _plan(connection: Connection, statement: str, values: Any) -> str:
    explain = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
    rows = connection.exec_driver_sql(explain + statement, cast(Any, values or None))
    return statement[:600] + "\n" + "\n".join(str(row[-1]) for row in rows)


def indexed(found: list[str], large: str) -> None:
    """No table of `large` (names with `|` between them) is read as a whole: without an index, or sequentially."""
    assert found
    for plan in found:
        assert not re.search(rf"SCAN ({large})(?! USING)|Seq Scan on ({large})\b", plan), plan
