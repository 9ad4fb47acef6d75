"""The worklist while the database is away: a copy of the open steps in an SQLite file of its own.

The copy has the columns of the tables that `store.worklist.search` reads, so that the same statement runs on it. It
is made by one process (`CopyKeeper`) and read by all (`WorklistCopy`). WAL: who reads never waits for who writes, and
sees what one refresh left, which is one snapshot of the database.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Index, MetaData, Table, create_engine, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateIndex, CreateTable

from broker.errors import StoreUnavailable, Unavailable
from broker.store import tables, worklist
from broker.store.database import Database
from broker.store.engine import is_sqlite
from broker.store.worklist import Criteria, Found

MAX_STEPS = 500_000  # of each status; beyond, those that start last are kept
_CHUNK = 500  # rows read and written at once
_WAIT = 5.0  # seconds for a lock on the copy
_step, _station, _name = tables.scheduled_step, tables.step_station, tables.step_name
_BESIDE = (_station, _name)  # tables with rows of a step in `step`
_UNSEEN = frozenset({"attributes"})  # columns that no search reads
_MADE = "CREATE TABLE made (wall REAL NOT NULL, running REAL NOT NULL, boot TEXT NOT NULL)"
_SNAPSHOT = {"sqlite": "BEGIN", "postgresql": "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"}

Moment = tuple[float, float, str]  # wall, running, boot
Mark = tuple[int, float]  # revision of a step and when it was written


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


class CopyTrouble(Unavailable):
    """The copy of the worklist cannot be written; the next refresh makes it anew."""

    code = "worklist-copy"


class WorklistCopy:
    """The copy for those who answer from it."""

    def __init__(self, path: Path, max_age: float, clock: Clock | None = None) -> None:
        """Of a file that need not be there; `max_age` in seconds."""
        self._path = path
        self._max_age = max_age
        self._clock = clock or Clock()
        self._engine = create_engine(
            "sqlite://", creator=self._open, poolclass=NullPool, isolation_level="AUTOCOMMIT", hide_parameters=True
        )

    def search(self, criteria: Criteria, after: tuple[str, int] | None, limit: int) -> list[Found]:
        """As `worklist.search`. Raises StoreUnavailable: there is no copy, it is damaged or too old."""
        try:
            with self._engine.connect() as connection:
                connection.exec_driver_sql("BEGIN")
                if self._usable(connection) is None:
                    raise StoreUnavailable("the copy of the worklist is too old", code="copy-too-old")
                return worklist.search(connection, criteria, after, limit)
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
            f"{self._path.absolute().as_uri()}?mode=rw", uri=True, timeout=_WAIT, isolation_level=None,
            check_same_thread=False,
        )  # fmt: skip
        connection.execute("PRAGMA query_only=ON")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        return connection

    def _usable(self, connection: Connection) -> float | None:
        made = connection.exec_driver_sql("SELECT wall, running, boot FROM made").one_or_none()
        age = self._clock.since(*made) if made is not None else None
        return age if age is not None and age <= self._max_age else None


class CopyKeeper:
    """Makes the copy and keeps it as the database is."""

    def __init__(self, database: Database, path: Path, statuses: Sequence[str], clock: Clock | None = None) -> None:
        """`statuses` are those of open steps. What is left of an earlier copy is removed."""
        self._database = database
        self._path = path
        self._statuses = tuple(statuses)
        self._clock = clock or Clock()
        self._copy: sqlite3.Connection | None = None
        self._have: dict[int, Mark] = {}  # steps of the copy
        discard(path)

    def refresh(self) -> int:
        """Make the copy what the database is; how many steps that changed.

        Raises StoreUnavailable while the database is away (the copy stays as it is), CopyTrouble.
        """
        return self._database.read(self._refresh).result()

    def close(self) -> None:
        """Remove the copy: without its keeper nobody is to answer from it."""
        if self._copy is not None:
            self._copy.close()
        self._copy, self._have = None, {}
        discard(self._path)

    def _refresh(self, connection: Connection) -> int:
        connection.exec_driver_sql(_SNAPSHOT["sqlite" if is_sqlite(connection) else "postgresql"])
        try:
            moment = (self._clock.wall(), self._clock.running(), self._clock.boot)
            now = {row: mark for status in self._statuses for row, mark in _open_steps(connection, status)}
            changed = sorted(row for row, mark in now.items() if self._have.get(row) != mark)
            gone = [row for row in self._have if row not in now]
            try:
                self._write(connection, changed, gone, moment)
            except (sqlite3.Error, OSError) as error:
                self.close()
                raise CopyTrouble(f"the copy cannot be written: {type(error).__name__}") from None
            except BaseException:
                if self._copy is not None and self._copy.in_transaction:
                    self._copy.execute("ROLLBACK")
                raise
            self._have = now
            return len(changed) + len(gone)
        finally:
            connection.exec_driver_sql("ROLLBACK")

    def _write(self, connection: Connection, changed: Sequence[int], gone: Sequence[int], moment: Moment) -> None:
        copy = self._copy or self._create()
        copy.execute("BEGIN IMMEDIATE")
        _drop(copy, [*changed, *gone])
        for first in range(0, len(changed), _CHUNK):
            rows = changed[first : first + _CHUNK]
            _add(copy, _step, connection.execute(select(_step).where(_step.c.id.in_(rows))))
            for table in _BESIDE:
                _add(copy, table, connection.execute(select(table).where(table.c.step.in_(rows))))
        copy.execute("DELETE FROM made")
        copy.execute("INSERT INTO made VALUES (?, ?, ?)", moment)
        copy.execute("COMMIT")

    def _create(self) -> sqlite3.Connection:
        """An empty copy that nobody else on the machine can read."""
        discard(self._path)
        os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        copy = sqlite3.connect(self._path, timeout=_WAIT, isolation_level=None, check_same_thread=False)
        copy.execute("PRAGMA journal_mode=WAL")
        copy.execute("PRAGMA secure_delete=ON")  # what has left the worklist does not stay in free pages
        for statement in (*_schema(), _MADE):
            copy.execute(statement)
        self._copy, self._have = copy, {}
        return copy


def discard(path: Path) -> None:
    """Remove a copy, if there is one."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _open_steps(connection: Connection, status: str) -> Iterator[tuple[int, Mark]]:
    """Steps that a worklist may show, by the index that the search by start has too."""
    query = (
        select(_step.c.id, _step.c.revision, _step.c.updated_at)
        .where(_step.c.status == status, _step.c.start_at > "", _step.c.held.is_(False))
        .order_by(_step.c.start_at.desc())
        .limit(MAX_STEPS)
    )
    return ((row, (revision, at)) for row, revision, at in connection.execute(query))


