"""Statements of the hot paths, compiled once and handed to the driver: SQLAlchemy's way through each execution costs
more than SQLite's work (measured: 12 us beside 2; with cold caches twice that).

Errors are those of SQLAlchemy, on SQLite those of the driver but for IntegrityError; `engine.translate` knows both.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, cast

from sqlalchemy import Connection, Executable
from sqlalchemy.exc import IntegrityError

_Compiled = tuple[str, list[str] | None, dict[str, Any]]  # text, names by position (SQLite), values in the statement


class Prepared:
    """A Core statement whose values come from the driver as they are: no types that need conversion, no IN lists."""

    def __init__(self, **by_dialect: Executable) -> None:
        """One statement for all dialects as `any=`, or one for each by its name."""
        self._statements = by_dialect
        self._compiled: dict[str, _Compiled] = {}

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> Sequence[Any]:
        """Execute with `values` by bind name; the rows it returns, as tuples. Raises IntegrityError."""
        text, bound = self._bind(connection, values)
        if isinstance(bound, dict):
            result = connection.exec_driver_sql(text, bound)
            return result.all() if result.returns_rows else ()
        return _sqlite(connection, text, bound).fetchall()

    def count(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """Execute with `values` by bind name; how many rows it changed. Raises IntegrityError."""
        text, bound = self._bind(connection, values)
        if isinstance(bound, dict):
            return connection.exec_driver_sql(text, bound).rowcount
        return _sqlite(connection, text, bound).rowcount

    def _bind(self, connection: Connection, values: Mapping[str, Any]) -> tuple[str, dict[str, Any] | list[Any]]:
        text, names, fixed = self.compiled(connection)
        every = {**fixed, **values}
        return text, every if names is None else [every[name] for name in names]

    def compiled(self, connection: Connection) -> _Compiled:
        """Text for the dialect of a connection, names of its values by position (SQLite), values it has already."""
        return self._compiled.get(connection.dialect.name) or self._compile(connection)

    def _compile(self, connection: Connection) -> _Compiled:
        dialect = connection.dialect
        statement: Any = self._statements[dialect.name if dialect.name in self._statements else "any"]
        compiled = statement.compile(dialect=dialect)
        # plain text in place of enums: the driver of SQLite takes a subclass by a slow way
        fixed = {name: _plain(value) for name, value in compiled.params.items() if value is not None}
        self._compiled[dialect.name] = (str(compiled), compiled.positiontup, fixed)
        return self._compiled[dialect.name]


def _sqlite(connection: Connection, text: str, values: list[Any]) -> sqlite3.Cursor:
    driver = cast(sqlite3.Connection, connection.connection.dbapi_connection)
    try:
        return driver.execute(text, values)
    except sqlite3.IntegrityError as error:
        raise IntegrityError(text, None, error) from None


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value
