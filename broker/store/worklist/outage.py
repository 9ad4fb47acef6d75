"""Answers worklist queries while the database is away, from a copy of the open steps in an SQLite file of its own.

The copy has the columns that `store.worklist.candidates.search` reads, so that the same statement runs on it.
It is made by one process (`store.worklist.outage_keeper`) and read by all. WAL: who reads never waits for who
writes, and sees what one refresh left, which is one snapshot of the database.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from broker.errors import StoreUnavailable
from broker.store.db.statements import counted
from broker.store.worklist import candidates
from broker.store.worklist.candidates import Criteria, Found

WAIT = 5.0  # seconds for a lock on the copy
Moment = tuple[float, float, str]  # wall, running, boot


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class Clock:
    """Two clocks in seconds: that of the wall, which may be set, and one that runs on since the boot named."""

    wall: Callable[[], float] = time.time
    running: Callable[[], float] = lambda: time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
    boot: str = _boot()

    def since(self, wall: float, running: float, boot: str) -> float | None:
        """Seconds since a moment, the longer one where the clocks disagree; None if it cannot be told."""
        if boot and boot == self.boot and self.running() >= running:
            return max(self.wall() - wall, self.running() - running)
        # after a boot there is the wall alone, and a moment in its future tells nothing
        past = self.wall() - wall
        return past if past >= 0 else None


class WorklistCopy:
    """The copy for those who answer from it."""

    def __init__(self, path: Path, max_age: float, clock: Clock | None = None) -> None:
        """Of a file that need not be there; `max_age` in seconds."""
        self._path = path
        self._max_age = max_age
        self._clock = clock or Clock()
        engine = create_engine(
            "sqlite://", creator=self._open, poolclass=NullPool, isolation_level="AUTOCOMMIT", hide_parameters=True
        )
        self._engine = counted(engine)

    def search(self, criteria: Criteria, after: tuple[str, int] | None, limit: int) -> list[Found]:
        """As `worklist.search`. Raises StoreUnavailable: there is no copy, it is damaged or too old."""
        try:
            with self._engine.connect() as connection:
                connection.exec_driver_sql("BEGIN")
                if self._usable(connection) is None:
                    raise StoreUnavailable("the copy of the worklist is too old", code="copy-too-old")
                return candidates.search(connection, criteria, after, limit)
        except (SQLAlchemyError, sqlite3.Error, OSError):
            raise StoreUnavailable("there is no usable copy of the worklist", code="no-copy") from None

    def age(self) -> float | None:
        """Seconds since the database was as the copy is; None when nothing may be answered from it."""
        try:
            with self._engine.connect() as connection:
                return self._usable(connection)
        except (SQLAlchemyError, sqlite3.Error, OSError):
            return None

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=WAIT,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute("PRAGMA query_only=ON")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        return connection

    def _usable(self, connection: Connection) -> float | None:
        made = connection.exec_driver_sql("SELECT wall, running, boot FROM made").one_or_none()
        age = self._clock.since(*made) if made is not None else None
        return age if age is not None and age <= self._max_age else None


def discard(path: Path) -> None:
    """Remove a copy, if there is one. On a read-only disk it stays."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        with contextlib.suppress(OSError):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
