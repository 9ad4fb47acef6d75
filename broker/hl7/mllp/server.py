"""MLLP endpoint: long-lived connections, one message at a time on each, answers in order.

Bounded in bytes (`max_message`, and CHUNK outside frames), in time (a frame has one deadline from its VT on, however
slowly its bytes come) and in connections. It never starts messages of its own. While a handler works nothing is read,
so a sender that does not wait for answers is slowed by TCP.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from broker import correlation, telemetry
from broker.hl7.mllp.framing import Frame, Framer, Oversize, begins, wrap
from broker.hl7.mllp.parting import part
from broker.hl7.mllp.secure import Gate, Secure
from broker.pace import LinePace
from broker.seats import BACKLOG, Seats, share_of
from broker.traces import spans

CHUNK = 65536
LATE_CR = 0.5  # seconds to wait for the CR of an end block before taking FS alone
LATE_REST = 0.01  # seconds in which the rest of a message cut by an embedded end block may follow
DRAIN_SECONDS, DRAIN_BYTES = 2.0, 64 * 1024 * 1024


@dataclass(slots=True)
class Peer:
    """The remote end of a connection.

    `known`: it calls from the address of a system that the site names. `proven`: the handler has taken a message of it.
    """

    host: str
    port: int
    known: bool = False
    proven: bool = False

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


Answer = bytes | None  # None closes the connection, empty stays silent
Handler = Callable[[bytes, Peer], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of a message, connections at once, seconds of a frame and of silence between frames.

    `first_timeout`: seconds for a message of those who are not known and have sent none that was taken;
    `per_address`: connections of one of their addresses; `open_frames`: bytes of all unfinished frames.
    """

    max_message: int = 10 * 1024 * 1024
    max_connections: int = 500
    frame_timeout: float = 60
    idle_timeout: float = 3600
    first_timeout: float = 30
    per_address: int = 100
    open_frames: int = 64 * 1024 * 1024


class _Closed(Exception):
    """The conversation is over; the reason is for the log."""


