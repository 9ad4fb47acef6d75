"""Reads all rows of a table."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Table, select


def all_of(connection: Connection, table: Table) -> list[Any]:
    """The rows of a table, as they are stored."""
    return list(connection.execute(select(table)))
