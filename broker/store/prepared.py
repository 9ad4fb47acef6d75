"""Statements of the hot paths, compiled once: SQLAlchemy's way through each execution costs more than running it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, CursorResult, Executable


class Prepared:
    """A Core statement whose values come from the driver as they are: no types that need conversion, no IN lists."""

    def __init__(self, **by_dialect: Executable) -> None:
        """One statement for all dialects as `any=`, or one for each by its name."""
        self._statements = by_dialect
        self._compiled: dict[str, tuple[str, list[str] | None, dict[str, Any]]] = {}

    def run(self, connection: Connection, values: Mapping[str, Any]) -> CursorResult[Any]:
        """Execute with `values` by bind name."""
        dialect = connection.dialect
        if dialect.name not in self._compiled:
            statement: Any = self._statements.get(dialect.name) or self._statements["any"]
            made = statement.compile(dialect=dialect)
            fixed = {name: value for name, value in made.params.items() if value is not None}
            self._compiled[dialect.name] = (str(made), made.positiontup, fixed)
        text, names, fixed = self._compiled[dialect.name]
        every = {**fixed, **values}
        if names is None:
            return connection.exec_driver_sql(text, every)
        return connection.exec_driver_sql(text, tuple([every[name] for name in names]))
