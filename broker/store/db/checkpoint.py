"""Moves what is in the WAL of SQLite into the database file, often and little, while nobody waits for the writer.

SQLite does so itself inside the commit that makes the WAL `engine.CHECKPOINT` pages long. That commit waits until the
disk has taken thousands of scattered pages: 100 to 800 ms on a disk that others use too, and orders and objects
wait with it. What half a second has written is taken in some milliseconds. Where so much is written that somebody
always waits, they wait for that much, or for the bound of SQLite.

The connection of the writer does it: before version 3.51.3 SQLite may damage the file if another one does.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

EVERY = 0.5  # seconds between two checkpoints, at least
PATIENCE = 1.0  # seconds that one that is due lets others go first


class Checkpointer:
    """Says when a checkpoint is due, and makes it. Used by whoever runs the writer's transactions."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._written = False  # something since the last checkpoint
        self._next = clock() + EVERY

    def committed(self) -> None:
        """Note that a transaction was committed."""
        self._written = True

    @property
    def due(self) -> bool:
        """Something was written, and the last checkpoint is long enough ago."""
        return self._written and self._clock() >= self._next

    @property
    def pressing(self) -> bool:
        """It has been due for so long that nobody goes before it any more."""
        return self._written and self._clock() >= self._next + PATIENCE

    def run(self, connection: sqlite3.Connection) -> None:
        """Take over what no reader still needs in the WAL, waiting for nobody (PASSIVE).

        What fails is tried again later: the WAL has the data as safe.
        """
        self._written = False
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error:
            self._written = True
        self._next = self._clock() + EVERY
