"""Asks a database that is there whether it answers, and what its clock says."""

from __future__ import annotations

import time
from dataclasses import dataclass

from broker.store.db import clock, deadlines
from broker.store.db.engine import is_sqlite, open_engine, translate


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseAnswer:
    """How long an answer took with the connection, in seconds, and by how many the database's clock is ahead of ours.

    `ahead` is right within `blur` seconds. It is 0 for SQLite, which has the clock of this machine.
    """

    seconds: float
    ahead: float
    blur: float


def question(url: str, seconds: float = deadlines.CONNECT + deadlines.PING) -> DatabaseAnswer:
    """Ask a database within so many seconds. Nothing is made or brought up to date.

    Raises StoreUnavailable, ConfigurationError.
    """
    began = time.monotonic()
    engine = open_engine(url, readers=1)
    try:
        with deadlines.limited(began + seconds), engine.connect() as connection:
            if is_sqlite(connection):
                connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
                return DatabaseAnswer(seconds=time.monotonic() - began, ahead=0, blur=0)
            reading, here = clock.read(connection), time.time()
            return DatabaseAnswer(seconds=time.monotonic() - began, ahead=reading.wall - here, blur=reading.blur)
    except Exception as error:
        raise translate(error) from None
    finally:
        engine.dispose()
