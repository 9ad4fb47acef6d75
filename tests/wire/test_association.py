"""Associations at the listening side: negotiation, limits, idleness, the orderly end."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.dicom import raw as wire
from support.dicom.objects import ct_slice
from support.dicom.provider import ABORT, CLOSED, DATA, RELEASE_RP, RJ, assert_serves, peer, query, serving, storage
from support.dicom.raw import CT, RELEASE, WORKLIST
from support.loops import SOON, remains, run, takes, until
from support.peers.peers import association
from support.peers.tools import run as foreign

from broker.dicom import uids
from broker.dicom.dimse import status as st
from broker.dicom.dimse.request import Request
from broker.dicom.wire.connection import PduConnection
from broker.site.directory import Directory, NodeAdmission
from broker.site.nodes import parse_nodes


def test_dcmtk_and_pynetdicom_echo() -> None:
    async def work() -> None:
        async with serving() as provider:
            done = await asyncio.to_thread(foreign, "echoscu", "-aec", "BROKER", "127.0.0.1", str(provider.port))
            assert done.returncode == 0, done.stdout

            def pynetdicom() -> int:
                with association(provider.port, [(uids.VERIFICATION, uids.IMPLICIT_LE)]) as assoc:
                    return int(assoc.send_c_echo().Status)

            assert await asyncio.to_thread(pynetdicom) == 0

    run(work())


def test_dcmtk_stores_what_the_handler_reads(tmp_path: Path) -> None:
    item = ct_slice(700_001)
    (tmp_path / "slice.dcm").write_bytes(item.part10())
    got: list[tuple[str, bytes]] = []

    async def keep(request: Request) -> None:
        got.append((request.command.sop_instance, await request.data.read_all(1 << 24)))
        await request.respond(st.SUCCESS)

    async def work() -> None:
        async with serving(storage(keep)) as provider:
            done = await asyncio.to_thread(
                foreign, "storescu", "-aec", "BROKER", "-R", "127.0.0.1", str(provider.port), tmp_path / "slice.dcm"
            )
            assert done.returncode == 0, done.stdout

    run(work())
    assert [uid for uid, _ in got] == [item.sop_instance]
    assert item.data[-700_000:] == got[0][1][-700_000:]


@pytest.mark.parametrize("max_length", [1024, 4096, 16384, 0])
def test_answers_respect_the_maximum_length_of_the_peer(max_length: int) -> None:
    big = bytes(range(256)) * 40

    async def answer(request: Request) -> None:
        await request.respond(st.PENDING, big)
        await request.respond(st.SUCCESS)

    async def work() -> None:
        async with serving(query(answer)) as provider, peer(provider) as modality:
            await modality.associate((WORKLIST, uids.IMPLICIT_LE), max_length=max_length)
            await modality.send(wire.find_rq())
            assert await modality.status() == st.PENDING
            data = b""
            while len(data) < len(big):
                kind, body = await modality.pdu()
                assert kind == DATA
                assert not max_length or len(body) <= max_length
                position = 0
                while position < len(body):
                    (length,) = struct.unpack_from(">I", body, position)
                    data += body[position + 6 : position + 4 + length]
                    position += 4 + length
            assert data == big
            assert await modality.status() == st.SUCCESS

    run(work())


def test_contexts_are_answered_one_by_one() -> None:
    async def keep(request: Request) -> None:
        raise AssertionError

    async def work() -> None:
        async with serving(storage(keep)) as provider, peer(provider) as modality:
            body = await modality.associate(
                (CT, uids.EXPLICIT_LE), ("1.2.3.4", uids.IMPLICIT_LE), (uids.VERIFICATION, "1.2.840.10008.1.2.4.50")
            )
            results = [(piece[0], piece[2]) for piece in body.split(b"\x21\x00")[1:] for piece in [piece[2:]]]
            assert results == [(1, 0), (3, 3), (5, 4)]

    run(work())


def test_ul12_a_known_title_from_another_address_is_rejected_and_noted() -> None:
    knocks: list[tuple[str, str]] = []
    nodes = parse_nodes([{"name": "ct", "kind": "dicom", "ae_title": "CT01", "host": "127.0.0.1"}])

    async def work() -> None:
        admission = NodeAdmission(Directory(nodes), "BROKER", "known", lambda *who: knocks.append(who))
        async with serving(admission=admission) as provider:
            async with peer(provider) as good:
                await good.associate(calling=b"CT01")
            async with peer(provider, source="127.0.0.2") as bad:
                await bad.send(wire.associate_rq([(uids.VERIFICATION, uids.IMPLICIT_LE)], calling=b"CT01"))
                assert await bad.pdu() == (RJ, b"\0\1\1\3")

    run(work())
    assert knocks == [("CT01", "127.0.0.2", [uids.VERIFICATION], "")]


def test_another_application_context_is_rejected() -> None:
    async def work() -> None:
        async with serving() as provider, peer(provider) as modality:
            request = wire.associate_rq([(uids.VERIFICATION, uids.IMPLICIT_LE)])
            await modality.send(request.replace(b"1.2.840.10008.3.1.1.1", b"1.2.840.10008.3.1.1.9"))
            assert await modality.pdu() == (RJ, b"\0\1\1\2")

    run(work())


def test_more_associations_than_allowed_are_rejected_for_now() -> None:
    async def work() -> None:
        async with serving(associations_per_address=2, associations=3) as provider:
            async with peer(provider) as one, peer(provider) as two, peer(provider) as three:
                await one.associate()
                await two.associate()
                await three.send(wire.associate_rq([(uids.VERIFICATION, uids.IMPLICIT_LE)]))
                assert await three.pdu() == (RJ, b"\0\2\3\2")
                await assert_serves(provider, "127.0.0.2")
                async with peer(provider, source="127.0.0.2") as four, peer(provider, source="127.0.0.3") as five:
                    await four.associate()
                    await five.send(wire.associate_rq([(uids.VERIFICATION, uids.IMPLICIT_LE)]))
                    assert await five.pdu() == (RJ, b"\0\2\3\2")
            await until(lambda: not provider._sessions, "all are gone")
            await assert_serves(provider)

    run(work())


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: body[:60],
        lambda body: body[:-1],
        lambda body: body.replace(b"\x20\0", b"\x20\0\xff\xff", 1),
        lambda body: body[:74] + b"\x20\0\0\x01\x01" + body[74:],
        lambda body: body.replace(b"1.2.840.10008.1.1", b"1.2.840.10008.1.\xfc"),
    ],
)
def test_a_malformed_request_is_aborted_and_no_defect(damage: Callable[[bytes], bytes]) -> None:
    async def work() -> None:
        async with serving() as provider, peer(provider) as modality:
            body = damage(wire.associate_rq([(uids.VERIFICATION, uids.IMPLICIT_LE)])[6:])
            await modality.send(struct.pack(">BBI", 1, 0, len(body)) + body)
            kind, _ = await modality.ended()
            assert kind == ABORT

    with capture_logs() as logs:
        run(work())
    assert not [line for line in logs if line["log_level"] in ("warning", "error")]


def test_an_idle_association_is_ended() -> None:
    async def work() -> None:
        async with serving(idle_timeout=0.2) as provider, peer(provider) as modality:
            await modality.associate()
            await modality.send(wire.echo_rq())
            assert await modality.status() == st.SUCCESS
            started = time.monotonic()
            assert (await modality.ended())[0] == ABORT
            assert time.monotonic() - started < SOON

    run(work())


def test_a_busy_handler_may_take_longer_than_the_idle_timeout() -> None:
    async def slow(request: Request) -> None:
        await request.data.drain()
        await takes(0.5)
        await request.respond(st.SUCCESS)

    async def work() -> None:
        async with serving(query(slow), idle_timeout=0.1, pdu_timeout=0.1) as provider, peer(provider) as modality:
            await modality.associate((WORKLIST, uids.IMPLICIT_LE))
            await modality.send(wire.find_rq())
            assert await modality.status() == st.SUCCESS

    run(work())


def test_a_release_waits_for_the_answer() -> None:
    go = asyncio.Event()

    async def slow(request: Request) -> None:
        await request.data.drain()
        await go.wait()
        await request.respond(st.SUCCESS)

    async def work() -> None:
        async with serving(query(slow)) as provider, peer(provider) as modality:
            await modality.associate((WORKLIST, uids.IMPLICIT_LE))
            await modality.send(wire.find_rq(), RELEASE)
            answering = asyncio.ensure_future(modality.pdu())
            await remains(lambda: not answering.done())
            go.set()
            assert (await answering)[0] == DATA
            assert (await modality.pdu())[0] == RELEASE_RP
            assert (await modality.pdu())[0] == CLOSED

    run(work())


def test_an_unread_answer_does_not_keep_the_socket_open_for_ever() -> None:
    """A session that ends with bytes the peer never reads must not leave a descriptor behind."""

    async def work() -> None:
        loop = asyncio.get_running_loop()
        wires: list[PduConnection] = []
        server = await loop.create_server(
            lambda: PduConnection(max_data=16384, send_timeout=0.2, on_connect=wires.append), "127.0.0.1", 0
        )
        port = server.sockets[0].getsockname()[1]
        with socket.socket() as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await asyncio.to_thread(lazy.connect, ("127.0.0.1", port))
            await until(lambda: wires, "the connection stands")
            (one,) = wires
            assert one.transport is not None
            one.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            await one.write(bytes(900_000))
            one.close()
            async with asyncio.timeout(3):
                await one.closed
        server.close()

    run(work())
