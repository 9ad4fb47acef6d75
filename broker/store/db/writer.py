"""All writes go through `submit(unit, *args) -> Future`, or `execute` from a thread that waits: done when committed.

On SQLite whoever waits takes all waiting units, runs each in a SAVEPOINT of one transaction and commits once, so one
fsync serves many; after LONGEST it commits and goes on with the rest. A thread that executes commits itself, without a
hop; a thread of the writer does it for futures.
On PostgreSQL each unit is a transaction of a pooled connection.
A unit touches only the connection it is given and may be run again (PostgreSQL 40001, 40P01).
Nobody waits for ever: see `store.db.deadlines`.

A full disk inside a SAVEPOINT makes SQLite roll back the *whole* transaction and continue in autocommit.
So after every error the writer looks whether the transaction still stands; if not, no unit of the batch succeeds.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from broker import correlation, faults, telemetry
from broker.errors import StoreUnavailable
from broker.store.db import deadlines
from broker.store.db.checkpoint import Checkpointer
from broker.store.db.deadlines import OneAsks, Watchdog
from broker.store.db.engine import translate
from broker.store.db.own_file import OwnFile

P = ParamSpec("P")
T = TypeVar("T")
MAX_BATCH = 256
LONGEST = 0.02  # seconds after which a transaction takes no further unit
_SERIALIZATION = {"40001", "40P01"}


class Writer(Protocol):
    """The one way to change the database."""

    def submit(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `unit(connection, *args)` in a transaction; the future fails with StoreUnavailable on passing trouble."""
        ...

    def execute(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for a thread that may block: what the unit returns, once it is committed."""
        ...

    def close(self) -> None:
        """Finish what was submitted, then stop."""
        ...

    writable: bool  # the last commit succeeded
    written_at: float | None  # when the last one did, in seconds since the epoch

    @property
    def busy(self) -> bool:
        """Somebody waits for the database to write."""
        ...


@dataclass(slots=True)
class _Unit:
    run: Callable[[Connection], Any]
    future: Future[Any]
    result: Any = None
    error: BaseException | None = None


def _bind(unit: Callable[..., T], args: Any, kwargs: Any) -> Callable[[Connection], T]:
    return correlation.carried(lambda connection: unit(connection, *args, **kwargs))


class SqliteWriter:
    """One connection, group commit."""

    def __init__(self, engine: Engine, file: OwnFile) -> None:
        self._engine = engine
        self._file = file
        self._waiting: deque[_Unit] = deque()
        self._lead = threading.Lock()  # held by whoever runs a transaction
        self._closed = False
        self._lock = threading.Lock()  # nothing may be added after the last batch
        self.writable = True
        self.written_at: float | None = None
        self._connection: Connection | None = None
        self._bell: SimpleQueue[None] = SimpleQueue()  # a semaphore is ten times as slow
        self._watchdog = Watchdog()
        self._checkpoints = Checkpointer()
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """See Writer."""
        future: Future[T] = Future()
        self._watchdog.watch(future, deadlines.time_to_answer(unit))
        try:
            self._add(_Unit(_bind(unit, args, kwargs), future))
        except StoreUnavailable as error:
            self._watchdog.settle(future, None, error)
        self._bell.put(None)
        return future

    def execute(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """See Writer."""
        future: Future[T] = Future()
        self._add(_Unit(_bind(unit, args, kwargs), future))
        if self._lead.acquire(timeout=deadlines.time_for(unit)):
            try:
                while not future.done():  # if it is done, another one has committed it meanwhile
                    self._transact(self._batch())
            finally:
                self._lead.release()
        else:  # whoever leads is stuck in the disk
            self._watchdog.settle(future, None, StoreUnavailable("the database does not answer", code="store-silent"))
        if self._checkpoints.due:
            self._bell.put(None)
        return future.result()

    def close(self) -> None:
        """See Writer."""
        with self._lock:
            self._closed = True
        self._bell.put(None)
        self._thread.join()
        with self._lead:
            while batch := self._batch():
                self._transact(batch)
            self._drop()
        self._watchdog.close()

    @property
    def busy(self) -> bool:
        """See Writer."""
        return bool(self._waiting)

    def _work(self) -> None:
        while not self._closed:
            self._bell.get()
            with self._lead:
                self._transact(self._batch())
                due = self._checkpoints.pressing or (self._checkpoints.due and not self._waiting)
                if due and self._connection is not None:
                    self._checkpoints.run(self._connect()[1])

    def _add(self, unit: _Unit) -> None:
        with self._lock:
            if self._closed:
                raise StoreUnavailable("the broker is stopping")
            self._waiting.append(unit)

    def _batch(self) -> list[_Unit]:
        """The next units for which somebody waits; only the leader takes."""
        units = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
        return [unit for unit in units if not unit.future.done()]

    def _transact(self, batch: list[_Unit]) -> None:
        """Run and commit units until all have an outcome; a lost transaction fails what it held."""
        while batch:
            count = self._attempt(batch)
            done, batch = batch[:count], batch[count:]
            for unit in done:
                telemetry.child(telemetry.WRITER_UNITS, "failed" if unit.error else "done").inc()
                if self._watchdog.begin(unit.future):
                    self._watchdog.settle(unit.future, unit.result, unit.error)

    def _attempt(self, batch: list[_Unit]) -> int:
        """One transaction over the head of `batch`; how many units now have an outcome."""
        count = 0
        try:
            connection, raw = self._connect()
            raw.execute("BEGIN IMMEDIATE")
            until = time.monotonic() + LONGEST
            for unit in batch:
                if count and time.monotonic() >= until:
                    break
                count += 1
                if not self._run(connection, raw, unit):
                    rolled_back = StoreUnavailable("the database rolled the transaction back")
                    raise unit.error if isinstance(unit.error, StoreUnavailable) else rolled_back
            faults.point("store.commit")
            raw.execute("COMMIT")
            self._file.committed(raw)
            faults.point("store.committed")
        except Exception as error:
            self.writable = False
            telemetry.WRITER_COMMITS.labels("failed").inc()
            telemetry.logger().warning("store.commit_failed", error=telemetry.describe(error), count=count)
            self._drop()
            reason = translate(error)
            failure = reason if isinstance(reason, StoreUnavailable) else StoreUnavailable("commit failed")
            for unit in batch[:count] if count else batch:
                unit.error = unit.error or failure
            return count or len(batch)
        self.writable, self.written_at = True, time.time()
        self._checkpoints.committed()
        telemetry.child(telemetry.WRITER_COMMITS, "done").inc()
        return count

    @staticmethod
    def _run(connection: Connection, raw: sqlite3.Connection, unit: _Unit) -> bool:
        """Run one unit in its SAVEPOINT; False if the transaction around it is lost."""
        raw.execute("SAVEPOINT unit")
        try:
            unit.result = unit.run(connection)
        except Exception as error:
            unit.error = translate(error)
            if not raw.in_transaction:
                return False
            raw.execute("ROLLBACK TO unit")
        raw.execute("RELEASE unit")
        return True

    def _connect(self) -> tuple[Connection, sqlite3.Connection]:
        """The connection for units, and the driver's own for what surrounds them."""
        if self._connection is None:
            self._connection = self._engine.connect()
            self._file.begin()
        return self._connection, cast(sqlite3.Connection, self._connection.connection.dbapi_connection)

    def _drop(self) -> None:
        """Forget the connection; closing it rolls back whatever stood."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()


class PostgresWriter:
    """Pooled transactions; a unit that lost a serialisation race is run again."""

    def __init__(self, engine: Engine, threads: int = 8) -> None:
        self._engine = engine
        self.writable = True
        self.written_at: float | None = None
        self._closed = False
        self._gate = OneAsks()
        self._watchdog = Watchdog()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="store-writer")

    def submit(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """See Writer."""
        future: Future[T] = Future()
        until = time.monotonic() + deadlines.time_for(unit)
        try:
            self._pool.submit(self._serve, future, _bind(unit, args, kwargs), until)
        except RuntimeError:  # the pool is shut down
            future.set_exception(StoreUnavailable("the broker is stopping"))
        else:
            self._watchdog.watch(future, deadlines.time_to_answer(unit))
        return future

    def execute(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """See Writer."""
        if self._closed:
            raise StoreUnavailable("the broker is stopping")
        return self._limited(_bind(unit, args, kwargs), time.monotonic() + deadlines.time_for(unit))

    def close(self) -> None:
        """See Writer."""
        self._closed = True
        self._pool.shutdown(wait=True)
        self._watchdog.close()

    def _serve(self, future: Future[T], unit: Callable[[Connection], T], until: float) -> None:
        if not self._watchdog.begin(future):
            return
        try:
            self._watchdog.settle(future, self._limited(unit, until), None)
        except BaseException as error:
            self._watchdog.settle(future, None, error)

    def _limited(self, unit: Callable[[Connection], T], until: float) -> T:
        """Run a unit until that time. Raises StoreUnavailable when it is over."""
        try:
            with self._gate.passing(), deadlines.limited(until):
                return self._run(unit)
        except StoreUnavailable:
            self.writable = False
            raise

    @property
    def busy(self) -> bool:
        """See Writer."""
        pool = cast(QueuePool, self._engine.pool)
        return pool.checkedout() >= pool.size()

    def _run(self, unit: Callable[[Connection], T]) -> T:
        for attempt in range(4):
            try:
                with self._engine.begin() as connection:
                    result = unit(connection)
                    faults.point("store.commit")
                faults.point("store.committed")
            except Exception as error:
                state = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
                if state in _SERIALIZATION and attempt < 3:
                    continue
                telemetry.WRITER_UNITS.labels("failed").inc()
                self._gate.failed(error)
                raise translate(error) from None
            self.writable, self.written_at = True, time.time()
            self._gate.answered()
            telemetry.child(telemetry.WRITER_UNITS, "done").inc()
            telemetry.child(telemetry.WRITER_COMMITS, "done").inc()
            return result
        raise StoreUnavailable("too many serialisation conflicts")
