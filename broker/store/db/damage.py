"""Tells damage of the database from passing trouble: it does not pass by itself, and somebody has to act."""

from __future__ import annotations

import sqlite3

from sqlalchemy import Connection, text

from broker import telemetry
from broker.errors import StoreUnavailable
from broker.pace import LinePace

# sqlite.org/rescode.html: CORRUPT, NOTADB; PostgreSQL, appendix A: data_corrupted, index_corrupted
_SQLITE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_POSTGRESQL = frozenset({"XX001", "XX002"})
_MISFITS = ("no such table", "no such column", "no such index", 'near "')  # how messages of such errors begin
_SHOWN = 5  # findings of a check


class StoreDamaged(StoreUnavailable):
    """The database is damaged. Whoever asks keeps what it has; a person has to repair or restore."""

    code = "store-damaged"


def is_damage(error: BaseException) -> bool:
    """An error of a driver, or of SQLAlchemy around it, says that the database is damaged."""
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", None)  # the bare class is for nothing but these two
        return code & 0xFF in _SQLITE if code is not None else type(cause) is sqlite3.DatabaseError
    return getattr(cause, "sqlstate", None) in _POSTGRESQL


def is_defect(error: BaseException) -> bool:
    """An error of SQLite says that the statement does not fit the schema: that is no trouble which passes."""
    cause = getattr(error, "orig", None) or error
    return isinstance(cause, sqlite3.OperationalError) and str(cause).startswith(_MISFITS)


class DamageAlarm:
    """Remembers that the database was found damaged, until a new start, and says so."""

    def __init__(self) -> None:
        self.raised = False
        self._pace = LinePace()
        telemetry.STORE_DAMAGED.set(0)

    def look(self, error: BaseException | None) -> None:
        """Raise the alarm if this error, as `engine.translate` gives it, tells of damage."""
        if isinstance(error, StoreDamaged):
            self.sound("error")

    def sound(self, where: str) -> None:
        """Raise the alarm: metric, log, readiness."""
        self.raised = True
        telemetry.STORE_DAMAGED.set(1)
        if (repeats := self._pace.take(where)) is not None:
            telemetry.logger().critical("store.damaged", where=where, repeats=repeats or None)


def checked(connection: Connection) -> list[str]:
    """What `PRAGMA quick_check` finds wrong with an SQLite file, some of it; empty if it is whole."""
    rows = connection.execute(text(f"PRAGMA quick_check({_SHOWN})")).scalars().all()
    return [] if rows == ["ok"] else [str(row) for row in rows]
