"""Names the work that a line of the log is about, and carries that name through tasks, threads and transactions.

Two names, both made here and none taken from a network. `connection` is that of an association or MLLP connection.
`correlation` is that of one message, object or request on it: whatever that causes has the same one, in every thread
and process. A job keeps it in its detail (`store.jobs`), so that a delivery has it after a restart too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
KEY = "correlation"  # in the detail of a job
HEADER = "X-Correlation-ID"  # of HTTP answers; that of a request is not read
_connection: ContextVar[str] = ContextVar("connection", default="")
_work: ContextVar[str] = ContextVar("work", default="")


def mint() -> str:
    """A name that no other work has."""
    return os.urandom(6).hex()


def connect() -> None:
    """From here on this task serves one connection, which gets a name."""
    _connection.set(mint())
    _work.set("")


def begin(name: str) -> None:
    """From here on this task works on what has this name; empty: on nothing but its connection."""
    _work.set(name)


@contextmanager
def during(name: str) -> Iterator[None]:
    """Work on what has this name, in this task or thread, inside the block."""
    token = _work.set(name)
    try:
        yield
    finally:
        _work.reset(token)


def current() -> str:
    """The name of the work at hand; that of the connection where there is none, empty outside of both."""
    return _work.get() or _connection.get()


def names() -> dict[str, str]:
    """What each line of the log tells of it."""
    connection, work = _connection.get(), _work.get()
    told = {"connection": connection} if connection else {}
    return told | {KEY: work or connection} if work or connection else told


def named(detail: dict[str, Any]) -> dict[str, Any]:
    """The detail of a job with the name of the work that makes it, unless it has another one."""
    work = current()
    return {KEY: work} | detail if work else detail


def carried(call: Callable[P, T]) -> Callable[P, T]:
    """A call that another thread makes under the names that are set here."""
    return partial(copy_context().run, call)
