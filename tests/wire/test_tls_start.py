"""The first moments of a TLS connection on both kinds of event loop: what comes before the handshake and behind it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop
from support.certificates import Authority, client
from support.dicom import raw
from support.service.secure import AC, HERE, IMPLICIT, VERIFICATION

from broker.dicom import uids
from broker.dicom.association.provider import Provider
from broker.dicom.dimse.request import Service
from broker.dicom.wire.admission import ConnectionOrigin, Rejection
from broker.dicom.wire.limits import AssociationLimits
from broker.dicom.wire.negotiation import AssociationRequest
from broker.tls import TlsContexts, TlsFiles


class Recorder:
    """Admits everybody."""

    def __init__(self) -> None:
        self.origins: list[ConnectionOrigin] = []

    def admit(self, request: AssociationRequest, origin: ConnectionOrigin) -> Rejection | None:
        self.origins.append(origin)
        return None


async def exchange(port: int, context: ssl.SSLContext, request: bytes) -> bytes:
    """A handshake whose last flight travels together with `request`; the first bytes of the answer."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    peer = context.wrap_bio(incoming, outgoing, server_hostname=HERE)
    reader, writer = await asyncio.open_connection(HERE, port)
    try:
        while True:
            try:
                peer.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await reader.read(65536))
        peer.write(request)
        writer.write(outgoing.read())
        while True:
            try:
                return peer.read(6)
            except ssl.SSLWantReadError:
                data = await reader.read(65536)
                assert data, "the connection ended without an answer"
                incoming.write(data)
    finally:
        writer.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_requests_of_any_size_may_come_right_behind_the_handshake(
    tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop], version: ssl.TLSVersion
) -> None:
    hospital = Authority(tmp_path)
    own, ct = hospital.issue("broker"), hospital.issue("ct01")
    context = client(ct, hospital.ca, version)
    admission = Recorder()
    contexts = TlsContexts(TlsFiles(own.certificate, own.key, hospital.ca), server=True, place="dicom.tls")
    verification = Service(frozenset({VERIFICATION}), uids.first_of(uids.IMPLICIT_LE), {})

    async def work() -> None:
        limits = AssociationLimits(association_request_timeout=5, pdu_timeout=5)
        provider = Provider(HERE, 0, admission=admission, services=[verification], limits=limits, tls=contexts)
        await provider.start()
        try:
            async with asyncio.timeout(30):
                # smaller than the first buffer, just filling it, and larger
                for bulk in (0, 8192 - 300, 8192, 16_384, 65_000):
                    request = padded(raw.associate_rq([(VERIFICATION, IMPLICIT)]), bulk)
                    assert (await exchange(provider.port, context, request))[0] == AC
        finally:
            await provider.stop(1)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(work())
    assert {origin.certificate for origin in admission.origins} == {ct.der}
    assert len(admission.origins) == 5


def padded(request: bytes, bulk: int) -> bytes:
    """The request with an item of `bulk` bytes that nobody knows, which an acceptor skips (PS3.8 9.3.1)."""
    body = request[6:] + (raw.item(0x7F, bytes(bulk)) if bulk else b"")
    return request[:2] + len(body).to_bytes(4, "big") + body
