"""Reads whole PDUs from one TCP connection and writes bytes to it, both with deadlines and bounded memory.

Received bytes land directly in one buffer; `read_pdu` hands out a view of it that is valid until the next call.
The header decides before the body is accepted: an announced length over the cap ends the connection with no memory
spent. The deadline of a PDU is total, from its first byte, so that a peer that drips bytes is found too.
"""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from collections.abc import Callable
from typing import Protocol, cast

from broker import tls
from broker.dicom.wire import pdu
from broker.errors import PeerFault

SMALL, LARGE = 8 * 1024, 512 * 1024
SHRINK_AFTER = 2.0  # seconds of silence after which an idle association gives its large buffer back
WRITE_HIGH = 1024 * 1024
PARTING = 1024 * 1024  # bytes thrown away at most after the last word


class ConnectionLost(PeerFault):
    """The peer closed or reset the connection."""

    code = "connection-lost"


class DeadlinePassed(PeerFault):
    """The peer was silent, or slow inside one PDU, for too long."""

    code = "deadline"


class IdlePassed(DeadlinePassed):
    """Not one byte came in the time allowed between PDUs; the connection is still in order."""


class ConnectionObserver(Protocol):
    """Is told of each new connection."""

    def __call__(self, connection: PduConnection, /) -> None:
        """Note a connection that stands."""
        ...


