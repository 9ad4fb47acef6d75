"""Makes the copy of the worklist for an outage of the database, and keeps it as the database is.

What differs is found by SQL in the copy itself (`mark`). SQLite copies from file to file, without the interpreter: rows
that pass through Python would keep all other threads of the process waiting, and the snapshot open for a minute.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Index, MetaData, Select, Table, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from broker.errors import StoreUnavailable, Unavailable
from broker.store.db.database import Database
from broker.store.db.engine import is_sqlite
from broker.store.schema import tables
from broker.store.worklist.outage import WAIT, Clock, Moment, discard

MAX_STEPS = 500_000  # of each status; beyond, those that start last are kept
_CHUNK = 500  # rows read and written at once
_step, _station, _name = tables.scheduled_step, tables.step_station, tables.step_name
_BESIDE = (_station, _name)  # tables with rows of a step in `step`
_UNSEEN = frozenset({"attributes"})  # columns that no search reads
_OWN = (
    "CREATE TABLE made (wall REAL NOT NULL, running REAL NOT NULL, boot TEXT NOT NULL)",
    # the steps of the copy, and what they should be
    "CREATE TABLE mark (id INTEGER PRIMARY KEY, revision INTEGER NOT NULL, updated_at REAL NOT NULL)",
    "CREATE TEMP TABLE wanted (id INTEGER PRIMARY KEY, revision INTEGER NOT NULL, updated_at REAL NOT NULL)",
    "CREATE TEMP TABLE stale (id INTEGER PRIMARY KEY)",
    "CREATE TEMP TABLE fresh (id INTEGER PRIMARY KEY)",
)
_DIFFERENCE = (
    "DELETE FROM temp.stale",
    "DELETE FROM temp.fresh",
    "INSERT INTO temp.stale SELECT m.id FROM mark m LEFT JOIN temp.wanted w ON w.id = m.id"
    " WHERE w.id IS NULL OR w.revision <> m.revision OR w.updated_at <> m.updated_at",
    "INSERT INTO temp.fresh SELECT w.id FROM temp.wanted w LEFT JOIN mark m ON m.id = w.id"
    " WHERE m.id IS NULL OR w.revision <> m.revision OR w.updated_at <> m.updated_at",
)
_CHANGES = "SELECT count(*) FROM (SELECT id FROM temp.stale UNION SELECT id FROM temp.fresh)"
_MARK_FRESH = "INSERT INTO mark SELECT w.* FROM temp.wanted w JOIN temp.fresh f ON f.id = w.id"
_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class CopyTrouble(Unavailable):
    """The copy of the worklist cannot be written; the next refresh makes it anew."""

    code = "worklist-copy"


class CopyKeeper:
    """Makes the copy and keeps it as the database is."""

    def __init__(self, database: Database, path: Path, statuses: Sequence[str], clock: Clock | None = None) -> None:
        """`statuses` are those of open steps. What is left of an earlier copy is removed."""
        self._database = database
        self._path = path
        self._statuses = tuple(statuses)
        self._clock = clock or Clock()
        self._copy: sqlite3.Connection | None = None
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
        self._copy = None
        discard(self._path)

    def _refresh(self, connection: Connection) -> int:
        moment = (self._clock.wall(), self._clock.running(), self._clock.boot)
        try:
            copy = self._copy or self._create(connection)
        except (sqlite3.Error, OSError) as error:
            raise self._trouble(error) from None
        try:
            if is_sqlite(connection):
                return self._write(copy, _AttachedFile(copy), moment)
            connection.exec_driver_sql(_SNAPSHOT)
            try:
                return self._write(copy, _Elsewhere(copy, connection), moment)
            finally:
                connection.exec_driver_sql("ROLLBACK")
        except sqlite3.Error as error:
            if _sound(copy):  # so it was the database
                raise StoreUnavailable("the database cannot be read") from None
            raise self._trouble(error) from None

    def _trouble(self, error: Exception) -> CopyTrouble:
        self.close()
        return CopyTrouble(f"the copy cannot be written: {type(error).__name__}")

    def _write(self, copy: sqlite3.Connection, source: _AttachedFile | _Elsewhere, moment: Moment) -> int:
        copy.execute("BEGIN IMMEDIATE")
        try:
            copy.execute("DELETE FROM temp.wanted")
            for status in self._statuses:
                source.want(_open_steps(status))
            for statement in _DIFFERENCE:
                copy.execute(statement)
            ((changes,),) = copy.execute(_CHANGES)
            if changes:
                for name, key in (("mark", "id"), (_step.name, "id"), *((one.name, "step") for one in _BESIDE)):
                    copy.execute(f"DELETE FROM main.{name} WHERE {key} IN (SELECT id FROM temp.stale)")  # noqa: S608
                copy.execute(_MARK_FRESH)
                source.add()
            copy.execute("DELETE FROM made")
            copy.execute("INSERT INTO made VALUES (?, ?, ?)", moment)
            copy.execute("COMMIT")
        finally:
            if copy.in_transaction:
                copy.execute("ROLLBACK")
        return int(changes)

    def _create(self, source: Connection) -> sqlite3.Connection:
        """An empty copy that nobody else on the machine can read."""
        discard(self._path)
        os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        copy = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=WAIT,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            copy.execute("PRAGMA journal_mode=WAL")
            copy.execute("PRAGMA synchronous=OFF")  # it does not outlive this process
            copy.execute("PRAGMA temp_store=MEMORY")
            copy.execute("PRAGMA secure_delete=ON")  # what has left the worklist does not stay in free pages
            for statement in (*_schema(), *_OWN):
                copy.execute(statement)
            if is_sqlite(source):
                file = Path(source.engine.url.database or "").absolute().as_uri()
                copy.execute("ATTACH ? AS source", (f"{file}?mode=ro",))
        except BaseException:
            copy.close()
            raise
        self._copy = copy
        return copy


class _AttachedFile:
    """The database is an SQLite file that the copy's connection has open too, as `source`."""

    def __init__(self, copy: sqlite3.Connection) -> None:
        self._copy = copy

    def want(self, steps: Select[Any]) -> None:
        text = steps.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
        self._copy.execute(f"INSERT INTO temp.wanted {str(text).replace('FROM ', 'FROM source.', 1)}")

    def add(self) -> None:
        for table in (_step, *_BESIDE):
            names = ", ".join(f"{table.name}.{column.name}" for column in _columns(table))
            self._copy.execute(
                f"INSERT INTO main.{table.name} SELECT {names} FROM temp.fresh CROSS JOIN source.{table.name}"  # noqa: S608
                f" ON {table.name}.{_key(table)} = fresh.id"
            )


