"""A PostgreSQL that is away for a while, and the copy of the worklist for that."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg


@contextmanager
def refusing(database_url: str) -> Iterator[None]:
    """This database ends all its connections and takes no new ones until the end of the block."""
    server, _, name = database_url.replace("postgresql+psycopg", "postgresql").partition("?")[0].rpartition("/")
    admin = database_url.replace("postgresql+psycopg", "postgresql").replace(f"{server}/{name}", f"{server}/postgres")

    def allow(connections: bool) -> None:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS {connections}")
            if not connections:
                connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])

    allow(False)
    try:
        yield
    finally:
        allow(True)


def steps_of(copy: Path) -> int:
    """How many steps the copy has, once it is there."""
    if not copy.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{copy}?mode=ro", uri=True)) as connection:
            return int(connection.execute("select count(*) from scheduled_step").fetchone()[0])
    except sqlite3.OperationalError:  # it is being made
        return 0
