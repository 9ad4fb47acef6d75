"""What the fuzzer has found, each as the smallest conversation that shows it."""

from __future__ import annotations

import asyncio
import json
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.dicom import raw

from broker.dicom import uids
from broker.dicom.association.association import Association
from broker.dicom.association.user import Proposal, open_association
from broker.dicom.dimse.request import Request, Service
from broker.dicom.wire.connection import ConnectionLost, DeadlinePassed, PduConnection
from broker.errors import PeerFault
from broker.hl7.mllp.server import Limits, MllpServer, Peer
from broker.service.doors.web_gate import WebLimits
from broker.service.web import Server
from fuzz import acceptor_cases, http_door, requestor_cases
from fuzz import commands as c
from fuzz.conversations import ABORT, AC, COMMITMENT, CT, RELEASE_RP, RELEASE_RQ, WORKLIST
from fuzz.inline import InlineLoop, Stream, is_gone
from fuzz.tree import encode
from fuzz.virtual import Connection, VirtualLoop

IMPLICIT = uids.IMPLICIT_LE


def accept(sop_class: str) -> bytes:
    """An A-ASSOCIATE-AC for context 1."""
    request = raw.associate_rq([(sop_class, IMPLICIT)])
    context = raw.item(0x21, bytes((1, 0, 0, 0)) + raw.item(0x40, IMPLICIT.encode()))
    body = request[6:74] + raw.item(0x10, b"1.2.840.10008.3.1.1.1") + context
    return struct.pack(">BxI", AC, len(body)) + body


def short(kind: int) -> bytes:
    """A-RELEASE or A-ABORT."""
    return struct.pack(">BxI", kind, 4) + bytes(4)


def answered(field: int, status: int, *, data: bool = False) -> bytes:
    """The response to message 1."""
    return raw.p_data(1, encode(c.response(field, 1, status, data=data)), is_command=True)


def user(sop_class: str, replies: list[bytes], act: Callable[[Association], Awaitable[None]]) -> float:
    """Let our user side act with a peer that answers so; virtual seconds until it was done."""
    loop = VirtualLoop()
    waiting = iter(replies)

    def dial(protocol: asyncio.BaseProtocol) -> Connection:
        connection = Connection(protocol)  # type: ignore[arg-type]

        def heard() -> None:
            if reply := next(waiting, b""):
                connection.arrive(reply)

        connection.heard = heard
        return connection

    async def work() -> float:
        association = await open_association(requestor_cases.REMOTE, [Proposal(sop_class, (IMPLICIT,))])
        try:
            async with asyncio.timeout(100):
                await act(association)
        finally:
            took = loop.time()
            association.abort()
            await association.gone()
            await asyncio.sleep(0.1)
        return took

    loop.dial = dial
    try:
        return loop.run_until_complete(work())
    finally:
        loop.close()


def test_ds14_nothing_follows_an_abort() -> None:
    """A handler that was still at work after the peer's fault answered behind our A-ABORT (PS3.8 9.2, Sta13)."""

    async def slow(request: Request) -> None:
        await asyncio.sleep(1)
        with pytest.raises(ConnectionLost):
            await request.respond(0)
        done.append(True)
        raise ConnectionLost("as in the product")

    done: list[bool] = []
    echo = raw.p_data(1, encode(c.request(c.ECHO, uids.VERIFICATION, "", 1, data=False)), is_command=True)
    loop = VirtualLoop()

    async def talk() -> bytes:
        provider = acceptor_cases.provider()
        service = Service(frozenset({uids.VERIFICATION}), uids.first_of(IMPLICIT), {c.ECHO: slow})
        provider._services[uids.VERIFICATION] = service
        wire = PduConnection(max_data=16384, send_timeout=5, on_connect=provider._connected)
        connection = Connection(wire)
        connection.arrive(raw.associate_rq([(uids.VERIFICATION, IMPLICIT)]) + echo + short(RELEASE_RP))
        await wire.closed
        return bytes(connection.said)

    try:
        said = loop.run_until_complete(talk())
    finally:
        loop.close()
    assert acceptor_cases.answers(said) == []
    assert said[-10] == ABORT
    assert done


