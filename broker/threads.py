"""Runs blocking work in threads for the event loop, at half the cost of an executor with `wrap_future`."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar

from broker import correlation

ON_LOOP = 64 * 1024  # bytes from outside that one reader may get on the event loop: a few milliseconds

P = ParamSpec("P")
T = TypeVar("T")
_Inbox = queue.SimpleQueue["_Call | None"]


class _Outcome(asyncio.Future[T]):
    """The outcome of work in a thread. It cannot be cancelled: a cancelled task waits until the thread is done, since
    both use the same objects. Cheaper than a shield, and one turn of the loop less.
    """

    def cancel(self, msg: Any | None = None) -> bool:
        return False


class _LongWork:
    """A context for work that computes for long in a thread: meanwhile the event loop is given the interpreter sooner.

    A thread keeps it for 5 ms (sys.setswitchinterval) each time the loop wants it, which is after each of its calls. As
    short as here for all threads and always, it would cost an order a sixth more processor time. Enter it on the loop.
    """

    SWITCH = 0.0005  # seconds

    def __init__(self) -> None:
        self._works, self._usual = 0, 0.0

    def __enter__(self) -> None:
        self._works += 1
        if self._works == 1:
            self._usual = sys.getswitchinterval()
            sys.setswitchinterval(self.SWITCH)

    def __exit__(self, *_: object) -> None:
        self._works -= 1
        if not self._works:
            sys.setswitchinterval(self._usual)


long_work = _LongWork()
_Call = tuple[asyncio.AbstractEventLoop, _Outcome[Any], Callable[[], Any]]


class Threads:
    """A fixed number of threads. The thread that became idle last works next: its caches are warm."""

    def __init__(self, count: int, name: str) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[_Call] = deque()
        self._idle: list[_Inbox] = []
        self._inboxes: list[_Inbox] = [queue.SimpleQueue() for _ in range(count)]
        self._idle += self._inboxes
        self._threads = [
            threading.Thread(target=self._work, args=(inbox,), name=f"{name}-{n}", daemon=True)
            for n, inbox in enumerate(self._inboxes)
        ]
        for thread in self._threads:
            thread.start()

    def call(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Run in a thread; the future gets what it returns or raises, and cannot be cancelled."""
        loop = asyncio.get_running_loop()
        future: _Outcome[T] = _Outcome(loop=loop)
        call: _Call = (loop, future, correlation.carried(partial(work, *args, **kwargs)))
        with self._lock:
            inbox = self._idle.pop() if self._idle else None
            if inbox is None:
                self._waiting.append(call)
        if inbox is not None:
            inbox.put(call)
        return future

    def close(self) -> None:
        """Wait for all running work and end the threads."""
        for inbox in self._inboxes:
            inbox.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self, inbox: _Inbox) -> None:
        call = inbox.get()
        while call is not None:
            loop, future, work = call
            try:
                result, error = work(), None
            except BaseException as raised:
                result, error = None, raised
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(_settle, future, result, error)
            call = self._next(inbox)

    def _next(self, inbox: _Inbox) -> _Call | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._idle.append(inbox)
        return inbox.get()


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
