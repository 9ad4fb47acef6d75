"""The TLS side of the MLLP endpoint: a bounded handshake in its own task, then the streams of a plain connection."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from broker import telemetry, tls
from broker.pace import LinePace
from broker.seats import Handshakes, share_of

Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Secure:
    """`context` gives that of the next handshake. `names`: a client certificate must have one of them, if any.

    A handshake may take `within` seconds; a stranger's address may have `per_address` of them at once, all `most`.
    """

    context: Callable[[], ssl.SSLContext]
    names: frozenset[str] = frozenset()
    within: float = 5
    per_address: int = 20
    most: int = 500


class Gate:
    """Makes the protocols of one TLS listener and counts its handshakes."""

    def __init__(self, secure: Secure, accept: Accept, chunk: int, known: Callable[[str], bool]) -> None:
        """`accept` serves a connection, with streams that buffer about `chunk` bytes.

        `known`: a system that the site names calls from there.
        """
        self._known = known
        self.secure, self.accept, self.chunk = secure, accept, chunk
        self.tasks: set[asyncio.Task[None]] = set()
        self._handshakes = Handshakes(secure.per_address, secure.most)
        self._lines = LinePace()

    def __call__(self) -> asyncio.Protocol:
        """A protocol for `loop.create_server`."""
        return tls.Threshold(self.enter)

    def enter(self, transport: asyncio.Transport, early: bytearray) -> None:
        """Begin with a new connection; `early` fills with what comes before the handshake begins."""
        task = asyncio.get_running_loop().create_task(self._serve(transport, early))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _serve(self, transport: asyncio.Transport, early: bytearray) -> None:
        address = str((transport.get_extra_info("peername") or ("",))[0])
        share = share_of(address)
        if not self._handshakes.begin(share, known=self._known(address)):
            self._refuse(address, "handshakes")
            transport.abort()
            return
        streams = None
        try:
            streams = await self._handshake(transport, early, address)
        finally:
            self._handshakes.end(share, succeeded=streams is not None)
        if streams is not None:
            await self.accept(*streams)

    async def _handshake(
        self, transport: asyncio.Transport, early: bytearray, address: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        reader = asyncio.StreamReader(self.chunk)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport.pause_reading()
        try:
            async with asyncio.timeout(self.secure.within):
                made = await tls.begin(transport, protocol, self.secure.context(), bytes(early), self.secure.within)
        except (OSError, TimeoutError) as error:  # an SSLError is an OSError
            transport.abort()
            self._refuse(address, tls.failure(error))
            return None
        except asyncio.CancelledError:
            transport.abort()
            raise
        if made is None:
            return None
        protocol.connection_made(made)
        engine = made.get_extra_info("ssl_object")
        certificate = engine.getpeercert(binary_form=True) if engine is not None else None
        if self.secure.names and not (certificate and tls.identity(certificate).names & self.secure.names):
            made.abort()
            self._refuse(address, "certificate")
            return None
        return reader, asyncio.StreamWriter(made, protocol, reader, asyncio.get_running_loop())

    def _refuse(self, address: str, reason: str) -> None:
        """Count it; a scanner must not flood the log."""
        telemetry.HL7_TLS_FAILURES.labels("handshake" if reason.startswith("tls-") else reason).inc()
        if (repeats := self._lines.take(f"{reason} {share_of(address)}")) is not None:
            telemetry.logger().warning("hl7.tls_refused", peer=address, reason=reason, repeats=repeats or None)
