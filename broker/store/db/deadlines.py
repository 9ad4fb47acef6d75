"""Bounds every wait for the database from our side: a server that is stopped, or a network that swallows, says nothing.

Three bounds, for what no other sees:
- `BoundedConnection` ends a wait for PostgreSQL when the time of the thread's work is over (`limited`), and closes
  itself: what the server made of the last statement is not known. Ping, statement and commit pass there alike.
- `Watchdog` fails futures whose thread is stuck where we cannot end it, or that still wait for a thread.
- `OneAsks` lets one ask at a time while the database does not answer, so that the others need not wait as long.

A write that was given up may still be committed. Its sender hears no yes and sends it again, which is recognised, as
after a lost connection.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from weakref import WeakSet

import psycopg
from psycopg.abc import PQGen

from broker.errors import StoreUnavailable

T = TypeVar("T")
CONNECT = 3  # seconds for a new connection to PostgreSQL, and for a free one of ours
WRITE = 7.0  # seconds for a unit from its submission on; the doors promise an answer within 10
WATCH = 8.5  # seconds after which a future fails by itself
STATEMENT = 35.0  # seconds for a statement of what may take long: the server's own limit is 30
LONG = 600.0  # seconds for a unit that may take long, see `unhurried`
STOPPING = 3.0  # seconds in which a database must answer that is to be waited for at the end
PING = 0.7  # seconds for the question of a health check
HURRY = 0.5  # seconds that others wait for the one who asks while the database is away
_LOOK = 0.25  # seconds between two looks of the watchdog

_mine = threading.local()  # until: of the work of this thread, by time.monotonic()
_Unit = TypeVar("_Unit", bound=Callable[..., Any])


class NoAnswer(psycopg.OperationalError):
    """PostgreSQL has not answered in time."""


def unhurried(unit: _Unit) -> _Unit:
    """Mark a unit or a query that may take minutes, and for which no door waits; each of its statements is bounded."""
    unit.__dict__["unhurried"] = True
    return unit


def time_for(unit: Callable[..., Any]) -> float:
    """Seconds that a unit may take."""
    return LONG if getattr(unit, "unhurried", False) else WRITE


def time_to_answer(unit: Callable[..., Any]) -> float:
    """Seconds after which whoever waits for a unit is told that it is not done."""
    return time_for(unit) + WATCH - WRITE


@contextmanager
def limited(until: float) -> Iterator[None]:
    """What this thread does inside ends at `until`, by `time.monotonic()`; each statement also by itself."""
    _mine.until = until
    try:
        yield
    finally:
        _mine.until = None


def check() -> None:
    """Raise NoAnswer if the time of this thread's work is over."""
    until = getattr(_mine, "until", None)
    if until is not None and time.monotonic() >= until:
        raise NoAnswer("the time for the database is over")


class BoundedConnection(psycopg.Connection[Any]):
    """A connection whose waits end with the time of the thread's work."""

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """See psycopg. Raises NoAnswer; the connection is closed then."""
        until = getattr(_mine, "until", None)
        if until is None:
            return super().wait(gen, interval, timeout)
        left = min(max(until - time.monotonic(), 0.0), STATEMENT)
        ends = time.monotonic() + left
        try:
            return super().wait(gen, interval, left if timeout is None else min(left, timeout))
        except psycopg.OperationalError as error:
            if time.monotonic() < ends:
                raise
            self.close()
            raise NoAnswer("PostgreSQL does not answer") from error


class Connections:
    """The open connections of one database, so that they can all be ended at once."""

    def __init__(self) -> None:
        self._open: WeakSet[BoundedConnection] = WeakSet()
        self._ended = False

    def connect(self, *arguments: Any, **parameters: Any) -> BoundedConnection:
        """A new connection. Raises NoAnswer after `end`, and when the time of this thread's work is over."""
        check()
        if self._ended:
            raise NoAnswer("the broker is stopping")
        connection = BoundedConnection.connect(*arguments, **parameters)
        self._open.add(connection)
        return connection

    def end(self) -> None:
        """Whoever waits for an answer on one of them waits no longer, and no new one is opened."""
        self._ended = True
        for connection in list(self._open):
            with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as twin:
                twin.shutdown(socket.SHUT_RDWR)


class OneAsks:
    """While the database does not answer, one asks at a time; the others wait for that one a moment only."""

    def __init__(self) -> None:
        self._away = False
        self._asking = threading.Lock()

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Do work with the database inside. Raises StoreUnavailable at once while it is away and another asks."""
        if not self._away:
            yield
            return
        if not self._asking.acquire(timeout=HURRY):
            raise StoreUnavailable("the database does not answer", code="store-silent")
        try:
            yield
        finally:
            self._asking.release()

    def answered(self) -> None:
        """The database has answered."""
        self._away = False

    def failed(self, error: BaseException) -> None:
        """Work ended by this error."""
        if isinstance(getattr(error, "orig", error), NoAnswer | psycopg.errors.ConnectionTimeout):
            self._away = True


class Watchdog:
    """Fails futures that have waited too long, from a thread of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[Future[Any], float] = {}  # until when, by time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-watchdog", daemon=True)
        self._thread.start()

    def watch(self, future: Future[Any], seconds: float) -> None:
        """Fail this future with StoreUnavailable unless it has an outcome within `seconds`."""
        self._waiting[future] = time.monotonic() + seconds

    def begin(self, future: Future[Any]) -> bool:
        """Begin its work; False if nobody waits for that any more."""
        with self._lock:
            return not future.done() and future.set_running_or_notify_cancel()

    def settle(self, future: Future[T], result: Any, error: BaseException | None) -> None:
        """Give a future its outcome, unless it has one."""
        self._waiting.pop(future, None)
        with suppress(InvalidStateError):
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

    def close(self) -> None:
        """End the thread; no future is failed any more."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK):
            now = time.monotonic()
            for future, until in list(self._waiting.items()):
                if future.done():
                    self._waiting.pop(future, None)
                elif now >= until:
                    self._fail(future)

    def _fail(self, future: Future[Any]) -> None:
        with self._lock:
            self.settle(future, None, StoreUnavailable("the database does not answer", code="store-silent"))
