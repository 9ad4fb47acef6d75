"""What the fuzzer has found, each as the smallest conversation that shows it (DS-14)."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable

import pytest
from support.dicom import raw

from broker.dicom import uids
from broker.dicom.association.association import Association
from broker.dicom.association.user import Proposal, open_association
from broker.dicom.dimse.request import Request, Service
from broker.dicom.wire.connection import ConnectionLost, DeadlinePassed, PduConnection
from broker.errors import PeerFault
from fuzz import acceptor_cases, requestor_cases
from fuzz import commands as c
from fuzz.conversations import ABORT, AC, COMMITMENT, CT, RELEASE_RP, RELEASE_RQ, WORKLIST
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
