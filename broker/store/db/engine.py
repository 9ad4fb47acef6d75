"""Database connections with the durability that the acknowledgements promise.

SQLite: WAL, `synchronous=FULL`, foreign keys, one writing connection; readers are `query_only` and never
checkpoint. PostgreSQL: `fsync` and `synchronous_commit` must be on. Both are checked on every new
connection, and a connection without them is refused.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import NullPool, QueuePool

from broker.errors import BrokerError, ConfigurationError, StoreFull, StoreUnavailable
from broker.store.db import deadlines
from broker.store.db.damage import StoreDamaged, is_damage, is_defect
from broker.store.db.deadlines import Connections
from broker.store.db.own_file import OwnFile
from broker.store.db.statements import counted

_READ_ONLY = "25006"  # a standby: we were moved to it, or it is about to be promoted
_DISK_FULL = "53100"
_TOO_MUCH = "54"  # class of what is beyond the limits of PostgreSQL, such as a value too long for an index
CHECKPOINT = 4000  # pages of the WAL
LOCKED = 4.0  # seconds that SQLite waits for another process, twice within what the doors promise
_SERVER: dict[str, Any] = {
    "connect_timeout": deadlines.CONNECT,
    # on the server: it ends by itself what we have given up, and what waits for locks soon enough to be told apart
    "options": "-c statement_timeout=30000 -c lock_timeout=5000",
    # a network that swallows packets: bytes that nobody takes, and silence between two statements
    "tcp_user_timeout": 10_000,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


def open_engine(
    url: str, *, readers: int = 0, connections: Connections | None = None, file: OwnFile | None = None
) -> Engine:
    """An engine for writing, or with `readers` > 0 for that many reading connections. Raises ConfigurationError.

    Those to PostgreSQL are among `connections`, those to SQLite go to `file` or nowhere.
    """
    if url.startswith("sqlite"):
        return counted(_sqlite(url, readers, file or OwnFile(url)))
    try:
        return counted(_postgresql(url, readers, connections or Connections()))
    except (ArgumentError, ValueError):
        raise ConfigurationError(
            "database.url: not a URL of the form postgresql+psycopg://user:password@host/name"
        ) from None


def _sqlite(url: str, readers: int, file: OwnFile) -> Engine:
    Path(url.removeprefix("sqlite:///")).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    pool: dict[str, Any] = (
        {"poolclass": QueuePool, "pool_size": readers, "max_overflow": 0} if readers else {"poolclass": NullPool}
    )
    # AUTOCOMMIT: the driver begins nothing by itself; the writer says BEGIN IMMEDIATE, readers need no transaction
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,
        connect_args={"timeout": LOCKED, "check_same_thread": False, "cached_statements": 512},
        **pool,
    )

    @event.listens_for(engine, "do_connect")
    def look(*_: object) -> None:
        file.check()  # or SQLite would make a new one

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        settings = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
        for pragma, value in settings.items():
            connection.execute(f"PRAGMA {pragma}={value}")
            if connection.execute(f"PRAGMA {pragma}").fetchone()[0] != value:
                raise ConfigurationError(f"SQLite refuses {pragma}={value}: acknowledged data would not be durable")
        connection.execute("PRAGMA temp_store=MEMORY")
        # an order writes 32 pages: at SQLite's default of 1000 each 31st commit would wait for a checkpoint.
        # Where the writer has a pause, `store.db.checkpoint` comes before
        connection.execute(f"PRAGMA wal_autocheckpoint={0 if readers else CHECKPOINT}")
        if readers:
            connection.execute("PRAGMA query_only=ON")

    return engine


def _postgresql(url: str, readers: int, connections: Connections) -> Engine:
    engine = create_engine(
        url,
        pool_size=readers or 8,
        max_overflow=0,
        pool_pre_ping=True,
        pool_timeout=deadlines.CONNECT,
        hide_parameters=True,
        isolation_level="AUTOCOMMIT" if readers else "READ COMMITTED",
        connect_args=_SERVER,
    )

    @event.listens_for(engine, "do_connect")
    def connect(_: object, __: object, arguments: Any, parameters: Any) -> deadlines.BoundedConnection:
        return connections.connect(*arguments, **parameters)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        with connection.cursor() as cursor:
            for setting in ("fsync", "synchronous_commit"):
                cursor.execute(f"SHOW {setting}")
                if cursor.fetchone()[0] in {"off", "false"}:
                    raise ConfigurationError(
                        f"PostgreSQL runs with {setting}=off: acknowledged data would not be durable"
                    )
        connection.commit()

    return engine


def translate(error: BaseException) -> BaseException:
    """Passing trouble of the database as StoreUnavailable, a full disk as StoreFull; other errors as they are."""
    if isinstance(error, BrokerError):
        return error
    if isinstance(error, DBAPIError) and str(getattr(error.orig, "sqlstate", "")).startswith(_TOO_MUCH):
        return error  # of what it was given: it would be so again
    if is_damage(error):
        return StoreDamaged("the database is damaged")
    if is_defect(error):
        return error
    if _is_full(error):
        return StoreFull()
    # SQLAlchemy's OperationalError covers full, locked and lost databases on both dialects
    if isinstance(error, OperationalError) or (isinstance(error, DBAPIError) and error.connection_invalidated):
        return StoreUnavailable("the database is not available")
    if isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) == _READ_ONLY:
        return StoreUnavailable("the database only reads at present")
    if isinstance(error, OSError | sqlite3.OperationalError | TimeoutError | PoolTimeout):
        return StoreUnavailable("the database is not available")
    return error


def _is_full(error: BaseException) -> bool:
    """An error of a driver, of SQLAlchemy around it, or of the system says that the disk has no room."""
    cause = getattr(error, "orig", None) or error
    return (
        getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        or getattr(cause, "sqlstate", None) == _DISK_FULL
        or (isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT))
    )


def is_sqlite(connection: Connection) -> bool:
    """True on SQLite, false on PostgreSQL."""
    return connection.dialect.name == "sqlite"


@contextmanager
def savepoint(connection: Connection, name: str = "part") -> Iterator[Callable[[], object]]:
    """A part of a transaction that can be undone alone, by calling what this gives. Errors are left to the whole.

    Who catches errors of a part that has parts gives it a `name` of its own (an SQL identifier).
    """
    connection.exec_driver_sql(f"SAVEPOINT {name}")
    yield lambda: connection.exec_driver_sql(f"ROLLBACK TO SAVEPOINT {name}")
    connection.exec_driver_sql(f"RELEASE SAVEPOINT {name}")
