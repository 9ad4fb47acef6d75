"""Rows of devices that knocked."""

from __future__ import annotations

from sqlalchemy import Connection, func, insert, select, update

from broker.store import tables

_t = tables.knock
MAX_ROWS = 1000  # a scanner with ever new AE titles fills no disk


def record(connection: Connection, ae_title: str, address: str, now: float) -> None:
    """Count a knock. Beyond MAX_ROWS devices new ones are not remembered."""
    here = (_t.c.ae_title == ae_title, _t.c.address == address)
    known = connection.execute(update(_t).where(*here).values(last_at=now, count=_t.c.count + 1))
    if not known.rowcount and count(connection) < MAX_ROWS:
        connection.execute(insert(_t).values(ae_title=ae_title, address=address, first_at=now, last_at=now, count=1))


def count(connection: Connection) -> int:
    """How many unknown devices have knocked."""
    return int(connection.execute(select(func.count()).select_from(_t)).scalar_one())