class PduConnection(asyncio.BufferedProtocol):
    """`max_data` caps P-DATA bodies (bytes); a peer may read nothing for `send_timeout` seconds."""

    def __init__(
        self, *, max_data: int, send_timeout: float, on_connect: ConnectionObserver | None = None, hold: bool = False
    ) -> None:
        """`hold`: read nothing before `secure`."""
        self._max_data = max_data
        self._send_timeout = send_timeout
        self._on_connect = on_connect
        self._hold = hold
        self._buffer = bytearray(SMALL)
        self._start = self._end = self._handed = 0
        self._needed = 0
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._paused_reading = False
        self._leftover = 0
        self._cut: asyncio.TimerHandle | None = None  # aborts a closing connection whose peer does not read
        self._lost = self._said_last = False
        self._loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self.address = ""
        self.on_hold: Callable[[int], None] | None = None  # is told how many bytes of memory a large PDU takes
        self.closed: asyncio.Future[None] = self._loop.create_future()

    # --- called by the event loop ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set TCP_NODELAY (an answer must not wait for the peer's delayed ACK) and tell the observer."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=WRITE_HIGH)
        if self._hold:
            self.transport.pause_reading()
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        if self._on_connect is not None:
            self._on_connect(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Free space behind what was received; never empty, since reading pauses when the buffer is full."""
        if self._leftover:
            return memoryview(self._buffer)
        if self._end == len(self._buffer):  # only until `secure` is done, so by a few turns of the loop at most
            self._replace(2 * len(self._buffer))
        return memoryview(self._buffer)[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        """Wake the reader once it has what it waits for."""
        if self._leftover:
            self._leftover -= nbytes
            if self._leftover <= 0:
                self.kill()
            return
        self._end += nbytes
        if not self._hold:
            self._pause_when_full()
        if self._end - self._start >= self._needed:
            self._wake()

    def eof_received(self) -> bool:
        """Treat a half-closed connection as a closed one."""
        self._lost = True
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake everybody who waits."""
        self._lost = True
        self._wake()
        self.resume_writing()
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        """Hold writers back: the peer reads slower than we write."""
        if self._drained is None:
            self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let writers go on: the peer caught up."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    # --- used by the association -------------------------------------------------------------------------

    async def read_pdu(self, idle: float, within: float, whole: float = math.inf) -> tuple[int, memoryview]:
        """The next PDU as (type, body). Waits `idle` seconds for its first byte, `within` for the rest, `whole` in all.

        Raises ConnectionLost, IdlePassed, DeadlinePassed, or ProtocolViolation from the header.
        The view dies at the next call.
        """
        self._start += self._handed
        self._handed = 0
        latest = self._loop.time() + whole
        if self._end - self._start < pdu.HEADER:
            if self._end == self._start:
                await self._need(1, self._loop.time() + idle, idle_phase=True)
            deadline = min(self._loop.time() + within, latest)
            await self._need(pdu.HEADER, deadline)
        else:
            deadline = min(self._loop.time() + within, latest)
        kind, length = pdu.read_header(memoryview(self._buffer)[self._start :], self._max_data)
        total = pdu.HEADER + length
        await self._need(total, deadline)
        self._handed = total
        start = self._start + pdu.HEADER
        return kind, memoryview(self._buffer)[start : start + length]

    async def secure(self, context: ssl.SSLContext, within: float) -> None:
        """TLS handshake as server, `within` seconds in all. Raises ConnectionLost; `reason` says which rule failed."""
        if self._lost or self.transport is None:
            raise ConnectionLost("the peer closed the connection")
        self.transport.pause_reading()
        early = bytes(memoryview(self._buffer)[: self._end])
        self._end = 0
        try:
            async with asyncio.timeout(within):
                transport = await tls.begin(self.transport, self, context, early, within)
        except (OSError, TimeoutError) as error:  # an SSLError is an OSError
            self.kill()
            raise ConnectionLost("no TLS handshake", code=tls.failure(error)) from None
        if transport is None:
            raise ConnectionLost("the peer closed the connection")
        self.transport = transport
        self.transport.set_write_buffer_limits(high=WRITE_HIGH)
        self._hold = False  # the peer's first data may be here before this transport is
        self._pause_when_full()

    @property
    def certificate(self) -> bytes | None:
        """The peer's verified certificate (DER), None without TLS or without one."""
        engine = self.transport.get_extra_info("ssl_object") if self.transport is not None else None
        return engine.getpeercert(binary_form=True) if engine is not None else None

    async def write(self, *parts: bytes | memoryview) -> None:
        """Send; returns when the peer has caught up. Raises ConnectionLost or DeadlinePassed."""
        if self._lost or self._said_last or self.transport is None or self.transport.is_closing():
            raise ConnectionLost("the connection is closed")
        self.transport.writelines(parts)
        if self._drained is not None:
            try:
                async with asyncio.timeout(self._send_timeout):
                    await asyncio.shield(self._drained)
            except TimeoutError:
                self.kill()
                raise DeadlinePassed("the peer does not read") from None
            if self._lost:
                raise ConnectionLost("the connection is closed")

    def close(self) -> None:
        """Close after what was written has left; a peer that does not read it in time loses the rest."""
        if self.transport is None or self.closed.done() or self._leftover:
            return
        if not self.transport.is_closing():  # it closes by itself when the peer does
            self.transport.close()
        if self._cut is None and self.transport.get_write_buffer_size():
            timer = self._cut = self._loop.call_later(self._send_timeout, self.transport.abort)
            self.closed.add_done_callback(lambda _: timer.cancel())

    def last_word(self, word: bytes) -> None:
        """Say the last PDU, if any, without waiting; a peer that does not read what came before is cut off.

        Nothing follows it: a handler that is still at work finds the connection closed.
        """
        said, self._said_last = self._said_last, True
        if not word or said or self.transport is None or self._lost or self.transport.is_closing():
            return
        if self._drained is not None:
            self.transport.abort()
        else:
            self.transport.write(word)

    async def part(self, patience: float) -> bool:
        """After the last word: throw away what comes until the peer closes, `patience` seconds at most (Sta13).

        True if the peer closed the connection in time. Closing at once with bytes unread would reset the connection,
        and the peer might never see that word.
        """
        if self.transport is None or self._lost or self.transport.is_closing():
            self.close()
            return True
        self._leftover = PARTING
        self._replace(SMALL)
        if self._paused_reading:
            self.transport.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        try:
            closed, _ = await asyncio.wait({self.closed}, timeout=patience)
        finally:
            self.kill()
        return bool(closed)

    def kill(self) -> None:
        """Close at once."""
        if self.transport is not None:
            self.transport.abort()

    # --- buffer ------------------------------------------------------------------------------------------

    async def _need(self, count: int, deadline: float, *, idle_phase: bool = False) -> None:
        """Wait until `count` bytes are there."""
        if self._end - self._start >= count:
            return
        self._make_room(count)
        while self._end - self._start < count:
            if self._lost:
                raise ConnectionLost("the peer closed the connection")
            left = deadline - self._loop.time()
            if left <= 0:
                raise (IdlePassed if idle_phase else DeadlinePassed)("the peer is silent")
            shrink = idle_phase and len(self._buffer) > SMALL and left > SHRINK_AFTER
            await self._wait(count, SHRINK_AFTER if shrink else left)
            if shrink and self._end == self._start:
                self._replace(SMALL)

    async def _wait(self, count: int, seconds: float) -> None:
        self._needed = count
        waiter = self._waiter = self._loop.create_future()
        timer = self._loop.call_later(seconds, self._wake)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _pause_when_full(self) -> None:
        if self._end == len(self._buffer) and self.transport is not None:
            self._paused_reading = True
            self.transport.pause_reading()

    def _make_room(self, count: int) -> None:
        """Have `count` bytes fit behind `_start`, with space to read ahead once data flows."""
        if self._start + count > len(self._buffer) or self._end == len(self._buffer):
            size = LARGE if count > pdu.HEADER else len(self._buffer)
            self._replace(max(size, count))
        if self._paused_reading and self.transport is not None and self._end < len(self._buffer):
            self._paused_reading = False
            self.transport.resume_reading()

    def _replace(self, size: int) -> None:
        """Move what is unread to the front, of a new buffer if the size changes. No view is alive here."""
        kept = bytes(memoryview(self._buffer)[self._start : self._end])
        size = max(size, len(kept) + 1)
        if size != len(self._buffer):
            self._buffer = bytearray(size)
            if self.on_hold is not None:
                self.on_hold(size if size > SMALL else 0)
        self._buffer[: len(kept)] = kept
        self._start, self._end = 0, len(kept)
