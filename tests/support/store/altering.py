"""Alters what the broker keeps, as a failing disk does."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from broker.store.db.database import Database
from broker.store.images.spool import Spool
from broker.store.schema import tables


def flip_bit(database: Database, spool: Spool, row: int, place: int) -> None:
    """Flip a bit of the data set of an object where it lies: in its file, or in its row."""

    def unit(connection: Connection) -> None:
        path, offset = connection.execute(
            select(tables.instance.c.path, tables.instance.c.data_offset).where(tables.instance.c.id == row)
        ).one()
        if not path:
            mine = tables.content.c.instance == row
            data = bytearray(connection.execute(select(tables.content.c.data).where(mine)).scalar_one())
            data[place] ^= 1
            connection.execute(update(tables.content).where(mine).values(data=bytes(data)))
            return
        data = bytearray(spool.locate(path).read_bytes())
        data[offset + place if place >= 0 else place] ^= 1
        spool.locate(path).write_bytes(data)

    database.submit(unit).result(10)
