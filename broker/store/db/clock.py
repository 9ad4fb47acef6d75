"""Tells the time by the clock that all processes on one database share: on PostgreSQL that of its server.

Leases and due times are compared by several hosts, whose own clocks may differ. SQLite is used by one host alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Float, literal_column, select

from broker.store.db.engine import is_sqlite

NOW: ColumnElement[float] = literal_column("CAST(extract(epoch FROM clock_timestamp()) AS double precision)", Float)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockReading:
    """The database's clock beside one that nobody sets: `wall` since the epoch, `running` of `time.monotonic()`.

    They were read within `blur` seconds.
    """

    wall: float
    running: float
    blur: float


def read(connection: Connection) -> ClockReading:
    """Read both clocks."""
    before = time.monotonic()
    wall = now(connection)
    running = time.monotonic()
    return ClockReading(wall=wall, running=running, blur=running - before)


def now(connection: Connection) -> float:
    """Seconds since the epoch by the clock of the database."""
    if is_sqlite(connection):
        return time.time()
    return float(connection.execute(select(NOW)).scalar_one())