class _Connection:
    """One conversation."""

    def __init__(self, server: MllpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server, self._reader, self._writer = server, reader, writer
        address = writer.get_extra_info("peername") or ("", 0)
        self.peer = Peer(str(address[0]), int(address[1]), known=server.known(str(address[0])))
        self._framer = Framer(server.limits.max_message)
        self._deadline: float | None = None  # of the open frame
        self._forgiven: set[str] = set()
        self._reason = ""  # why others ended it
        self.busy, self.held, self.share = False, 0, share_of(self.peer.host)
        self.known, self.proven = self.peer.known, False
        self._first = 0.0  # when a message must be here of somebody who has sent none that was taken

    def end(self, reason: str) -> None:
        """Close at once, and let the open frame go."""
        self._reason = reason
        self._framer.drop()
        self._writer.transport.abort()

    async def run(self) -> None:
        correlation.connect()
        self.peer.proven = self.proven
        self._first = asyncio.get_running_loop().time() + self._server.limits.first_timeout
        try:
            while not self._server.stopping:
                await self._step()
        except _Closed as end:
            self._ended(end.args[0] if end.args else "")
        except (ConnectionError, TimeoutError, ssl.SSLError):
            self._ended("peer-gone")
        except Exception as error:
            telemetry.logger().error("hl7.connection_failed", peer=str(self.peer), error=telemetry.describe(error))

    def _ended(self, reason: str) -> None:
        """Log the end and its reason, empty for an end in order; whoever sent text that is no frame is warned of."""
        unframed = self._framer.unframed and not reason.startswith("strict")
        reason = self._reason or ("no-frame" if unframed else reason)
        if reason:
            kind = reason.partition(":")[0]
            telemetry.HL7_CLOSED.labels(kind).inc()
            if (more := self._line(f"closed {kind}")) is not None:
                log = telemetry.logger().warning if unframed or self._reason else telemetry.logger().info
                log("hl7.connection_closed", peer=str(self.peer), reason=reason, **more)

    def _line(self, kind: str) -> dict[str, int] | None:
        """What a line of the log tells more, None for no line: strangers cause one of a kind per second."""
        unwritten = 0 if self.known or self.proven else self._server.pace.take(kind)
        return None if unwritten is None else {"count": unwritten} if unwritten else {}

    def close(self) -> None:
        self._writer.close()

    async def _step(self) -> None:
        data = await self._receive()
        items = self._framer.feed(data) if data else self._framer.finish()
        if self._framer.outside > CHUNK:
            raise _Closed("no-frame")
        self._forgive()
        if data == b"":
            for item in items:
                await self._handle(item)
            raise _Closed("incomplete-frame") if self._framer.inside else _Closed
        if items and not self._framer.inside:
            items = await self._look_behind(items)
        for number, item in enumerate(items):
            if number:
                await asyncio.sleep(0)  # a handler may answer at once, and others wait
            if self._server.stopping:
                raise _Closed
            await self._handle(item)
        if (held := self._framer.held) != self.held:
            self._hold(held)
        if held >= CHUNK and data:
            await asyncio.sleep(self._server.seats.wait(self, len(data), asyncio.get_running_loop().time()))
        if not self._framer.inside and not self._framer.stray:  # what is no frame may not hold a connection either
            self._deadline = None
        elif items or self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + self._server.limits.frame_timeout

    def _forgive(self) -> None:
        """Note what the peer should not do, once for each connection; strict listeners close it instead."""
        fresh = self._framer.tolerated - self._forgiven
        if not fresh:
            return
        if self._server.strict:
            raise _Closed(f"strict: {' '.join(sorted(fresh))}")
        self._forgiven |= fresh
        for what in fresh:
            telemetry.HL7_TOLERATED.labels(what).inc()
        if (more := self._line("tolerated")) is not None:
            log = telemetry.logger().warning if "lost" in fresh else telemetry.logger().info
            log("hl7.tolerated", peer=str(self.peer), reason=" ".join(sorted(fresh)), **more)

    def _hold(self, size: int) -> None:
        """Bytes of a message that this connection keeps in memory now. Raises _Closed where all hold too many."""
        self._server.seats.hold(self, size)
        if self._reason:
            raise _Closed

    async def _receive(self) -> bytes | None:
        """Bytes; empty at the end of the stream; None if an end block has waited long enough for its CR."""
        limits = self._server.limits
        timeout = limits.idle_timeout
        if self._deadline is not None:
            timeout = max(0.0, self._deadline - asyncio.get_running_loop().time())
        ended, first = self._framer.ended, False
        if not (self.proven or self.known):
            left = max(0.0, self._first - asyncio.get_running_loop().time())
            first, timeout = left < timeout, min(left, timeout)
        try:
            async with asyncio.timeout(min(timeout, LATE_CR) if ended else timeout):
                return await self._reader.read(CHUNK)
        except TimeoutError:
            if ended:
                return None
            raise _Closed("no-message" if first else "idle" if self._deadline is None else "frame-timeout") from None

    async def _look_behind(self, items: list[Frame | Oversize]) -> list[Frame | Oversize]:
        """A last segment without its CR may be a message cut by an embedded end block: see what follows."""
        last = items[-1]
        if not isinstance(last, Frame) or last.truncated or last.payload.endswith((b"\r", b"\n")):
            return items
        try:
            async with asyncio.timeout(LATE_REST):
                more = await self._reader.read(CHUNK)
        except TimeoutError:
            return items
        following = self._framer.feed(more)
        if self._framer.stray or (following and not begins(more)):
            items[-1] = Frame(last.payload, truncated=True)
        return items + following

    async def _handle(self, item: Frame | Oversize) -> None:
        self.busy = True
        try:
            with spans.span(spans.TracedStep.HL7):
                if isinstance(item, Oversize):
                    return await self._refuse_oversize(item)
                handler = self._server.on_truncated if item.truncated else self._server.handler
                if len(item.payload) > CHUNK:
                    self._hold(len(item.payload))
                answer = await handler(item.payload, self.peer)
                if not self.proven:
                    self._judge()
                if answer is None:
                    raise _Closed("no-answer")
                if answer and not self._writer.is_closing():  # uvloop raises RuntimeError then
                    await self._send(answer)
        finally:
            self.busy = False
            correlation.begin("")
            if self.held:
                self._server.seats.hold(self, self._framer.held)

    def _judge(self) -> None:
        """After a message of somebody who had sent none that was taken: this one was, or he has as long once more."""
        if self.peer.proven:
            self._server.seats.prove(self)
        self._first = asyncio.get_running_loop().time() + self._server.limits.first_timeout

    async def _send(self, answer: bytes) -> None:
        with spans.span(spans.TracedStep.ANSWER):
            self._writer.write(wrap(answer))
            async with asyncio.timeout(self._server.limits.frame_timeout):
                await self._writer.drain()

    async def _refuse_oversize(self, item: Oversize) -> None:
        """Answer, half-close, and read on for a while: a reset would take the answer from the peer."""
        answer = await self._server.on_oversize(item.head, self.peer)
        if answer and not self._writer.is_closing():
            await self._send(answer)
            if self._writer.can_write_eof():
                self._writer.write_eof()
            left = DRAIN_BYTES
            try:
                async with asyncio.timeout(DRAIN_SECONDS):
                    while left > 0 and (data := await self._reader.read(CHUNK)):
                        left -= len(data)
            except TimeoutError:
                pass
        raise _Closed("oversize")


class MllpServer:
    """Listens on `host:port` and hands each message to `handler`.

    `on_oversize` gets the first bytes of a message over the limit, `on_truncated` a message that an end block
    in its middle has cut. All return the answer (two of them joined by `framing.join`), empty for none, or None to
    close the connection. `strict`: a connection with a fault of framing is closed. `secure`: TLS only.
    """

    def __init__(
        self,
        host: str,
        port: int,
        handler: Handler,
        *,
        on_oversize: Handler,
        on_truncated: Handler,
        limits: Limits = Limits(),
        strict: bool = False,
        secure: Secure | None = None,
        known: Callable[[str], bool] = lambda address: False,
    ) -> None:
        """`known`: a system that the site names calls from there."""
        self.handler, self.on_oversize, self.on_truncated = handler, on_oversize, on_truncated
        self.limits, self.strict = limits, strict
        self.stopping = False
        self.port = port
        self.host = host
        self._gate = Gate(secure, self._accept, CHUNK, known) if secure else None
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], _Connection] = {}
        self.seats = Seats(limits.max_connections, limits.per_address, limits.open_frames)
        self.pace = LinePace(1)
        self.known = known if secure is None else lambda address: True  # by its certificate

    @property
    def accepting(self) -> bool:
        """The listener is open."""
        return self._server is not None and self._server.is_serving()

    async def start(self) -> None:
        """Bind; `port` then is the bound one. Raises OSError."""
        if self._gate is not None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self._gate, self.host, self.port, backlog=BACKLOG)
        else:
            self._server = await asyncio.start_server(self._accept, self.host, self.port, limit=CHUNK, backlog=BACKLOG)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self, grace: float) -> None:
        """Take no more connections, let running handlers answer for `grace` seconds, close everything."""
        self.stopping = True
        if self._server:
            self._server.close()
        for task in self._gate.tasks if self._gate else ():
            if task not in self._open:  # still in its handshake
                task.cancel()
        for connection in self._open.values():
            if not connection.busy:
                connection.close()
        if tasks := list(self._open):
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._server:
            await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connection = _Connection(self, reader, writer)
        refusal = "stopping" if self.stopping else self.seats.enter(connection)
        if refusal:
            telemetry.HL7_REFUSED.labels(refusal).inc()
            if (unwritten := self.pace.take(refusal)) is not None:
                log, peer = telemetry.logger().warning, connection.peer.host
                log("hl7.connections_full", peer=peer, reason=refusal, count=unwritten + 1)
            writer.close()
            return
        self._open[task] = connection
        telemetry.HL7_CONNECTIONS.inc()
        try:
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not connection.known:  # or the system keeps up to tcp_rmem of each, 6 MiB and more
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2 * CHUNK)
            await connection.run()
            await part(writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            del self._open[task]
            self.seats.leave(connection)
            telemetry.HL7_CONNECTIONS.dec()
            writer.close()
