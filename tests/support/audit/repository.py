"""A syslog receiver: TCP with octet counting, with TLS or without (RFC 5425, RFC 6587), or UDP (RFC 5426)."""

from __future__ import annotations

import asyncio
import re
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

HEAD = re.compile(
    rb"<(?P<priority>\d{1,3})>1 (?P<time>\S+) (?P<host>\S+) (?P<application>\S+) (?P<process>\S+) (?P<id>\S+) - "
    rb"\xef\xbb\xbf"
)


@dataclass
class AuditRepository:
    """What a repository has received. `refuses`: it closes each connection at once."""

    port: int = 0
    messages: list[bytes] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    connections: int = 0
    refuses: bool = False
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def take(self, message: bytes) -> None:
        head = HEAD.match(message)
        assert head is not None, message[:200]
        self.heads.append({name: value.decode() for name, value in head.groupdict().items()})
        self.messages.append(message[head.end() :])

    def cut(self) -> None:
        """End all connections."""
        for writer in self.writers:
            writer.transport.abort()


@asynccontextmanager
async def repository(tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[AuditRepository]:
    """A repository on a TCP port."""
    found = AuditRepository()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.connections += 1
        found.writers.add(writer)
        try:
            while not found.refuses:
                length = await reader.readuntil(b" ")
                assert length.strip().isdigit()
                found.take(await reader.readexactly(int(length)))
        except (asyncio.IncompleteReadError, OSError):
            return
        finally:
            found.writers.discard(writer)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=tls)
    found.port = server.sockets[0].getsockname()[1]
    async with server:
        yield found
        found.cut()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, found: AuditRepository) -> None:
        self._found = found

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._found.take(data)


@asynccontextmanager
async def datagram_repository() -> AsyncIterator[AuditRepository]:
    """A repository on a UDP port."""
    found = AuditRepository()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Datagrams(found), local_addr=("127.0.0.1", 0)
    )
    found.port = transport.get_extra_info("sockname")[1]
    yield found
    transport.close()


class RepositoryThread:
    """A TCP repository beside a test that waits for a program."""

    def __init__(self, port: int = 0) -> None:
        self.found = AuditRepository(port)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stopping: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()), daemon=True)

    async def _run(self) -> None:
        self._stopping = asyncio.Event()
        async with repository(port=self.found.port) as self.found:
            self._ready.set()
            await self._stopping.wait()

    def __enter__(self) -> AuditRepository:
        self._thread.start()
        assert self._ready.wait(20)
        return self.found

    def __exit__(self, *_: object) -> None:
        assert self._stopping is not None
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(20)
        self._loop.close()
