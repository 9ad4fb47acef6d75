"""What a query found is read to its end: on SQLite a connection sees nothing newer while one of its queries is open."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from support.tree import modules, parsed

from broker.store.db.database import Database

# a query, in a call of `execute`; an advisory lock is one of PostgreSQL, whose rows come all at once
QUERY = re.compile(r"(?i)(?:\bselect\(|['\"]\s*(?:select\b(?! pg_)|with\b|pragma [a-z_]+['\"]))")


def test_no_query_is_left_open() -> None:
    executed, left = 0, []
    for path in modules():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "execute":
                executed += 1
            if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
                continue
            call = node.value
            if isinstance(call.func, ast.Attribute) and call.func.attr in ("execute", "exec_driver_sql", "scalars"):
                left += [f"{path}:{node.lineno}" for one in call.args[:1] if QUERY.search(ast.unparse(one))]
    assert executed > 100
    assert left == []


def test_what_somebody_keeps_of_the_past_hides_nothing_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A debugger, a profiler and a traceback keep what functions had: also a result that nobody has read."""
    kept, execute = [], Connection.execute

    def keeping(self: Connection, *args: object, **kwargs: object) -> object:
        kept.append(execute(self, *args, **kwargs))  # type: ignore[arg-type]
        return kept[-1]

    url = f"sqlite:///{tmp_path / 'broker.db'}"
    Database(url).close()
    monkeypatch.setattr(Connection, "execute", keeping)
    database = Database(url)
    try:
        database.execute(lambda connection: connection.exec_driver_sql("CREATE TABLE told (n INTEGER)"))
        query = text("SELECT count(*) FROM sqlite_master WHERE name = 'told'")
        for _ in range(8):  # by each of the connections that read
            assert database.read(lambda connection: connection.execute(query).scalar_one()).result(20) == 1
    finally:
        database.close()
    assert kept
