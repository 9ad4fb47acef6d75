"""Keeps a reserve of file descriptors: every listener refuses connections before the last ones are used.

Strangers are refused earlier than those who are known: the machine itself, addresses of nodes, proxies of the web
(`serve_first`). So a stranger who opens connections at one door takes no other door from the systems of the site.

A process without descriptors cannot open a file of the spool or a connection to its database. libuv accepts and closes
connections without a word then. POSIX gives the lowest free number to each new descriptor (open(2)), so one number says
how many are in use.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
from collections.abc import Callable, Sequence
from typing import Protocol, cast, runtime_checkable

from broker import telemetry
from broker.pace import LinePace
from broker.seats import KEPT, is_own, share_of
from broker.service.doors.web_gate import WebLimits
from broker.settings.sections import LimitsSection

OWN = 128  # descriptors of database, spool, threads, listeners, logs
RESERVE = 64  # descriptors for database, spool, deliveries and logs; a quarter of a limit below 256
KNOWN = 64  # descriptors that only those who are known may take besides; an eighth of a limit below 512
_PACE = LinePace()

Factory = Callable[[], asyncio.BaseProtocol]
Known = Callable[[str], bool]


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


def kept() -> int:
    """How many more no stranger may take."""
    return min(KNOWN, limit() // 8)


def needed(limits: LimitsSection, dicom: int, hl7: int) -> int:
    """How many descriptors so many DICOM and HL7 listeners, the web and the process itself may use at once."""
    doors = dicom * (limits.associations + limits.associations // KEPT) + hl7 * limits.hl7_connections
    return OWN + doors + limits.web_connections + 2 * WebLimits().own


def warn_if_few(needed: int) -> None:
    """Warn if the doors may take `needed` descriptors at once by their limits, and the system gives fewer."""
    if needed + reserve() > limit():
        telemetry.logger().warning("descriptors.few", count=needed + reserve(), limit=limit())


def serve_first(*known: Known) -> None:
    """Say which addresses are known to the listeners of the running loop, beside the machine itself."""
    loop = asyncio.get_running_loop()
    if isinstance(loop, Guarding):
        loop.known.extend(known)


@runtime_checkable
class Guarding(Protocol):
    """A loop that guards its listeners. `known`: each tells addresses that are served before strangers."""

    known: list[Known]


def guarded(factory: Factory, known: Sequence[Known]) -> Factory:
    """A factory for `loop.create_server` that refuses strangers while few descriptors are left, and at last all."""

    def make() -> asyncio.BaseProtocol:
        used = _used()
        if used < limit() - reserve() - kept():
            return factory()
        return _Choosing(factory, known if used < limit() - reserve() else None)

    return make


class _Choosing(asyncio.Protocol):
    """Goes on as the protocol of the factory if its peer is known; else closes its connection at once."""

    def __init__(self, factory: Factory, known: Sequence[Known] | None) -> None:
        """`known`: None while nobody can be served."""
        self._factory, self._known = factory, known

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._known is not None and _is_known(transport, self._known):
            protocol = self._factory()
            transport.set_protocol(protocol)
            protocol.connection_made(transport)
            return
        cast(asyncio.Transport, transport).abort()
        telemetry.DESCRIPTORS_REFUSED.inc()
        if (repeats := _PACE.take("descriptors")) is not None:
            telemetry.logger().error("descriptors.scarce", limit=limit(), repeats=repeats or None)


def _is_known(transport: asyncio.BaseTransport, known: Sequence[Known]) -> bool:
    peer = transport.get_extra_info("peername")
    if not isinstance(peer, tuple) or not peer:  # the control socket
        return True
    share = share_of(str(peer[0]))
    return is_own(share) or any(is_known(str(peer[0])) or is_known(share) for is_known in known)


def _used() -> int:
    """About how many descriptors are in use; the limit where none is left."""
    try:
        probe = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return limit()
    os.close(probe)
    return probe
