"""Counts the rows of all tables of a database that others use, each up to a bound. Nothing is made or brought up."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import Connection, Table, func, inspect, literal, select

from broker.store.copies.database_copy import Revision, revision_of
from broker.store.db import deadlines
from broker.store.db.engine import open_engine, translate
from broker.store.schema import tables  # noqa: F401 - all tables are in the metadata
from broker.store.schema.base import Base

MOST = 100_000  # rows of a table
SECONDS = 10.0  # for all tables


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSize:
    """The kind and version of a database, its schema, and its rows by table.

    A count of MOST + 1 means more than MOST; None: the time was over, or there is no such table.
    """

    kind: str
    version: str
    revision: Revision
    rows: dict[str, int | None]


def size_of(url: str) -> DatabaseSize:
    """Look at a database. Raises StoreUnavailable, ConfigurationError."""
    engine, deadline = open_engine(url, readers=1), time.monotonic() + SECONDS
    try:
        with deadlines.limited(deadline):
            revision = revision_of(engine)
            with engine.connect() as connection:
                there = set(inspect(connection).get_table_names())
                rows = {
                    table.name: _bounded(connection, table)
                    if table.name in there and time.monotonic() < deadline
                    else None
                    for table in Base.metadata.sorted_tables
                }
                version = ".".join(map(str, connection.dialect.server_version_info or ()))
        return DatabaseSize(kind=engine.dialect.name, version=version, revision=revision, rows=rows)
    except Exception as error:
        raise translate(error) from None
    finally:
        engine.dispose()


def _bounded(connection: Connection, table: Table) -> int:
    some = select(literal(1)).select_from(table).limit(MOST + 1).subquery()
    return connection.execute(select(func.count()).select_from(some)).scalar_one()
