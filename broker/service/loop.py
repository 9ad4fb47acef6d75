"""Chooses the event loop of all commands, runs a process on it and handles its signals."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from broker import telemetry
from broker.service.doors import descriptors

GRACE = 8.0  # seconds for running work after a stop signal
LOOK_UPS = (
    64  # threads of libuv. Half of them may look up host names; with its 4, two dead names would delay all others
)


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run `main` to its end on uvloop where there is one; its exit code."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.get_loop().set_exception_handler(_report)
        return runner.run(main)


def leave(code: int) -> NoReturn:
    """Exit with this code, and wait for nothing: libuv would, for look-ups of host names that go on, half a minute."""
    atexit.register(_end, code)
    sys.exit(code)


def _end(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # its reader is gone, or it is closed
            stream.flush()
    os._exit(code)


def on_signals(stop: Callable[[], object]) -> None:
    """Call `stop` inside the running loop on SIGTERM and SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)


def loop_factory() -> Any:
    """A factory of uvloop's event loop; of asyncio's on Windows."""
    if sys.platform == "win32":
        return asyncio.new_event_loop
    os.environ.setdefault("UV_THREADPOOL_SIZE", str(LOOK_UPS))  # is read with the first look-up of the process
    import uvloop  # not available on Windows

    class Loop(uvloop.Loop):
        """Every listener of the process leaves the reserve of descriptors, and what is kept for those who are known."""

        def __init__(self) -> None:
            super().__init__()
            self.known: list[descriptors.Known] = []

        async def create_server(self, protocol_factory: descriptors.Factory, *args: Any, **options: Any) -> Any:
            guarded = descriptors.guarded(protocol_factory, self.known)
            return await super().create_server(guarded, *args, **options)

    return Loop


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error that nobody awaited by type and place only: the default handler would print values."""
    error = context.get("exception")
    telemetry.logger().error("loop.error", error=telemetry.describe(error) if error else "unknown")
