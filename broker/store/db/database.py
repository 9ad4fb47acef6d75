"""The database as the rest of the broker sees it: `submit` a unit that writes, `read` with a function.

Both return a `concurrent.futures.Future`: a thread waits with `.result()`, asyncio with `asyncio.wrap_future`.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, text

from broker import faults
from broker.errors import StoreUnavailable
from broker.store.db import migrate
from broker.store.db.engine import open_engine, translate
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
        self._write_engine = open_engine(url)
        self._read_engine = open_engine(url, readers=READERS)
        try:
            self.migrated = migrate.upgrade(self._write_engine)
        except Exception as error:
            self._read_engine.dispose()
            self._write_engine.dispose()
            raise translate(error) from None
        self._writer: Writer = SqliteWriter(self._write_engine) if self._sqlite else PostgresWriter(self._write_engine)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return "sqlite" if self._sqlite else "postgresql"

    @property
    def writable(self) -> bool:
        """The last commit succeeded."""
        return self._writer.writable

    def submit(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `unit(connection, *args)` in a transaction; done when committed. See `store.db.writer`."""
        return self._writer.submit(unit, *args, **kwargs)

    def execute(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `unit` in a transaction from a thread that may block; what it returns, once committed.

        Raises what the unit raises, and StoreUnavailable on passing trouble.
        """
        return self._writer.execute(unit, *args, **kwargs)

    def read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `query(connection, *args)` on a read-only connection in a thread.

        The future fails with StoreUnavailable on passing trouble.
        """

        def run() -> T:
            try:
                faults.point("store.read")
                with self._read_engine.connect() as connection:
                    return query(connection, *args, **kwargs)
            except Exception as error:
                raise translate(error) from None

        try:
            return self._readers.submit(run)
        except RuntimeError:
            future: Future[T] = Future()
            future.set_exception(StoreUnavailable("the broker is stopping"))
            return future

    def ping(self) -> Future[None]:
        """Done when a read connection answers."""

        def probe(connection: Connection) -> None:
            connection.execute(text("SELECT 1")).scalar_one()

        return self.read(probe)

    def close(self) -> None:
        """Commit what was submitted and close all connections."""
        self._writer.close()
        self._readers.shutdown(wait=True)
        self._read_engine.dispose()
        self._write_engine.dispose()
