"""Gives an empty database in memory whose changes are undone: to see what a story would do and answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from threading import Lock
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import StaticPool

from broker.store.db.statements import counted
from broker.store.schema.tables import METADATA

P = ParamSpec("P")
T = TypeVar("T")


class Scratch:
    """An empty database. One unit at a time works on it, and nothing of it stays."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._engine = counted(
            create_engine(
                "sqlite://",
                poolclass=StaticPool,
                isolation_level="AUTOCOMMIT",
                hide_parameters=True,
                connect_args={"check_same_thread": False, "cached_statements": 512},
            )
        )
        METADATA.create_all(self._engine)

    def execute(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `unit(connection, *args)` in a transaction that is rolled back; what it returns."""
        with self._lock, self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            try:
                return unit(connection, *args, **kwargs)
            finally:
                connection.exec_driver_sql("ROLLBACK")


@cache
def scratch() -> Scratch:
    """The one of this process; made when it is first used."""
    return Scratch()
