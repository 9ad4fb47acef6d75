"""Reads an SQLite database on a disk without room, so that the worklist is there after a start on a full disk.

WAL needs a file of shared memory beside the database, which SQLite cannot make there. After a clean stop the WAL is
empty and the file holds everything: it is opened as immutable, without locks and without that file. Nobody may write
meanwhile. So the writer tells when it could open the database, and readers open it as usual from then on.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from broker.store.db.statements import counted

# primary result codes (sqlite.org/rescode.html): READONLY, IOERR, FULL, CANTOPEN
_NO_ROOM = frozenset({8, 10, 13, 14})


def needed(url: str, readers: Engine) -> bool:
    """The database is there and whole, and cannot be opened as usual because nothing can be written beside it."""
    path = Path(url.removeprefix("sqlite:///"))
    try:
        if not path.stat().st_size:
            return False
        with readers.connect() as connection:
            connection.execute(text("SELECT count(*) FROM sqlite_master")).scalar_one()
    except (SQLAlchemyError, sqlite3.Error) as error:
        code = getattr(getattr(error, "orig", error), "sqlite_errorcode", 0)
        return code & 0xFF in _NO_ROOM and _empty(path.with_name(path.name + "-wal"))
    except OSError:
        return False
    return False


def frozen_engine(url: str, readers: int) -> Engine:
    """An engine of reading connections to the file as it is."""
    path = Path(url.removeprefix("sqlite:///")).absolute()

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True, check_same_thread=False)
        connection.isolation_level = None
        connection.execute("PRAGMA temp_store=MEMORY")
        return connection

    engine = create_engine(
        url,
        creator=connect,
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,
        poolclass=QueuePool,
        pool_size=readers,
        max_overflow=0,
    )
    return counted(engine)


def _empty(file: Path) -> bool:
    return not file.exists() or not file.stat().st_size
