"""Keeps a reserve of file descriptors: every listener refuses connections before the last ones are used.

A process without descriptors cannot open a file of the spool or a connection to its database. libuv accepts and closes
connections without a word then. POSIX gives the lowest free number to each new descriptor (open(2)), so one number says
how many are in use.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
from collections.abc import Callable
from typing import cast

from broker import telemetry
from broker.pace import LinePace
from broker.seats import KEPT
from broker.service.doors.web_gate import WebLimits
from broker.settings.sections import LimitsSection

OWN = 128  # descriptors of database, spool, threads, listeners, logs
RESERVE = 64  # descriptors for database, spool, deliveries and logs; a quarter of a limit below 256
_PACE = LinePace()

Factory = Callable[[], asyncio.BaseProtocol]


def raise_limit() -> int:
    """Raise the soft limit of RLIMIT_NOFILE to the hard one where the system lets us; the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):  # macOS refuses what its kernel has not: the soft one stays
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return limit()


def limit() -> int:
    """How many descriptors this process may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def reserve() -> int:
    """How many of them no connection may take."""
    return min(RESERVE, limit() // 4)


def needed(limits: LimitsSection, dicom: int, hl7: int) -> int:
    """How many descriptors so many DICOM and HL7 listeners, the web and the process itself may use at once."""
    doors = dicom * (limits.associations + limits.associations // KEPT) + hl7 * limits.hl7_connections
    return OWN + doors + limits.web_connections + 2 * WebLimits().own


def warn_if_few(needed: int) -> None:
    """Warn if the doors may take `needed` descriptors at once by their limits, and the system gives fewer."""
    if needed + reserve() > limit():
        telemetry.logger().warning("descriptors.few", count=needed + reserve(), limit=limit())


def guarded(factory: Factory) -> Factory:
    """A factory for `loop.create_server` that refuses a connection while only the reserve is left."""

    def make() -> asyncio.BaseProtocol:
        return _Refusing() if _scarce() else factory()

    return make


class _Refusing(asyncio.Protocol):
    """Closes its connection at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).abort()
        telemetry.DESCRIPTORS_REFUSED.inc()
        if (repeats := _PACE.take("descriptors")) is not None:
            telemetry.logger().error("descriptors.scarce", limit=limit(), repeats=repeats or None)


def _scarce() -> bool:
    """Only the reserve is left."""
    try:
        probe = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return True
    os.close(probe)
    return probe >= limit() - reserve()
