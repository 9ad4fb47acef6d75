"""Tells systemd that the broker is ready, alive and stopping (sd_notify(3)); without systemd it tells nobody.

The watchdog is fed by the event loop: a loop that stands still for `WatchdogSec` is a broker that answers nobody, and
systemd starts it again. A database that is away does not stop the feeding, as the worklist still answers then.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from broker import telemetry

FEEDS = 3  # signs of life within one `WatchdogSec`: two may be late


class Supervisor:
    """The socket of `NOTIFY_SOCKET`. A context: ready when entered, stopping when left. Use it on the event loop."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        name = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        self._every = _period(environment)
        self._feeding: asyncio.TimerHandle | None = None
        self._failed = False

    def __enter__(self) -> Self:
        self._tell("READY=1")
        if self._address and self._every:
            self._feed(asyncio.get_running_loop())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._feeding is not None:
            self._feeding.cancel()
        self._tell("STOPPING=1")

    def _feed(self, loop: asyncio.AbstractEventLoop) -> None:
        self._tell("WATCHDOG=1")
        self._feeding = loop.call_later(self._every, self._feed, loop)

    def _tell(self, state: str) -> None:
        """Send one datagram, and wait for nothing. A failure is logged once."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door:
                door.setblocking(False)
                door.sendto(state.encode("ascii"), self._address)
        except OSError as error:
            if not self._failed:
                telemetry.logger().warning("supervisor.not_told", error=telemetry.describe(error))
            self._failed = True


def _period(environment: Mapping[str, str]) -> float:
    """Seconds between two signs of life; 0 if systemd does not ask this process for them (sd_watchdog_enabled(3))."""
    asked, of = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not asked.isdecimal() or (of and of != str(os.getpid())):
        return 0.0
    return int(asked) / 1e6 / FEEDS
