"""A provider inside the test, and an asyncio peer of it that speaks bytes and may break every rule."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from broker.dicom import uids
from broker.dicom.association.provider import Provider
from broker.dicom.dimse import command as cmd
from broker.dicom.dimse import status as st
from broker.dicom.dimse.request import Request, Service
from broker.dicom.wire.admission import ConnectionOrigin, Rejection
from broker.dicom.wire.limits import AssociationLimits
from broker.dicom.wire.negotiation import AssociationRequest
from support.dicom import raw as wire
from support.dicom.raw import CT, RELEASE, WORKLIST

MR = "1.2.840.10008.5.1.4.1.1.4"
RQ, AC, RJ, DATA, RELEASE_RQ, RELEASE_RP, ABORT, CLOSED = 1, 2, 3, 4, 5, 6, 7, 0
Handler = Callable[[Request], Awaitable[None]]


class Anybody:
    """Lets everybody in."""

    def admit(self, request: AssociationRequest, origin: ConnectionOrigin) -> Rejection | None:
        """See Admission."""
        return None


async def echo(request: Request) -> None:
    """A handler that answers success."""
    await request.respond(st.SUCCESS)


VERIFICATION = Service(
    frozenset({uids.VERIFICATION}), uids.first_of(uids.EXPLICIT_LE, uids.IMPLICIT_LE), {cmd.C_ECHO_RQ: echo}
)


def storage(handler: Handler) -> Service:
    """A service of two storage SOP classes."""
    return Service(frozenset({CT, MR}), uids.for_storage, {cmd.C_STORE_RQ: handler})


def query(handler: Handler) -> Service:
    """A service of the worklist SOP class."""
    return Service(frozenset({WORKLIST}), uids.first_of(uids.IMPLICIT_LE), {cmd.C_FIND_RQ: handler})


def busy(provider: Provider) -> bool:
    """A handler runs."""
    return any(s._association is not None and s._association._server.busy for s in provider._sessions)


@asynccontextmanager
async def serving(
    *services: Service, admission: Any = None, known: Collection[str] = (), **limits: Any
) -> AsyncIterator[Provider]:
    """A running provider with short timers; afterwards it must have forgotten every connection.

    `known`: addresses of nodes.
    """
    made = AssociationLimits(**({"association_request_timeout": 5, "pdu_timeout": 5, "idle_timeout": 30} | limits))
    provider = Provider(
        "127.0.0.1", 0, admission=admission or Anybody(), services=[VERIFICATION, *services], limits=made,
        known=lambda address: address in known,
    )  # fmt: skip
    await provider.start()
    try:
        yield provider
    finally:
        await provider.stop(1)
        assert not provider._sessions
        assert not provider._entrance.half_open
        assert not provider._entrance.established
        assert not provider._entrance.seats.bytes
        assert not provider._entrance.seats._guests


@dataclass
class Raw:
    """An asyncio peer that speaks bytes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    statuses: list[int] = field(default_factory=list)

    async def send(self, *parts: bytes) -> None:
        """Send; a connection that has ended is no error."""
        self.writer.write(b"".join(parts))
        with suppress(ConnectionError):
            await self.writer.drain()

    async def pdu(self) -> tuple[int, bytes]:
        """The next PDU; (0, b"") when the peer closed or reset."""
        try:
            async with asyncio.timeout(10):
                header = await self.reader.readexactly(6)
                return header[0], await self.reader.readexactly(int.from_bytes(header[2:], "big"))
        except (asyncio.IncompleteReadError, ConnectionError):
            return CLOSED, b""

    async def associate(self, *pairs: tuple[str, str], **names: Any) -> bytes:
        """Ask for (SOP class, transfer syntax) pairs; body of the A-ASSOCIATE-AC."""
        await self.send(wire.associate_rq(pairs or [(uids.VERIFICATION, uids.IMPLICIT_LE)], **names))
        kind, body = await self.pdu()
        assert kind == AC, (kind, body)
        return body

    async def command(self) -> cmd.Command:
        """The next command set."""
        kind, body = await self.pdu()
        assert kind == DATA, (kind, body)
        (length,) = struct.unpack(">I", body[:4])
        assert body[5] & 1
        return cmd.decode(body[6 : 4 + length])

    async def status(self) -> int:
        """Status of the next response."""
        return (await self.command()).status

    async def ended(self) -> tuple[int, bytes]:
        """What ends the connection: the body of an A-ABORT, or nothing; then the connection is closed."""
        kind, body = await self.pdu()
        while kind == DATA:
            kind, body = await self.pdu()
        if kind == ABORT:
            assert (await self.pdu())[0] == CLOSED
        return kind, body

    def reset(self) -> None:
        """RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@asynccontextmanager
async def peer(provider: Provider, *, source: str = "127.0.0.1") -> AsyncIterator[Raw]:
    """A connection to it from a loopback address."""
    reader, writer = await asyncio.open_connection("127.0.0.1", provider.port, local_addr=(source, 0))
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def rss() -> int:
    """Resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def assert_serves(provider: Provider, source: str = "127.0.0.1") -> None:
    """Others are not disturbed."""
    async with peer(provider, source=source) as other:
        await other.associate()
        await other.send(wire.echo_rq())
        assert await other.status() == st.SUCCESS
        await other.send(RELEASE)
        assert (await other.pdu())[0] == RELEASE_RP
        assert (await other.pdu())[0] == CLOSED
