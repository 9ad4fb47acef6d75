"""A loop that runs the work of threads itself, a database that commits at once, and a connection of streams.

With the jumping clock of `virtual` a case of HL7 or HTTP comes out the same each time, and waits cost nothing. The loop
measures how long one turn of it holds everybody else, without what the product gives to threads.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from broker.store.db.database import Database
from fuzz.virtual import Connection, VirtualLoop

PIECE = 256_000  # bytes of one read of a transport: those of uvloop


class InlineLoop(VirtualLoop):
    """`held`: the longest time that one turn took, in seconds of the processor."""

    def __init__(self) -> None:
        super().__init__()
        self.held = 0.0
        self._aside = 0.0

    def aside(self, work: Callable[[], Any]) -> Any:
        """Do what a thread would do; its time is not the loop's."""
        started, before = time.thread_time(), self._aside
        try:
            return work()
        finally:
            self._aside = before + time.thread_time() - started

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """Run it now."""
        future = self.create_future()
        try:
            future.set_result(self.aside(lambda: func(*args)))
        except BaseException as error:
            future.set_exception(error)
        return future

    def _run_once(self) -> None:
        self._aside, started = 0.0, time.thread_time()
        super()._run_once()  # type: ignore[misc]
        self.held = max(self.held, time.thread_time() - started - self._aside)


class InlineDatabase:
    """A database whose futures are done when they are handed out."""

    def __init__(self, database: Database, loop: InlineLoop) -> None:
        self._database, self._loop = database, loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def submit(self, unit: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a unit in a transaction."""
        return self._done(lambda: self._database.execute(unit, *args, **kwargs))

    def read(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a function on a connection that reads."""
        return self._done(lambda: self._database.read(function, *args, **kwargs).result())

    def _done(self, work: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(self._loop.aside(work))
        except Exception as error:
            future.set_exception(error)
        return future


class _Socket:
    """What is asked of the socket below a transport."""

    family = socket.AF_INET

    def setsockopt(self, *_: Any) -> None:
        """Nothing."""

    def getpeername(self) -> tuple[str, int]:
        """A neighbour."""
        return "127.0.0.1", 4242

    def getsockname(self) -> tuple[str, int]:
        """Ourselves."""
        return "127.0.0.1", 80


async def is_gone(connection: Connection, seconds: float = 500) -> bool:
    """Whether a connection ends within so many virtual seconds, which are more than all deadlines together."""
    left = seconds
    while not connection.gone and left > 0:
        await asyncio.sleep(1)
        left -= 1
    return connection.gone


class Stream(Connection):
    """The same connection for a protocol that takes pieces of bytes as they are."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """An address and something like a socket; no TLS."""
        return _Socket() if name == "socket" else super().get_extra_info(name, default)

    def write(self, data: Any) -> None:
        """Our side says something. Raises RuntimeError once the connection is gone, as uvloop does."""
        if self._gone:
            raise RuntimeError("the handler is closed")
        super().write(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Say stop beyond `high`, if that is said."""
        self._high = self._high if high is None else high

    def _deliver(self) -> None:
        if self._waiting and not self._paused and not self._gone and not self._closing:
            data = self._waiting[0]
            self._waiting[0] = data[PIECE:]
            if len(data) <= PIECE:
                self._waiting.popleft()
            if data:
                self._protocol.data_received(bytes(data[:PIECE]))  # type: ignore[attr-defined]
            if self._waiting:
                self._loop.call_soon(self._deliver)
                return
        if self._ended and not self._waiting and not self._gone and not self._paused:
            self._ended = False
            if not self._protocol.eof_received():
                self.close()
