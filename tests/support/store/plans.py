"""The plans of the statements that some work really runs, caught on their way to the database."""

from __future__ import annotations

import re
import sqlite3
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


def _plan(connection: Connection, statement: str, values: Any) -> str:
    explain = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
    rows = connection.exec_driver_sql(explain + statement, cast(Any, values or None))
    return statement[:600] + "\n" + "\n".join(str(row[-1]) for row in rows)


def indexed(found: list[str], large: str) -> None:
    """No table of `large` (names with `|` between them) is read as a whole: without an index, or sequentially."""
    assert found
    for plan in found:
        assert not re.search(rf"SCAN ({large})(?! USING)|Seq Scan on ({large})\b", plan), plan
