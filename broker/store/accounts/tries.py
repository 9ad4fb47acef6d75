"""Rows of tries to sign in: how many there were lately from a source."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from broker.store.schema import tables

_t = tables.sign_in_try


def level(connection: Connection, source: str, at: float) -> tuple[float, float]:
    """The level of a source and its time; 0 for a new one. Nobody else changes it until the transaction ends."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    new = dialect.insert(_t).values(source=source, level=0.0, at=at)
    connection.execute(new.on_conflict_do_nothing())
    row = connection.execute(select(_t.c.level, _t.c.at).where(_t.c.source == source).with_for_update()).one()
    return row.level, row.at


def change(connection: Connection, source: str, value: float, at: float) -> None:
    """Keep the level of a source."""
    connection.execute(update(_t).where(_t.c.source == source).values(level=value, at=at))


def forget(connection: Connection, before: float) -> None:
    """Delete sources that have been silent since a moment."""
    connection.execute(delete(_t).where(_t.c.at < before))
