"""Sees that the file of a SQLite database, or its log, is not the one any more that the broker has opened.

Who deletes or replaces it leaves the broker with a file that has no name: what it writes there would be lost when it
ends. So each commit looks before anybody is told of it, and each new connection. Without its log all is not lost: what
stands in the one without a name is written into the database itself.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from broker.store.db.damage import StoreDamaged

Identity = tuple[int, int] | None  # device and number of the file


class StoreReplaced(StoreDamaged):
    """Another file stands where the database was opened, or none."""

    code = "store-replaced"


class OwnFile:
    """The file of a database in this process."""

    def __init__(self, url: str, alarm: Callable[[str], None] = lambda what: None) -> None:
        """`url` of SQLite; `alarm` is told what was deleted or replaced."""
        name = url.removeprefix("sqlite:///")
        self._path = Path(name) if name and name != url else None
        self._alarm = alarm
        self._opened: Identity = None
        self._log: Identity = None

    def opened(self) -> None:
        """From now on the file that stands there is ours."""
        self._opened = self._found("")

    def begin(self) -> None:
        """A new connection writes: its log may be a new file."""
        self._log = None

    def check(self) -> None:
        """Look before a connection is used. Raises StoreReplaced."""
        if self._opened is not None and self._found("") != self._opened:
            self._alarm("file-replaced")
            raise StoreReplaced("the file of the database was deleted or replaced")

    def committed(self, connection: sqlite3.Connection) -> None:
        """Look after a commit on this connection. Raises StoreReplaced if it would be lost."""
        self.check()
        log = self._found("-wal")
        if self._log is not None and log != self._log:
            self._alarm("log-replaced")
            busy, frames, written = connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
            if busy or frames != written:
                raise StoreReplaced("the log of the database was deleted or replaced")
            return
        self._log = log

    def _found(self, ending: str) -> Identity:
        if self._path is None:
            return None
        try:
            state = os.stat(f"{self._path}{ending}")
        except FileNotFoundError:
            return None
        return state.st_dev, state.st_ino
