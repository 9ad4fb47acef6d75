"""Writes log lines, and drops those that cannot be written: a full disk or a dead collector must stop no care.

A line is written at once, so that the last ones of a process that dies are there. A pipe or socket whose reader stands
still, or a terminal that somebody has stopped (Ctrl-S), would hold up whoever writes, and with the loop all others.
Pipes and terminals are opened once more for writes that never wait: the description that others share stays as it is
(open(2)). Where that is not possible, they are asked before whether they take a line.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import weakref
from collections.abc import Callable
from typing import TextIO


class LogOutput:
    """A stream of log lines, as structlog's WriteLogger uses it. Its methods may run in any thread."""

    def __init__(self, out: TextIO, dropped: Callable[[], None]) -> None:
        """`dropped` is called for each line that is not written."""
        self._out = out
        self._dropped = dropped
        self.missing = 0  # lines that were dropped since the last one that was written
        self._descriptor, self._asked, self._cut = _descriptor(out), False, False
        self._socket = _socket(self._descriptor)
        if self._descriptor is not None and self._socket is None and _may_wait(self._descriptor):
            own = _opened_again(self._descriptor)
            self._asked = own is None
            if own is not None:
                self._descriptor = own
                weakref.finalize(self, os.close, own)

    def write(self, text: str) -> None:
        """Write a line or drop it; never raises OSError. What could not be opened may make one over PIPE_BUF wait."""
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
        """Write a line. Raises OSError; the next one begins a line of its own then."""
        view = memoryview(b"\n" + data if self._cut else data)
        while view:
            view = view[self._put(view) :]
            self._cut = bool(view)

    def _put(self, view: memoryview) -> int:
        """Write what there is room for; how many bytes. Raises OSError if there is none."""
        if self._socket is not None:
            return self._socket.send(view, socket.MSG_DONTWAIT)
        return os.write(self._descriptor or 0, view)


def _may_wait(descriptor: int) -> bool:
    """Who reads there may keep a writer waiting."""
    return stat.S_ISFIFO(os.fstat(descriptor).st_mode) or os.isatty(descriptor)


def _socket(descriptor: int | None) -> socket.socket | None:
    """The socket of a supervisor (systemd's journal); None for all else."""
    if descriptor is None or not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return None
    return socket.socket(fileno=os.dup(descriptor))


def _opened_again(descriptor: int) -> int | None:
    """A descriptor of our own for the same pipe or terminal, which never waits; None where there is no such way."""
    try:
        return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None


def _descriptor(out: TextIO) -> int | None:
    """The descriptor of a stream; None for one in memory."""
    try:
        return out.fileno()
    except (OSError, ValueError, AttributeError):
        return None
