"""Asks the file system of the spool for its time, and compares it with the clock of this machine.

A spool on a file server has the clock of that server. How old a file is can be told by that clock alone.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

from broker import telemetry
from broker.errors import SpoolUnavailable
from broker.model.wording import Lasting, Sentence

OFF = 5.0  # seconds; less means nothing, as the clock of a file system is coarse and the network takes its time


class SpoolClock:
    """The clock of one spool. Its methods may run in any thread."""

    def __init__(self, root: Path, wall: Callable[[], float] = time.time) -> None:
        """`wall` is the clock of this machine, in seconds since the epoch."""
        self._file = root / "clock"
        self._wall = wall
        self._ahead = 0.0

    def now(self) -> float:
        """Seconds since the epoch, by the file system. Raises SpoolUnavailable if nothing can be written there."""
        try:
            descriptor = os.open(self._file, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.ftruncate(descriptor, 0)  # it is empty; the file system notes the moment, and needs no room
                return os.fstat(descriptor).st_mtime
            finally:
                os.close(descriptor)
        except OSError as error:
            code = f"spool-{errno.errorcode.get(error.errno or 0, 'error')}"
            raise SpoolUnavailable("the spool does not tell its time", code=code) from None

    def look(self) -> None:
        """Compare the clocks; that they differ is said once. While the disk cannot be written nothing is compared."""
        try:
            ahead = self.now() - self._wall()
        except SpoolUnavailable:
            return
        before, self._ahead = self._ahead, ahead
        telemetry.SPOOL_CLOCK_AHEAD.set(ahead)
        if _off(ahead) and not _off(before):
            telemetry.logger().warning("spool.clock_off", delay=round(ahead, 1))
        elif _off(before) and not _off(ahead):
            telemetry.logger().info("spool.clock_right")

    def notes(self) -> tuple[Sentence, ...]:
        """What a person should know of it."""
        if not _off(self._ahead):
            return ()
        way = Sentence("ahead of") if self._ahead > 0 else Sentence("behind")
        return (
            Sentence(
                "the clock of the spool's disk is %(span)s %(way)s that of this machine: one of them is wrong",
                {"span": Lasting(abs(self._ahead)), "way": way},
            ),
        )


def _off(ahead: float) -> bool:
    return abs(ahead) > OFF