def _schema() -> Iterable[str]:
    """The tables as they are, without what is of no use here: references to other tables, keys of them."""
    dialect, metadata = sqlite.dialect(), MetaData()
    for table in (_step, *_BESIDE):
        twin = Table(
            table.name, metadata, *(Column(c.name, c.type, primary_key=c.primary_key) for c in _columns(table))
        )
        yield str(CreateTable(twin).compile(dialect=dialect))
        for index in table.indexes:
            names = [column.name for column in index.columns]
            yield str(CreateIndex(Index(index.name, *(twin.c[name] for name in names))).compile(dialect=dialect))
    for table in _BESIDE:
        yield f"CREATE INDEX ix_copied_{table.name} ON {table.name} (step)"


def _columns(table: Table) -> list[Column[Any]]:
    return [column for column in table.c if column.name not in _UNSEEN]


def _drop(copy: sqlite3.Connection, rows: Sequence[int]) -> None:
    values = [(row,) for row in rows]
    copy.executemany(f"DELETE FROM {_step.name} WHERE id = ?", values)  # noqa: S608 - names of our own tables
    for table in _BESIDE:
        copy.executemany(f"DELETE FROM {table.name} WHERE step = ?", values)  # noqa: S608


def _add(copy: sqlite3.Connection, table: Table, rows: Iterable[Any]) -> None:
    names = [column.name for column in _columns(table)]
    text = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608
    with closing(copy.cursor()) as cursor:
        cursor.executemany(text, (tuple(row._mapping[name] for name in names) for row in rows))
