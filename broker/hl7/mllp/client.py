"""MLLP client: one message, one answer, on a connection that stays open."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from broker.errors import PeerFault
from broker.hl7.mllp.framing import Frame, Framer, wrap
from broker.threads import ON_LOOP
from broker.tls import failure

MAX_ANSWER = 1024 * 1024
MAX_STRAY = 100  # frames that are no answer to our message, before we have enough of the peer


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where a connection goes; `server_name` is the name to expect in its certificate, empty for `host`."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    server_name: str = ""


class MllpClient:
    """A connection to a receiver. Any trouble closes it, so that a late answer never meets the next message."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._framer = Framer(MAX_ANSWER)

    @classmethod
    async def connect(
        cls, host: str, port: int, timeout: float = 10, tls: ssl.SSLContext | None = None, server_name: str = ""
    ) -> MllpClient:
        """Open a connection within `timeout` seconds. Raises PeerFault."""
        name = (server_name or host) if tls else None
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await asyncio.open_connection(host, port, ssl=tls, server_hostname=name)
        except (OSError, TimeoutError) as error:
            code = failure(error) if isinstance(error, ssl.SSLError) else "unreachable"
            raise PeerFault("the receiver cannot be reached", code=code) from None
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(reader, writer)

    @property
    def usable(self) -> bool:
        """Neither side has closed the connection, as far as we know."""
        return not self._writer.is_closing() and not self._reader.at_eof()

    async def exchange(self, message: bytes, timeout: float, answers: Callable[[bytes], bool] | None = None) -> bytes:
        """Send a message and return its answer (without framing).

        `answers` tells whether a frame is the answer to this message; others (late answers to earlier ones) are
        passed over. Without it exactly one frame must come. Raises PeerFault if none came within `timeout` seconds;
        the message may have been processed. After any error, and when the caller is cancelled, the connection ends.
        """
        answer: bytes | None = None
        try:
            async with asyncio.timeout(timeout):
                self._writer.write(wrap(message))
                await self._writer.drain()
                answer = await self._answer(answers)
        except (OSError, TimeoutError) as error:
            timed_out = isinstance(error, TimeoutError)
            raise PeerFault("no answer", code="no-answer" if timed_out else "connection-lost") from None
        finally:
            if answer is None:
                self.abort()
        return answer

    async def _answer(self, answers: Callable[[bytes], bool] | None) -> bytes:
        stray = 0
        while True:
            data = await self._reader.read(65536)
            items = self._framer.feed(data)
            if not data or (not items and self._framer.ended):
                items += self._framer.finish()
            for item in items:
                if not isinstance(item, Frame) or (answers is None and len(items) > 1) or stray >= MAX_STRAY:
                    raise PeerFault("the receiver does not answer one message with one answer", code="bad-answer")
                if answers is None or await _judged(answers, item.payload):
                    return item.payload
                stray += 1
            if not data:
                raise PeerFault("the receiver closed the connection without an answer", code="connection-lost")

    def abort(self) -> None:
        """End the connection at once."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except (OSError, TimeoutError):
            return

    async def __aenter__(self) -> MllpClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def _judged(answers: Callable[[bytes], bool], frame: bytes) -> bool:
    """Whether a frame is the answer; a long one is read in a thread."""
    return answers(frame) if len(frame) <= ON_LOOP else await asyncio.to_thread(answers, frame)
