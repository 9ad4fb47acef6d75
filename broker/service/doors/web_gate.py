"""Says which web connections stay open: so many in all and of one address, the latest before the silent.

A connection that asks nothing costs its address its own room only. Where a number is reached, the connection that has
been without a request for longest is closed for the new one; if none is, the one that has been sending a body for
longest; if all are being answered, the new one is refused, and one of the machine itself is told so. The
machine itself (loopback) has room of its own, so that its health checks and metrics always get in.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

from broker import telemetry
from broker.admin.forwarded import TrustedProxies
from broker.pace import LinePace
from broker.seats import is_own


@dataclass(frozen=True, slots=True, kw_only=True)
class WebLimits:
    """Connections in all and of one address, seconds of a request's head and body, of an answer and of silence."""

    connections: int = 200
    per_address: int = 50
    own: int = 32  # connections of the machine itself, beyond `connections`
    head: float = 10
    body: float = 60
    answer: float = 60
    idle: float = 10
    proxies: TrustedProxies = field(default_factory=lambda: TrustedProxies(()))  # many people share their address


class WebConnection(Protocol):
    """What the gate must know of a connection."""

    share: str

    @property
    def idle(self) -> bool:
        """No request is being answered: closing it costs nobody an answer."""
        ...

    @property
    def unfinished(self) -> bool:
        """The body of its request is still to come."""
        ...

    def end(self, reason: str) -> None:
        """Close it; the reason is for the metrics."""
        ...


class WebGate:
    """Counts the connections of one listener."""

    def __init__(self, limits: WebLimits) -> None:
        self.limits = limits
        self._open: dict[WebConnection, None] = {}  # the one whose last request is longest ago comes first
        self._shares: Counter[str] = Counter()
        self._pace = LinePace()

    def enter(self, connection: WebConnection) -> bool:
        """Count a new connection, if there is room or room can be made for it."""
        share = connection.share
        own = is_own(share)
        if (
            not own
            and not self.limits.proxies.has(share)
            and self._shares[share] >= self.limits.per_address
            and not self._make_room(share)
        ):
            return self._refuse(share, "address-full")
        held = sum(n for name, n in self._shares.items() if is_own(name) == own)
        if held >= (self.limits.own if own else self.limits.connections) and not self._make_room(None, own=own):
            return self._refuse(share, "full")
        self._open[connection] = None
        self._shares[share] += 1
        telemetry.WEB_CONNECTIONS.inc()
        return True

    def asked(self, connection: WebConnection) -> None:
        """Note that a connection sent a whole request."""
        if connection in self._open:
            self._open[connection] = self._open.pop(connection)

    def leave(self, connection: WebConnection) -> None:
        """Stop counting a connection; one that was refused does not count."""
        if connection in self._open:
            del self._open[connection]
            self._shares[connection.share] -= 1
            if not self._shares[connection.share]:
                del self._shares[connection.share]
            telemetry.WEB_CONNECTIONS.dec()

    def report(self, share: str, reason: str) -> None:
        """Count a connection that was refused or closed, and log it at a limited rate."""
        telemetry.WEB_CLOSED.labels(reason).inc()
        if (repeats := self._pace.take(f"{reason} {share}")) is not None:
            telemetry.logger().info("web.connection_closed", peer=share, reason=reason, repeats=repeats or None)

    def _make_room(self, share: str | None, *, own: bool = False) -> bool:
        """Close an idle connection, else an unfinished one, of a share or of all strangers or own ones.

        The one whose last request is longest ago goes first.
        """
        mine = [one for one in self._open if (one.share == share if share is not None else is_own(one.share) == own)]
        chosen = next((one for one in mine if one.idle), None) or next((one for one in mine if one.unfinished), None)
        if chosen is None:
            return False
        self.leave(chosen)
        chosen.end("made-room")
        return True

    def _refuse(self, share: str, reason: str) -> bool:
        self.report(share, reason)
        return False
