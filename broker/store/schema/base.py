"""Gives all tables one metadata, names of constraints and the type of row numbers."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Integer, MetaData, String, Table, text
from sqlmodel import SQLModel

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}

BIG: Any = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows only in an INTEGER key
# compared by code points on both databases: what begins with a text is a range of an index
BYTES: Any = String().with_variant(String(collation="C"), "postgresql")
ZERO: Any = {"server_default": text("0")}
EMPTY: Any = {"server_default": text("''")}


class Base(SQLModel):
    metadata = MetaData(naming_convention=NAMING)


def table_of(model: type[SQLModel]) -> Table:
    """The Core table of a model."""
    found: Table = model.__table__  # type: ignore[attr-defined]
    return found
