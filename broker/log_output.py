"""Writes log lines, and drops those that cannot be written: a full disk or a dead collector must stop no care.

A line is written at once, so that the last ones of a process that dies are there. A pipe whose reader stands still
would hold up whoever writes, and with the event loop everything: it is asked before whether it takes a line.
"""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Callable
from typing import TextIO


class LogOutput:
    """A stream of log lines, as structlog's WriteLogger uses it. Its methods may run in any thread."""

    def __init__(self, out: TextIO, dropped: Callable[[], None]) -> None:
        """`dropped` is called for each line that is not written."""
        self._out = out
        self._dropped = dropped
        self.missing = 0  # lines that were dropped since the last one that was written
        self._descriptor, self._asked = _descriptor(out), False
        if self._descriptor is not None:
            mode = os.fstat(self._descriptor).st_mode
            self._asked = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)

    def write(self, text: str) -> None:
        """Write a line or drop it; never raises OSError. A pipe may make a line over PIPE_BUF wait."""
        try:
            if self._descriptor is None:
                self._out.write(text)
            elif self._asked and not self._takes():
                raise BlockingIOError
            else:
                self._write(text.encode("utf-8", "backslashreplace"))
        except (OSError, ValueError):  # ValueError: somebody closed the stream
            self.missing += 1
            self._dropped()
        else:
            self.missing = 0

    def flush(self) -> None:
        """Nothing is kept back."""
        if self._descriptor is None:
            self._out.flush()

    def isatty(self) -> bool:
        """A person reads along."""
        return self._out.isatty()

    def _takes(self) -> bool:
        """The pipe takes as much as a line has, nearly always (PIPE_BUF), without waiting."""
        asked = select.poll()
        asked.register(self._descriptor or 0, select.POLLOUT)
        return any(event & select.POLLOUT for _, event in asked.poll(0))

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor or 0, view) :]


def _descriptor(out: TextIO) -> int | None:
    """The descriptor of a stream; None for one in memory."""
    try:
        return out.fileno()
    except (OSError, ValueError, AttributeError):
        return None
