"""What a large cache holds is a metric: memory that grows can be told from memory that leaks."""

from __future__ import annotations

import ast
import gc
import re
from collections import Counter
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY
from sqlalchemy import Column, Connection, select
from support.tree import BROKER, modules, parsed

from broker.store.db.database import Database
from broker.store.schema import tables

LARGE = 500  # entries
NEVER_RUN = "simulate"  # no part of the running broker


def test_every_large_cache_of_a_function_is_counted() -> None:
    uncounted, found = [], 0
    for path in modules():
        if path.relative_to(BROKER).parts[0] == NEVER_RUN:
            continue
        text = path.read_text(encoding="utf-8")
        counted = set(re.findall(r"\w+", " ".join(re.findall(r"count_entries\(([^)]*)\)", text))))
        for node in parsed(path).body:
            if isinstance(node, ast.FunctionDef) and _room(node, text) > LARGE:
                found += 1
                if node.name not in counted:
                    uncounted.append(f"{path.relative_to(BROKER)}: {node.name}")
    assert found >= 10
    assert uncounted == []


def test_the_statements_that_sqlalchemy_keeps_are_counted(tmp_path: Path) -> None:
    for path in modules():
        calls = [call for call in ast.walk(parsed(path)) if isinstance(call, ast.Call)]
        names = Counter(ast.unparse(call.func) for call in calls)
        assert names["counted"] >= min(names["create_engine"], 1), path
    before, database = _statements(), Database(f"sqlite:///{tmp_path / 'broker.db'}")
    kept = _statements()
    columns = [tables.knock.c.count, tables.knock.c.first_at, tables.knock.c.last_at]
    for column in columns:
        database.read(_ask, column).result(10)
        database.execute(_ask, column)
    assert _statements() >= kept + 2 * len(columns)
    database.close()
    del database
    gc.collect()
    assert _statements() <= before


def _ask(connection: Connection, column: Column[Any]) -> Any:
    return connection.execute(select(column)).all()


def _statements() -> float:
    value = REGISTRY.get_sample_value("broker_cache_entries", {"cache": "statements"})
    assert value is not None
    return value


def _room(function: ast.FunctionDef, text: str) -> int:
    """How many results a decorated function keeps."""
    for decorator in function.decorator_list:
        said = re.fullmatch(r"lru_cache\((?:maxsize=)?(\w+)\)", ast.unparse(decorator))
        if said:
            constant = re.search(rf"^{said[1]} = (\d+)", text, re.MULTILINE)
            return int(constant[1] if constant else said[1])
    return 0
