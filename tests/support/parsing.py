"""Watches a thread for functions that get more bytes of somebody else's than an event loop may read."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import FrameType

from broker.threads import ON_LOOP


@contextmanager
def long_arguments(readers: tuple[str, ...], passing: Collection[str] = ()) -> Iterator[set[str]]:
    """Names of functions called in this thread, in modules that begin so, with long bytes or text as an argument.

    `passing`: names (`module.function`) of those that look at the first bytes only, or hand on what they got.
    """
    seen: set[str] = set()

    def watch(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        module = str(frame.f_globals.get("__name__", ""))
        if event != "call" or not module.startswith(readers) or f"{module}.{code.co_name}" in passing:
            return
        values = (frame.f_locals.get(name) for name in code.co_varnames[: code.co_argcount])
        if any(isinstance(value, bytes | bytearray | str) and len(value) > ON_LOOP for value in values):
            seen.add(f"{module}.{code.co_name}")

    sys.setprofile(watch)
    try:
        yield seen
    finally:
        sys.setprofile(None)
