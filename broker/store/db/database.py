"""The database as the rest of the broker sees it: `submit` a unit that writes, `read` with a function.

Both return a `concurrent.futures.Future`: a thread waits with `.result()`, asyncio with `asyncio.wrap_future`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, event, text

from broker import faults, telemetry
from broker.errors import StoreUnavailable
from broker.store.db import deadlines, migrate
from broker.store.db.damage import DamageAlarm, StoreDamaged, checked
from broker.store.db.engine import open_engine, translate
from broker.store.db.frozen import frozen_engine, needed
from broker.store.db.own_file import OwnFile
from broker.store.db.writer import PostgresWriter, SqliteWriter, Writer

P = ParamSpec("P")
T = TypeVar("T")
READERS = 4


class Database:
    """Engines, the writer and the read pool of one process."""

    def __init__(self, url: str) -> None:
        """Open the database and bring its schema to this version.

        Raises ConfigurationError for a database that is not durable or newer than this program,
        StoreUnavailable when it cannot be reached.
        """
        self._sqlite = url.startswith("sqlite")
        self._url = url
        self.unclean = self._sqlite and _has_log(url)  # SQLite was not closed the last time
        self.damage = DamageAlarm()
        self.check_room: Callable[[], None] | None = None  # raises StoreUnavailable if no order is taken in
        self.question: Callable[[Connection], object] = _ask  # of `ping`
        self._connections = deadlines.Connections()
        file = OwnFile(url, self.damage.sound)
        self._write_engine = open_engine(url, connections=self._connections, file=file)
        self._read_engine = open_engine(url, readers=READERS, connections=self._connections, file=file)
        # a thread and a connection of its own: a health check must not wait for others
        self._ping_engine = open_engine(url, readers=1, connections=self._connections, file=file)
        try:
            frozen = self._sqlite and self._freeze(url)
            self.migrated = not frozen and migrate.upgrade(self._write_engine)
        except Exception as error:
            self._ping_engine.dispose()
            self._read_engine.dispose()
            self._write_engine.dispose()
            raise translate(error) from None
        file.opened()
        engine = self._write_engine
        self._writer: Writer = SqliteWriter(engine, file) if self._sqlite else PostgresWriter(engine)
        if frozen:
            self._writer.writable = False
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")
        self._pinger = ThreadPoolExecutor(1, thread_name_prefix="store-ping")
        self._ping: Future[object] | None = None
        self._ping_lock = threading.Lock()

    def _freeze(self, url: str) -> bool:
        """Read the file as it is if the disk has no room, until the writer can open it; True if so.

        Raises StoreUnavailable if its schema is another one.
        """
        if not needed(url, self._read_engine):
            return False
        usual = self._read_engine, self._ping_engine
        self._read_engine, self._ping_engine = frozen_engine(url, READERS), frozen_engine(url, 1)

        def thaw(*_: object) -> None:
            frozen = self._read_engine, self._ping_engine
            if frozen != usual:
                self._read_engine, self._ping_engine = usual
                for engine in frozen:
                    engine.dispose()
                telemetry.logger().info("store.thawed")

        event.listen(self._write_engine, "connect", thaw)
        if not migrate.is_current(self._read_engine):
            raise StoreUnavailable("the schema cannot be brought up to date without room on the disk")
        telemetry.logger().error("store.frozen")
        return True

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return "sqlite" if self._sqlite else "postgresql"

    @property
    def writable(self) -> bool:
        """The last commit succeeded."""
        return self._writer.writable

    @property
    def written_at(self) -> float | None:
        """When the last commit succeeded, in seconds since the epoch; None for not yet since the start."""
        return self._writer.written_at

    @property
    def busy(self) -> bool:
        """Somebody waits for the database to write."""
        return self._writer.busy

    def submit(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `unit(connection, *args)` in a transaction; done when committed. See `store.db.writer`."""
        if (refused := self._refused(unit)) is not None:
            future: Future[T] = Future()
            future.set_exception(refused)
            return future
        future = self._writer.submit(unit, *args, **kwargs)
        future.add_done_callback(self._settled)
        return future

    def execute(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `unit` in a transaction from a thread that may block; what it returns, once committed.

        Raises what the unit raises, and StoreUnavailable on passing trouble.
        """
        if (refused := self._refused(unit)) is not None:
            raise refused
        try:
            return self._writer.execute(unit, *args, **kwargs)
        except StoreUnavailable as error:
            self.damage.look(error)
            raise

    def read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `query(connection, *args)` on a read-only connection in a thread.

        The future fails with StoreUnavailable on passing trouble.
        """
        return _begun(self._readers, self._read, self._read_engine, deadlines.LONG, lambda c: query(c, *args, **kwargs))

    def _refused(self, unit: Callable[..., Any]) -> StoreUnavailable | None:
        """Why a unit is not begun: it needs room, and the disk has none."""
        if self.check_room is not None and getattr(unit, "needs_room", False):
            try:
                self.check_room()
            except StoreUnavailable as error:
                return error
        return None

    def _settled(self, future: Future[Any]) -> None:
        if not future.cancelled():
            self.damage.look(future.exception())

    def _read(self, engine: Engine, seconds: float, query: Callable[[Connection], T]) -> T:
        try:
            faults.point("store.read")
            with deadlines.limited(time.monotonic() + seconds), engine.connect() as connection:
                return query(connection)
        except Exception as error:
            reason = translate(error)
            self.damage.look(reason)
            raise reason from None

    def ping(self) -> Future[object]:
        """Done when the database answers `question`; fails with StoreUnavailable soon if it does not.

        Who asks while another waits gets the answer of that one.
        """
        with self._ping_lock:
            if self._ping is None or self._ping.done():
                self._ping = _begun(self._pinger, self._read, self._ping_engine, deadlines.PING, self.question)
            return self._ping

    def check(self) -> list[str]:
        """Look through an SQLite file for damage, on a connection of its own (blocking, seconds for each GB).

        Returns what was found wrong, and raises the alarm then. Raises StoreUnavailable.
        """
        if not self._sqlite:
            return []
        engine = open_engine(self._url, readers=1)
        try:
            with engine.connect() as connection:
                found = checked(connection)
        except Exception as error:
            reason = translate(error)
            if not isinstance(reason, StoreDamaged):
                raise reason from None
            found = [str(reason)]
        finally:
            engine.dispose()
        if found:
            self.damage.sound("check")
        return found

    def hasten(self) -> None:
        """Before the end: if the database does not answer now, nobody waits for it any more. Blocking."""
        asked = _begun(self._pinger, self._read, self._ping_engine, deadlines.STOPPING, _ask)
        try:
            asked.result(deadlines.STOPPING + deadlines.CONNECT)
        except (StoreUnavailable, TimeoutError):
            self._connections.end()

    def close(self) -> None:
        """Commit what was submitted and close all connections."""
        self._writer.close()
        self._readers.shutdown(wait=True)
        self._pinger.shutdown(wait=True)
        self._ping_engine.dispose()
        self._read_engine.dispose()
        self._write_engine.dispose()


def _has_log(url: str) -> bool:
    path = Path(url.removeprefix("sqlite:///"))
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0


def _ask(connection: Connection) -> None:
    connection.execute(text("SELECT 1")).scalar_one()


def _begun(pool: ThreadPoolExecutor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
    """The future of work in a pool; failed if the pool is shut down."""
    try:
        return pool.submit(work, *args, **kwargs)
    except RuntimeError:
        future: Future[T] = Future()
        future.set_exception(StoreUnavailable("the broker is stopping"))
        return future