@pytest.mark.parametrize("status", [0xFF00, 0xFF01])
def test_ds14_a_pending_response_to_a_store_ends_the_association(status: int) -> None:
    """It was taken for the answer and its place in the window was never free again: the next C-STORE hung for ever."""

    async def store(association: Association) -> None:
        context = association.context(CT)
        assert context is not None
        with pytest.raises(PeerFault) as fault:
            await association.store(context, "2.999.1", b"")
        assert fault.value.code == "unexpected-pending"
        with pytest.raises(PeerFault):
            await association.store(context, "2.999.2", b"")

    assert user(CT, [accept(CT), answered(c.STORE, status)], store) < 1


def test_ds14_a_cancelled_query_that_is_never_answered_ends_the_association() -> None:
    """It kept its place in the window: the next request of the association hung for ever."""

    async def find(association: Association) -> None:
        found = association.find(WORKLIST, b"")
        async for _ in found:
            break
        await found.aclose()  # type: ignore[attr-defined]
        with pytest.raises(PeerFault):
            await association.find(WORKLIST, b"").__anext__()

    identifier = raw.p_data(1, b"", is_command=False)
    replies = [accept(WORKLIST), answered(c.FIND, 0xFF00, data=True) + identifier]
    assert user(WORKLIST, replies, find) <= requestor_cases.REMOTE.response_timeout + 1


def test_ds14_the_end_inside_the_last_response_is_told_at_once() -> None:
    """The caller waited for its response timer, although nothing could come any more."""

    async def store(association: Association) -> None:
        context = association.context(CT)
        assert context is not None
        with pytest.raises(PeerFault) as fault:
            await association.store(context, "2.999.1", b"")
        assert not isinstance(fault.value, DeadlinePassed)

    assert user(CT, [accept(CT), answered(c.STORE, 0, data=True) + short(ABORT)], store) < 1


@pytest.mark.parametrize("after", ["release", "reset"])
def test_ds14_a_handler_that_waits_for_the_peer_is_told_of_its_end(after: str) -> None:
    """A peer that has asked for release answers no more; loop and handler waited for each other."""
    loop = VirtualLoop()
    action = encode(c.request(c.ACTION, COMMITMENT, "2.999.1", 1, data=False, type_id=acceptor_cases.ASKS_BACK))

    async def talk() -> float:
        provider = acceptor_cases.provider()
        connection = Connection(PduConnection(max_data=16384, send_timeout=5, on_connect=provider._connected))
        connection.arrive(raw.associate_rq([(COMMITMENT, IMPLICIT)]) + raw.p_data(1, action, is_command=True))
        await asyncio.sleep(0.1)
        connection.arrive(short(RELEASE_RQ))
        await asyncio.sleep(0.1)
        if after == "reset":
            connection.end(reset=True)
        await connection.over.wait()
        took = loop.time()
        connection.end()
        await asyncio.gather(*provider._sessions.values())
        return took if after == "release" else loop.time()

    try:
        assert loop.run_until_complete(talk()) < 1
    finally:
        loop.close()


def test_a_peer_that_closes_its_side_and_reads_nothing_is_cut_off() -> None:
    """The transport closes by itself then, with our answer unsent: somebody must end that wait."""

    async def work() -> None:
        target = acceptor_cases.provider()
        limits = acceptor_cases.LIMITS
        wire = PduConnection(max_data=limits.max_pdu, send_timeout=limits.pdu_timeout, on_connect=target._connected)
        connection = Connection(wire, reads=10)
        connection.arrive(raw.associate_rq([(uids.VERIFICATION, IMPLICIT)]))
        await asyncio.sleep(acceptor_cases.SETTLED)
        connection.end()
        async with asyncio.timeout(acceptor_cases.GIVES_UP):
            await wire.closed
        await asyncio.gather(*target._sessions.values())

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work())


def test_a_sender_that_reads_no_answer_does_not_keep_its_connection() -> None:
    """A transport that was closed waited for the peer to read the rest, for ever, and no limit counted it."""

    async def answer(raw: bytes, peer: Peer) -> bytes:
        return b"MSH|^~\\&|" + b"x" * 1000

    async def work() -> None:
        loop = asyncio.get_running_loop()
        limits = Limits(frame_timeout=5, first_timeout=5)
        server = MllpServer("127.0.0.1", 0, answer, on_oversize=answer, on_truncated=answer, limits=limits)
        for count, end in ((1, True), (1, False), (100, False)):
            protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=loop), server._accept, loop)
            connection = Stream(protocol, reads=10)  # type: ignore[arg-type]
            connection.arrive(b"\x0bMSH|\r\x1c\r" * count)
            await asyncio.sleep(1)
            if end:
                connection.end()
            await asyncio.sleep(20)
            assert connection.gone
            assert not server._open

    with asyncio.Runner(loop_factory=InlineLoop) as runner:
        runner.run(work())


