"""MLLP client: one message, one answer, on a connection that stays open."""

from __future__ import annotations

import asyncio
import socket
import ssl
from types import TracebackType

from broker.errors import PeerFault
from broker.hl7.framing import Frame, Framer, wrap

MAX_ANSWER = 1024 * 1024


class MllpClient:
    """A connection to a receiver. Any trouble closes it, so that a late answer never meets the next message."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._framer = Framer(MAX_ANSWER)

    @classmethod
    async def connect(cls, host: str, port: int, timeout: float = 10, tls: ssl.SSLContext | None = None) -> MllpClient:
        """Open a connection within `timeout` seconds. Raises PeerFault."""
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await asyncio.open_connection(host, port, ssl=tls)
        except (OSError, TimeoutError):
            raise PeerFault("the receiver cannot be reached", code="unreachable") from None
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(reader, writer)

    async def exchange(self, message: bytes, timeout: float) -> bytes:
        """Send a message and return its answer (without framing).

        Raises PeerFault if none came within `timeout` seconds; the message may have been processed.
        """
        try:
            async with asyncio.timeout(timeout):
                self._writer.write(wrap(message))
                await self._writer.drain()
                return await self._answer()
        except (OSError, TimeoutError) as error:
            await self.close()
            timed_out = isinstance(error, TimeoutError)
            raise PeerFault("no answer", code="no-answer" if timed_out else "connection-lost") from None
        except PeerFault:
            await self.close()
            raise

    async def _answer(self) -> bytes:
        while data := await self._reader.read(65536):
            items = self._framer.feed(data) or (self._framer.finish() if self._framer.ended else [])
            for item in items:
                if isinstance(item, Frame) and len(items) == 1:
                    return item.payload
                raise PeerFault("the receiver does not answer one message with one answer", code="bad-answer")
        for item in self._framer.finish():
            if isinstance(item, Frame):
                return item.payload
        raise PeerFault("the receiver closed the connection without an answer", code="no-answer")

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