class _Elsewhere:
    """The database is read over a connection, in one snapshot. Between two chunks others have the interpreter."""

    def __init__(self, copy: sqlite3.Connection, connection: Connection) -> None:
        self._copy = copy
        self._connection = connection

    def want(self, steps: Select[Any]) -> None:
        with self._connection.execute(steps.execution_options(yield_per=_CHUNK * 10)) as found:
            for rows in _unhurried(found.partitions()):
                self._copy.executemany("INSERT INTO temp.wanted VALUES (?, ?, ?)", map(tuple, rows))

    def add(self) -> None:
        for rows in _unhurried(self._fresh()):
            for table in (_step, *_BESIDE):
                columns = _columns(table)
                marks = ", ".join("?" * len(columns))
                found = self._connection.execute(select(*columns).where(table.c[_key(table)].in_(rows))).all()
                self._copy.executemany(f"INSERT INTO {table.name} VALUES ({marks})", map(tuple, found))  # noqa: S608

    def _fresh(self) -> Iterator[list[int]]:
        last, text = -1, "SELECT id FROM temp.fresh WHERE id > ? ORDER BY id LIMIT ?"
        while rows := [row for (row,) in self._copy.execute(text, (last, _CHUNK))]:
            last = rows[-1]
            yield rows


def _unhurried(parts: Iterable[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    """Parts of long work; as long as each took, the thread keeps off the interpreter that all others need."""
    for part in parts:
        began = time.monotonic()
        yield part
        time.sleep(time.monotonic() - began)


def _sound(copy: sqlite3.Connection) -> bool:
    """Whether the copy can still be written and read."""
    try:
        copy.execute("BEGIN IMMEDIATE")
        copy.execute("UPDATE made SET wall = wall")
        copy.execute("COMMIT")
        return bool(copy.execute("PRAGMA main.quick_check(1)").fetchone() == ("ok",))
    except sqlite3.Error:
        return False


def _open_steps(status: str) -> Select[Any]:
    """Steps that a worklist may show, by the index that the search by start has too."""
    return (
        select(_step.c.id, _step.c.revision, _step.c.updated_at)
        .where(_step.c.status == status, _step.c.start_at > "", _step.c.held.is_(False))
        .order_by(_step.c.start_at.desc())
        .limit(MAX_STEPS)
    )


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


def _key(table: Table) -> str:
    """The column that says which step a row is of."""
    return "id" if table is _step else "step"
