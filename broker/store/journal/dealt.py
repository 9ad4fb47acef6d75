"""Marks refused messages as dealt with by a person, and takes the mark away again."""

from __future__ import annotations

from sqlalchemy import Connection, text, update

from broker.store.schema import tables

_t = tables.message
_REFUSED = text("NOT accepted")


def mark(connection: Connection, row: int, at: float, actor: str, note: str) -> bool:
    """Say that a refused message (row) was dealt with, by whom and how; False if none waits for that."""
    waits = (_t.c.id == row, _REFUSED, _t.c.dealt_at.is_(None))
    done = connection.execute(update(_t).where(*waits).values(dealt_at=at, dealt_by=actor, dealt_note=note))
    return bool(done.rowcount)


def unmark(connection: Connection, row: int) -> bool:
    """Let a message wait for a person again; False if it was not dealt with."""
    dealt = (_t.c.id == row, _t.c.dealt_at.is_not(None))
    done = connection.execute(update(_t).where(*dealt).values(dealt_at=None, dealt_by="", dealt_note=""))
    return bool(done.rowcount)