async def talk(*requests: bytes, reads: int = 0) -> bytes:
    """What the web door says to pieces that come one after the other; the connection must end by itself."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5000")]})
        await send({"type": "http.response.body", "body": b"x" * 5000})

    server = Server(app, WebLimits())._server
    server.config.load()
    loop = asyncio.get_running_loop()
    made = server.config.http_protocol_class(
        config=server.config, server_state=server.server_state, app_state={}, _loop=loop
    )
    connection = Stream(made, reads=reads)  # type: ignore[arg-type]
    for request in requests:
        connection.arrive(request)
        await asyncio.sleep(1)
    assert await is_gone(connection)
    return bytes(connection.said)


def web(*requests: bytes, reads: int = 0) -> bytes:
    """The same on a loop of its own."""
    with asyncio.Runner(loop_factory=InlineLoop) as runner:
        return runner.run(talk(*requests, reads=reads))


def test_a_client_that_reads_no_answer_does_not_keep_its_connection() -> None:
    """A transport that was closed after the silence of its peer waited for it for ever."""
    web(b"GET / HTTP/1.1\r\nHost: b\r\n\r\n", reads=100)


def test_what_is_no_http_is_answered_by_a_problem() -> None:
    """It was plain text, as of no other refusal."""
    said = web(b"\x16\x03\x01\x02\r\n\r\n")
    ((status, headers, body),) = http_door.answers(said, head=False)
    assert (status, headers[b"content-type"], json.loads(body)["status"]) == (400, b"application/problem+json", 400)
    assert web(b"GET / HTTP/1.1\r\nHost: b\r\n\r\n", b"x y z\r\n\r\n").count(b"HTTP/1.1 ") == 2


def test_what_is_no_http_behind_a_request_ends_the_connection() -> None:
    """It was read when the answer to the request was complete, and its end had no deadline."""
    said = web(b"GET / HTTP/1.1\r\nHost: b\r\n\r\nPOST / HTTP/1.1\r\nHost: b\r\nContent-Length: +5\r\n\r\nhello")
    assert said.count(b"HTTP/1.1 ") == 2


def test_a_body_in_chunks_of_one_byte_does_not_hold_the_loop() -> None:
    """What one read of the socket gave was read in one turn of the loop: 250 KB took a third of a second."""
    loop = InlineLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        head = b"POST / HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n"
        started = time.thread_time()
        said = runner.run(talk(head, b"1\r\nx\r\n" * 42_000))
        whole = time.thread_time() - started
        assert said.startswith(b"HTTP/1.1 200 ")
        assert loop.held < whole / 4


def test_a_body_that_nobody_wants_is_read_to_its_end() -> None:
    """Or the client loses the answer, by a reset."""
    body = b"POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000
    assert web(body, b"GET / HTTP/1.1\r\nHost: b\r\n\r\n").count(b"HTTP/1.1 200 ") == 2


def test_a_sender_that_resets_before_its_answer_is_no_error() -> None:
    """uvloop raises RuntimeError for what is written then: each such sender was an error in the log."""

    async def slow(raw: bytes, peer: Peer) -> bytes:
        await asyncio.sleep(1)
        return b"MSH|^~\\&|"

    async def work() -> None:
        loop = asyncio.get_running_loop()
        server = MllpServer("127.0.0.1", 0, slow, on_oversize=slow, on_truncated=slow)
        protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=loop), server._accept, loop)
        connection = Stream(protocol)  # type: ignore[arg-type]
        connection.arrive(b"\x0bMSH|\r\x1c\r")
        await asyncio.sleep(0.5)
        connection.end(reset=True)
        await asyncio.sleep(10)
        assert not server._open

    with asyncio.Runner(loop_factory=InlineLoop) as runner, capture_logs() as logs:
        runner.run(work())
    assert [line["event"] for line in logs if line["log_level"] == "error"] == []
