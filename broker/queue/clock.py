"""Tells the time for leases, waits and breakers: that of the database, carried on by a clock that nobody sets.

All hosts on one database agree by it. Between two readings it runs on by itself, so that a step of a clock does
nothing before it is noticed. Whoever notices it sets everything anew (`queue.dispatcher`).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from broker.store.db.clock import ClockReading

STEP = 5.0  # seconds; less is followed without a word, as NTP corrects a clock in small steps
BLUR = 1.0  # seconds; a reading that took longer says too little


class QueueClock:
    """Seconds since the epoch."""

    def __init__(self, wall: Callable[[], float] = time.time, running: Callable[[], float] = time.monotonic) -> None:
        """Goes by the clock of this machine until the first reading of the database's."""
        self._running = running
        self._offset = wall() - running()
        self._first: float | None = None

    def now(self) -> float:
        """The time."""
        return self._running() + self._offset

    def unhurried(self) -> float:
        """The time, but not that of a clock that was set forward since the first reading."""
        return self._running() + min(self._offset, self._offset if self._first is None else self._first)

    def follow(self, reading: ClockReading) -> float:
        """Go on by what the database says; by how many seconds its clock was set since the last reading, 0: it was not.

        The first reading is no step: the clock of this machine may be another.
        """
        if reading.blur > BLUR:
            return 0.0
        offset = reading.wall - reading.running
        step = 0.0 if self._first is None else offset - self._offset
        self._offset = offset
        if self._first is None:
            self._first = offset
        return step if abs(step) > STEP else 0.0
