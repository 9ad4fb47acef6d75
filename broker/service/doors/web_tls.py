"""HTTPS on the port of the web: a handshake with a deadline and a bound, then the connection of plain HTTP."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from broker import telemetry, tls
from broker.pace import LinePace
from broker.seats import Handshakes, is_own, share_of

PER_ADDRESS, MOST = 20, 200  # handshakes at once, of the address of a stranger and in all


class WebTls:
    """Begins each connection with a handshake, and hands it over."""

    def __init__(self, context: Callable[[], ssl.SSLContext], within: float) -> None:
        """`context` gives that of the next handshake, which may take `within` seconds."""
        self._context, self._within = context, within
        self._handshakes = Handshakes(PER_ADDRESS, MOST)
        self._tasks: set[asyncio.Task[None]] = set()
        self._lines = LinePace()

    def before(self, inner: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """The protocol of a listener whose connections `inner` serves after the handshake."""
        return lambda: tls.Threshold(lambda transport, early: self.enter(transport, early, inner))

    def enter(self, transport: asyncio.Transport, early: bytearray, inner: Callable[[], asyncio.Protocol]) -> None:
        """Begin with a new connection; `early` fills with what comes before the handshake begins."""
        task = asyncio.get_running_loop().create_task(self._serve(transport, early, inner))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(
        self, transport: asyncio.Transport, early: bytearray, inner: Callable[[], asyncio.Protocol]
    ) -> None:
        share = share_of(str((transport.get_extra_info("peername") or ("",))[0]))
        if not self._handshakes.begin(share, known=is_own(share)):
            self._refuse(transport, share, "handshakes")
            return
        succeeded = False
        try:
            succeeded = await self._handshake(transport, early, share, inner)
        finally:
            self._handshakes.end(share, succeeded=succeeded)

    async def _handshake(
        self, transport: asyncio.Transport, early: bytearray, share: str, inner: Callable[[], asyncio.Protocol]
    ) -> bool:
        """Carry it out; True if it succeeded."""
        waiting = _Waiting()
        transport.pause_reading()
        try:
            async with asyncio.timeout(self._within):
                made = await tls.begin(transport, waiting, self._context(), bytes(early), self._within)
        except (OSError, TimeoutError) as error:  # an SSLError is an OSError
            self._refuse(transport, share, tls.failure(error))
        except asyncio.CancelledError:
            transport.abort()
            raise
        else:
            if made is not None and not made.is_closing():
                protocol = inner()
                made.set_protocol(protocol)
                protocol.connection_made(made)
                if waiting.data:
                    protocol.data_received(bytes(waiting.data))
                return True
        return False

    def _refuse(self, transport: asyncio.Transport, share: str, reason: str) -> None:
        """Close it and count it; a scanner must not flood the log."""
        transport.abort()
        telemetry.WEB_CLOSED.labels("tls" if reason.startswith("tls-") else reason).inc()
        if (repeats := self._lines.take(f"{reason} {share}")) is not None:
            telemetry.logger().info("web.tls_refused", peer=share, reason=reason, repeats=repeats or None)


class _Waiting(asyncio.Protocol):
    """Keeps what comes between the end of the handshake and the protocol that is to read it."""

    def __init__(self) -> None:
        self.data = bytearray()

    def data_received(self, data: bytes) -> None:
        self.data += data
