"""Waiting inside an event loop: for a condition, for a standstill, or to show that nothing happens."""

from __future__ import annotations

import asyncio
import atexit
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")
SOON = 5.0  # s; what nothing holds up is done by then on a busy machine too, and what holds it up here lasts longer


def run(work: Coroutine[Any, Any, None], seconds: float = 30) -> None:
    """Run a coroutine to its end, with a deadline."""

    async def bounded() -> None:
        async with asyncio.timeout(seconds):
            await work

    asyncio.run(bounded())


@cache
def _runner() -> asyncio.Runner:
    made = asyncio.Runner()
    atexit.register(made.close)
    return made


def shortly(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, on a loop that this process keeps: a new one with its threads costs milliseconds.

    Where this thread has a loop that runs, as Playwright's does, it is one of another thread.
    """
    if asyncio._get_running_loop() is None:
        return _runner().run(work)
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, work).result()


async def until(condition: Callable[[], object], what: str, seconds: float = 10) -> None:
    """Wait for a condition with a deadline; fails naming `what`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.005)


async def standstill(value: Callable[[], object], seconds: float = 0.15) -> None:
    """Wait until a value has not changed for a while."""
    since, last = time.monotonic(), value()
    while time.monotonic() - since < seconds:
        await asyncio.sleep(0.01)
        if (now := value()) != last:
            since, last = time.monotonic(), now


async def remains(condition: Callable[[], object], seconds: float = 0.05) -> None:
    """A condition holds for a while."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition()
        await asyncio.sleep(0.005)


async def takes(seconds: float) -> None:
    """What a slow handler or peer does."""
    await asyncio.sleep(seconds)
