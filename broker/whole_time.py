"""Ends a request of `httpx.Client` that takes too long as a whole.

httpx bounds each step of a request. A peer that sends its answer byte by byte takes no step for too long, and would
hold the thread that asks for hours.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Self


class WholeTime:
    """Breaks the connection under a request off after `seconds`: a context around each request of one client.

    The request has `extensions`. The thread that waits reads an end then, so that httpx raises; `is_over` says why.
    Names are resolved before there is a connection, in the time that the resolver of the machine takes.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._line: socket.socket | None = None  # a handle of our own, also while TLS begins
        self._limit: threading.Timer | None = None
        self.is_over = False

    @property
    def extensions(self) -> Mapping[str, Callable[[str, Mapping[str, Any]], None]]:
        """What the request says to httpx."""
        return {"trace": self._heard}

    def __enter__(self) -> Self:
        self.is_over = False
        self._limit = threading.Timer(self._seconds, self._end)
        self._limit.daemon = True
        self._limit.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def close(self) -> None:
        """The client is closed."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def _heard(self, event: str, info: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self.close()
            self._line = info["return_value"].get_extra_info("socket").dup()

    def _end(self) -> None:
        line = self._line
        if threading.current_thread() is self._limit and line is not None:  # not one that ended meanwhile
            self.is_over = True
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
