"""The listening side over real sockets: well-behaved foreign peers, and peers that break every rule.

Names carry the ids of the reliability catalogue: UL upper layer, DM DIMSE messages.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs
from support import raw as wire
from support.loops import remains, run, standstill, takes, until
from support.objects import Encoded, ct_slice
from support.peers import association
from support.spool import spool_files
from support.tools import run as foreign

from broker import faults
from broker.dicom import command as cmd
from broker.dicom import status as st
from broker.dicom import uids
from broker.dicom.admission import Origin, Refusal
from broker.dicom.limits import Limits
from broker.dicom.negotiation import AssociationRequest
from broker.dicom.provider import Provider
from broker.dicom.request import Request, Service
from broker.dicom.wire import ConnectionLost, DeadlinePassed, Wire
from broker.errors import BadContent, SpoolUnavailable
from broker.routing.reception import Reception
from broker.routing.rules import parse_rules
from broker.routing.scp import StorageService
from broker.site.directory import Directory, NodeAdmission
from broker.site.nodes import parse_nodes
from broker.store import instances
from broker.store.database import Database
from broker.store.spool import Spool

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
WORKLIST = uids.MODALITY_WORKLIST
RQ, AC, RJ, DATA, RELEASE_RQ, RELEASE_RP, ABORT, CLOSED = 1, 2, 3, 4, 5, 6, 7, 0
Handler = Callable[[Request], Awaitable[None]]


class Anybody:
    def admit(self, request: AssociationRequest, origin: Origin) -> Refusal | None:
        return None


async def echo(request: Request) -> None:
    await request.respond(st.SUCCESS)


VERIFICATION = Service(
    frozenset({uids.VERIFICATION}), uids.first_of(uids.EXPLICIT_LE, uids.IMPLICIT_LE), {cmd.C_ECHO_RQ: echo}
)


def storage(handler: Handler) -> Service:
    return Service(frozenset({CT, MR}), uids.for_storage, {cmd.C_STORE_RQ: handler})


def query(handler: Handler) -> Service:
    return Service(frozenset({WORKLIST}), uids.first_of(uids.IMPLICIT_LE), {cmd.C_FIND_RQ: handler})


def busy(provider: Provider) -> bool:
    """A handler runs."""
    return any(s._association is not None and s._association._desk.busy for s in provider._sessions)


@asynccontextmanager
async def serving(
    *services: Service, admission: Any = None, grace: float = 1, **limits: Any
) -> AsyncIterator[Provider]:
    made = Limits(**({"association_request_timeout": 5, "pdu_timeout": 5, "idle_timeout": 30} | limits))
    provider = Provider(
        "127.0.0.1", 0, admission=admission or Anybody(), services=[VERIFICATION, *services], limits=made
    )
    await provider.start()
    try:
        yield provider
    finally:
        await provider.stop(1)
        assert not provider._sessions
        assert not provider._half_open
        assert not provider._established


@dataclass
class Raw:
    """An asyncio peer that speaks bytes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    statuses: list[int] = field(default_factory=list)

    async def send(self, *parts: bytes) -> None:
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
    reader, writer = await asyncio.open_connection("127.0.0.1", provider.port, local_addr=(source, 0))
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def echo_rq(message_id: int = 1, context: int = 1) -> bytes:
    return wire.p_data(context, _message(cmd.C_ECHO_RQ, message_id, uids.VERIFICATION), is_command=True)


def _message(kind: int, message_id: int, sop_class: str, *, data: bool = False) -> bytes:
    return wire.command(
        wire.element(0x0002, sop_class.encode()), wire.element(0x0100, wire.us(kind)),
        wire.element(0x0110, wire.us(message_id)), wire.element(0x0800, wire.us(1 if data else 0x0101)),
    )  # fmt: skip


def find_rq(message_id: int = 1, identifier: bytes = b"") -> bytes:
    return wire.p_data(1, _message(cmd.C_FIND_RQ, message_id, WORKLIST, data=True), is_command=True) + wire.p_data(
        1, identifier, is_command=False
    )


def cancel_rq(message_id: int = 1) -> bytes:
    return wire.p_data(
        1,
        wire.command(
            wire.element(0x0100, wire.us(cmd.C_CANCEL_RQ)), wire.element(0x0120, wire.us(message_id)),
            wire.element(0x0800, wire.us(0x0101)),
        ),
        is_command=True,
    )  # fmt: skip


def store_rq(uid: str = "1.2.3", message_id: int = 1, sop_class: str = CT) -> bytes:
    return wire.p_data(1, wire.c_store_rq(sop_class, uid, message_id), is_command=True)


def rss() -> int:
    """Resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def assert_serves(provider: Provider, source: str = "127.0.0.1") -> None:
    """Others are not disturbed."""
    async with peer(provider, source=source) as other:
        await other.associate()
        await other.send(echo_rq())
        assert await other.status() == st.SUCCESS
        await other.send(b"\x05\0\0\0\0\x04\0\0\0\0")
        assert (await other.pdu())[0] == RELEASE_RP
        assert (await other.pdu())[0] == CLOSED


# --- foreign peers ---------------------------------------------------------------------------------------


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
            await modality.send(find_rq())
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


# --- negotiation -----------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("called", [b"WRONG", b"", b"broker", b"../other", b"BROKER\0X", b"BROKER2"])
def test_ul14_a_wrong_called_ae_title_is_rejected(called: bytes) -> None:
    async def work() -> None:
        admission = NodeAdmission(Directory(()), "BROKER", "any", lambda *_: None)
        async with serving(admission=admission) as provider, peer(provider) as modality:
            await modality.send(wire.associate_rq([(uids.VERIFICATION, uids.IMPLICIT_LE)], called=called))
            assert await modality.pdu() == (RJ, b"\0\1\1\7")
            assert (await modality.pdu())[0] == CLOSED

    run(work())


@pytest.mark.parametrize(
    "calling", [b" " * 16, b"\0" * 16, b"A\x1b[31mB", b"A\nB", b"M\xfcnchen", b"A\\B", b"A\0B", b"\x7f"]
)
@pytest.mark.parametrize("accept", ["any", "known"])
def test_ul11_a_calling_ae_title_that_cannot_be_is_rejected(calling: bytes, accept: Any) -> None:
    knocks: list[Any] = []

    async def work() -> None:
        admission = NodeAdmission(Directory(()), "BROKER", accept, lambda *who: knocks.append(who))
        async with serving(admission=admission) as provider, peer(provider) as modality:
            await modality.send(wire.associate_rq([(uids.VERIFICATION, uids.IMPLICIT_LE)], calling=calling))
            assert await modality.pdu() == (RJ, b"\0\1\1\3")

    run(work())
    assert knocks == []


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
    assert knocks == [("CT01", "127.0.0.2")]


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


# --- hostile connections ---------------------------------------------------------------------------------


def test_ul01_a_silent_connection_is_closed() -> None:
    async def work() -> None:
        async with serving(association_request_timeout=0.2) as provider, peer(provider) as silent:
            await assert_serves(provider)
            assert (await silent.ended())[0] in (ABORT, CLOSED)
            await until(lambda: not provider._sessions, "nothing is left")

    run(work())


@pytest.mark.parametrize("kind", [1, 4, 5, 9])
def test_ul04_a_huge_announced_length_costs_no_memory(kind: int) -> None:
    async def work() -> None:
        async with serving() as provider, peer(provider) as attacker:
            if kind != RQ:
                await attacker.associate()
            before = rss()
            await attacker.send(struct.pack(">BBI", kind, 0, 0xFFFFFFFF))
            block = bytes(1 << 20)
            with suppress(ConnectionError):
                for _ in range(40):
                    await attacker.send(block)
            assert (await attacker.ended())[0] in (ABORT, CLOSED)
            assert rss() - before < 4 << 20

    run(work())


def test_ul06_a_pdu_over_the_negotiated_length_is_aborted() -> None:
    async def work() -> None:
        async with serving(max_pdu=16384) as provider, peer(provider) as attacker:
            await attacker.associate()
            await attacker.send(struct.pack(">BBI", DATA, 0, 4 << 20))
            assert await attacker.ended() == (ABORT, bytes((0, 0, 2, 6)))

    run(work())


@pytest.mark.parametrize("part", [1, 5, 6, 20])
def test_ul07_half_a_pdu_is_ended_by_the_deadline(part: int) -> None:
    async def work() -> None:
        async with serving(pdu_timeout=0.2) as provider, peer(provider) as attacker:
            await attacker.associate()
            started = time.monotonic()
            await attacker.send(echo_rq()[:part])
            assert (await attacker.ended())[0] == ABORT
            assert time.monotonic() - started < 2
            await until(lambda: not provider._sessions, "nothing is left")

    run(work())


@pytest.mark.parametrize("associated", [True, False])
def test_ul08_dripping_bytes_does_not_extend_the_deadline(associated: bool) -> None:
    async def work() -> None:
        async with (
            serving(pdu_timeout=0.3, association_request_timeout=0.3) as provider,
            peer(provider) as attacker,
        ):
            if associated:
                await attacker.associate()
            bytes_to_drip = echo_rq() if associated else wire.associate_rq([(uids.VERIFICATION, uids.IMPLICIT_LE)])
            started = time.monotonic()

            async def drip() -> None:
                for byte in bytes_to_drip:
                    await attacker.send(bytes((byte,)))
                    await takes(0.02)

            dripping = asyncio.ensure_future(drip())
            await attacker.ended()
            assert time.monotonic() - started < 1.2
            dripping.cancel()

    run(work())


@pytest.mark.parametrize(("kind", "reason"), [(0x09, 1), (0x00, 1), (0x02, 2), (0x01, 2), (0x06, 2), (0x03, 2)])
def test_ul09_a_pdu_out_of_place_is_aborted_with_its_reason(kind: int, reason: int) -> None:
    async def work() -> None:
        async with serving() as provider, peer(provider) as attacker:
            await attacker.associate()
            await attacker.send(struct.pack(">BBI", kind, 0, 4) + bytes(4))
            assert await attacker.ended() == (ABORT, bytes((0, 0, 2, reason)))
            await assert_serves(provider)

    run(work())


@pytest.mark.parametrize("kind", [0x02, 0x03, 0x04, 0x05, 0x06])
def test_ul09_the_first_pdu_is_a_request(kind: int) -> None:
    async def work() -> None:
        async with serving() as provider, peer(provider) as attacker:
            await attacker.send(struct.pack(">BBI", kind, 0, 4) + bytes(4))
            assert (await attacker.ended())[0] == ABORT

    run(work())


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\0\0\0\x20\1\3abc", b"\0\0\0\0\1\3", b"\0\0\0\1\1\3", b"\xff\xff\xff\xff\1\3",
        b"\0\0\0\4\2\3ab", b"\0\0\0\4\3\3ab", b"\0\0\0\4\1\3ab", b"\0\0\0\4\1\2ab", b"\0\0\0\2\1\3",
    ],
)  # fmt: skip
def test_ul10_malformed_fragments_are_aborted(body: bytes) -> None:
    async def work() -> None:
        async with serving() as provider, peer(provider) as attacker:
            await attacker.associate()
            await attacker.send(struct.pack(">BBI", DATA, 0, len(body)) + body)
            assert await attacker.ended() == (ABORT, bytes((0, 0, 2, 6)))
            await assert_serves(provider)

    with capture_logs() as logs:
        run(work())
    assert not [line for line in logs if line["log_level"] in ("warning", "error")]


def test_ul16_half_open_sockets_of_one_address_do_not_keep_others_out() -> None:
    async def work() -> None:
        async with serving(half_open_per_address=20, association_request_timeout=10) as provider:
            sockets = [await asyncio.open_connection("127.0.0.1", provider.port) for _ in range(60)]
            await until(lambda: provider._half_open["127.0.0.1"] == 20, "the door is full for this address")
            assert len(provider._sessions) == 20
            await assert_serves(provider, "127.0.0.2")
            for _, writer in sockets:
                writer.close()
            await until(lambda: not provider._sessions, "all are gone")
            await assert_serves(provider)

    run(work())


def test_ul20_other_protocols_are_closed_with_one_log_line() -> None:
    async def work() -> None:
        async with serving() as provider:
            for hello in (
                b"GET / HTTP/1.1\r\n\r\n",
                b"\x16\x03\x01\x02\x00\x01\x00\x01",
                b"\x0bMSH|^~\\&|\x1c\r",
                b"\r\n",
            ):
                async with peer(provider) as stranger:
                    await stranger.send(hello + bytes(10))
                    await stranger.ended()
            for _ in range(30):
                async with peer(provider):
                    pass
            await until(lambda: not provider._sessions, "all are gone")
            await assert_serves(provider)

    with capture_logs() as logs:
        run(work())
    assert [line["event"] for line in logs if line["log_level"] != "debug"] == ["dicom.no_association"]
    assert "MSH" not in str(logs)


# --- requests --------------------------------------------------------------------------------------------


def test_requests_on_one_association_are_answered_in_order() -> None:
    async def work() -> None:
        async with serving() as provider, peer(provider) as modality:
            await modality.associate()
            await modality.send(*(echo_rq(n) for n in range(1, 200)))
            for number in range(1, 200):
                answer = await modality.command()
                assert (answer.responded_to, answer.status) == (number, st.SUCCESS)

    run(work())


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadContent("x", code="odd"), st.CANNOT_UNDERSTAND),
        (SpoolUnavailable(), st.OUT_OF_RESOURCES),
        (KeyError("Canary^Carl"), st.OUT_OF_RESOURCES),
        (TimeoutError("Canary^Carl"), st.OUT_OF_RESOURCES),
    ],
)
@pytest.mark.parametrize("drained", [True, False])
def test_a_handler_that_fails_is_answered_with_a_failure(error: Exception, status: int, drained: bool) -> None:
    async def broken(request: Request) -> None:
        if drained:
            await request.data.drain()
        raise error

    async def work() -> None:
        async with serving(storage(broken)) as provider, peer(provider) as modality:
            await modality.associate((CT, uids.EXPLICIT_LE))
            for number in (1, 2):  # the association survives
                await modality.send(store_rq(message_id=number))
                for _ in range(3):
                    await modality.send(wire.p_data(1, bytes(10_000), is_command=False, last=False))
                await modality.send(wire.p_data(1, b"", is_command=False))
                answer = await modality.command()
                assert (answer.responded_to, answer.status) == (number, status)
                assert "Canary" not in answer.text(cmd.ERROR_COMMENT)

    with capture_logs() as logs:
        run(work())
    assert "Canary" not in str(logs)


@pytest.mark.parametrize("field", [cmd.C_FIND_RQ, cmd.C_ECHO_RQ])
def test_a_handler_without_an_answer_is_a_failure(field: int) -> None:
    async def silent(request: Request) -> None:
        await request.data.drain()

    service = Service(frozenset({WORKLIST}), uids.first_of(uids.IMPLICIT_LE), {field: silent})

    async def work() -> None:
        async with serving(service) as provider, peer(provider) as modality:
            await modality.associate((WORKLIST, uids.IMPLICIT_LE))
            await modality.send(wire.p_data(1, _message(field, 1, WORKLIST), is_command=True))
            assert await modality.status() == (st.OUT_OF_RESOURCES if field == cmd.C_FIND_RQ else st.PROCESSING_FAILURE)

    run(work())


def test_a_handler_that_fails_after_pending_answers_gives_one_final_answer() -> None:
    async def broken(request: Request) -> None:
        await request.respond(st.PENDING, b"\x08\0\x05\0\0\0\0\0")
        raise LookupError

    async def work() -> None:
        async with serving(query(broken)) as provider, peer(provider) as modality:
            await modality.associate((WORKLIST, uids.IMPLICIT_LE))
            await modality.send(find_rq())
            assert await modality.status() == st.PENDING
            assert (await modality.pdu())[0] == DATA
            assert await modality.status() == st.OUT_OF_RESOURCES

    run(work())


def test_a_handler_that_fails_after_its_final_answer_sends_no_second_one() -> None:
    async def broken(request: Request) -> None:
        await request.data.drain()
        await request.respond(st.SUCCESS)
        raise LookupError

    async def work() -> None:
        async with serving(query(broken)) as provider, peer(provider) as modality:
            await modality.associate((WORKLIST, uids.IMPLICIT_LE))
            await modality.send(find_rq(1), find_rq(2))
            answers = [await modality.command() for _ in range(2)]
            assert [(a.responded_to, a.status) for a in answers] == [(1, 0), (2, 0)]

    run(work())


def test_a_cancel_reaches_the_running_query_and_no_other() -> None:
    async def endless(request: Request) -> None:
        await request.data.drain()
        count = 0
        while not request.cancelled:
            count += 1
            await request.respond(st.PENDING, b"\x08\0\x05\0\0\0\0\0")
            await asyncio.sleep(0)
            assert count < 100_000
        await request.respond(st.CANCEL)

    async def work() -> None:
        async with serving(query(endless)) as provider, peer(provider) as modality:
            await modality.associate((WORKLIST, uids.IMPLICIT_LE))
            await modality.send(cancel_rq(7))  # nothing runs: ignored
            await modality.send(find_rq(7))
            await modality.send(cancel_rq(6))  # another one: ignored
            assert await modality.status() == st.PENDING
            await modality.send(*[cancel_rq(7)] * 1000)  # DM-04
            final = 0
            while final != st.CANCEL:
                kind, body = await modality.pdu()
                assert kind == DATA
                position = 0
                while position < len(body):
                    (length,) = struct.unpack_from(">I", body, position)
                    if body[position + 5] & 1:
                        final = cmd.decode(body[position + 6 : position + 4 + length]).status
                    position += 4 + length

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
            await modality.send(find_rq(), b"\x05\0\0\0\0\x04\0\0\0\0")
            answering = asyncio.ensure_future(modality.pdu())
            await remains(lambda: not answering.done())
            go.set()
            assert (await answering)[0] == DATA
            assert (await modality.pdu())[0] == RELEASE_RP
            assert (await modality.pdu())[0] == CLOSED

    run(work())


@pytest.mark.parametrize("how", ["abort", "close", "reset"])
def test_ul17_a_connection_lost_during_a_data_set_reaches_the_handler(how: str) -> None:
    seen: list[BaseException] = []

    async def keep(request: Request) -> None:
        try:
            await request.data.read_all(1 << 24)
        except BaseException as error:
            seen.append(error)
            raise

    async def work() -> None:
        async with serving(storage(keep)) as provider, peer(provider) as modality:
            await modality.associate((CT, uids.EXPLICIT_LE))
            await modality.send(store_rq(), wire.p_data(1, bytes(5000), is_command=False, last=False))
            await until(lambda: busy(provider), "the handler runs")
            if how == "abort":
                await modality.send(b"\x07\0\0\0\0\x04\0\0\0\0")
            elif how == "close":
                modality.writer.close()
            else:
                modality.reset()
            await until(lambda: not provider._sessions, "the session has ended")
            await assert_serves(provider)

    with capture_logs() as logs:
        run(work())
    assert [type(error) for error in seen] == [ConnectionLost]
    assert not [line for line in logs if line["log_level"] == "error"]


def test_work_whose_data_has_arrived_is_finished_though_the_peer_left() -> None:
    """The object is here whole: keeping it costs nothing, and the next try of the sender is a duplicate."""
    go, done = asyncio.Event(), asyncio.Event()

    async def keep(request: Request) -> None:
        await request.data.read_all(1 << 20)
        await go.wait()
        done.set()
        await request.respond(st.SUCCESS)

    async def work() -> None:
        async with serving(storage(keep)) as provider, peer(provider) as modality:
            await modality.associate((CT, uids.EXPLICIT_LE))
            await modality.send(store_rq(), wire.p_data(1, bytes(5000), is_command=False))
            await until(lambda: busy(provider), "the handler runs")
            modality.reset()
            await remains(lambda: provider._sessions and not done.is_set())
            go.set()
            await done.wait()
            await until(lambda: not provider._sessions, "the session has ended")

    run(work())


@pytest.mark.parametrize("when", ["negotiation", "associated", "release"])
def test_ul17_resets_at_other_moments_end_clean(when: str) -> None:
    async def work() -> None:
        async with serving() as provider, peer(provider) as modality:
            if when == "negotiation":
                await modality.send(wire.associate_rq([(uids.VERIFICATION, uids.IMPLICIT_LE)])[:80])
            else:
                await modality.associate()
            if when == "release":
                await modality.send(b"\x05\0\0\0\0\x04\0\0\0\0")
            modality.reset()
            await until(lambda: not provider._sessions, "the session has ended")
            await assert_serves(provider)

    with capture_logs() as logs:
        run(work())
    assert not [line for line in logs if line["log_level"] == "error"]


def test_a_slow_handler_slows_the_sender_down() -> None:
    """Back-pressure: memory stays flat while a handler does not read."""
    go = asyncio.Event()
    total = 48 << 20

    async def lazy(request: Request) -> None:
        await go.wait()
        size = 0
        while part := await request.data.read(1 << 20):
            size += len(part)
        assert size == total
        await request.respond(st.SUCCESS)

    async def work() -> None:
        async with serving(storage(lazy)) as provider, peer(provider) as modality:
            await modality.associate((CT, uids.EXPLICIT_LE))
            before = rss()
            piece = wire.p_data(1, bytes(128 << 10), is_command=False, last=False)
            sent = 0

            async def send() -> None:
                nonlocal sent
                await modality.send(store_rq())
                while sent < total:
                    await modality.send(piece)
                    sent += 128 << 10
                await modality.send(wire.p_data(1, b"", is_command=False))

            sending = asyncio.ensure_future(send())
            await standstill(lambda: sent)
            assert sent < total // 2
            assert rss() - before < 16 << 20
            go.set()
            await sending
            assert await modality.status() == st.SUCCESS

    run(work())


def test_a_peer_that_does_not_read_is_given_up() -> None:
    ended: list[BaseException] = []

    async def talkative(request: Request) -> None:
        await request.data.drain()
        try:
            while True:
                await request.respond(st.PENDING, bytes(100_000))
        except BaseException as error:
            ended.append(error)
            raise

    async def work() -> None:
        async with serving(query(talkative), pdu_timeout=0.3) as provider, peer(provider) as modality:
            await modality.associate((WORKLIST, uids.IMPLICIT_LE))
            modality.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await modality.send(find_rq())
            await until(lambda: not provider._sessions, "the session has ended")

    run(work())
    assert [type(error) for error in ended] == [DeadlinePassed]


def test_an_unread_answer_does_not_keep_the_socket_open_for_ever() -> None:
    """A session that ends with bytes the peer never reads must not leave a descriptor behind."""

    async def work() -> None:
        loop = asyncio.get_running_loop()
        wires: list[Wire] = []
        server = await loop.create_server(
            lambda: Wire(max_data=16384, send_timeout=0.2, on_connect=wires.append), "127.0.0.1", 0
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


# --- time ------------------------------------------------------------------------------------------------


def test_an_idle_association_is_ended() -> None:
    async def work() -> None:
        async with serving(idle_timeout=0.2) as provider, peer(provider) as modality:
            await modality.associate()
            await modality.send(echo_rq())
            assert await modality.status() == st.SUCCESS
            started = time.monotonic()
            assert (await modality.ended())[0] == ABORT
            assert time.monotonic() - started < 2

    run(work())


def test_a_busy_handler_may_take_longer_than_the_idle_timeout() -> None:
    async def slow(request: Request) -> None:
        await request.data.drain()
        await takes(0.5)
        await request.respond(st.SUCCESS)

    async def work() -> None:
        async with serving(query(slow), idle_timeout=0.1, pdu_timeout=0.1) as provider, peer(provider) as modality:
            await modality.associate((WORKLIST, uids.IMPLICIT_LE))
            await modality.send(find_rq())
            assert await modality.status() == st.SUCCESS

    run(work())


def test_dm01_a_data_set_that_never_comes_is_ended() -> None:
    seen: list[str] = []

    async def keep(request: Request) -> None:
        try:
            await request.data.read_all(1 << 20)
        except ConnectionLost:
            seen.append("lost")
            raise

    async def work() -> None:
        async with serving(storage(keep), pdu_timeout=0.2) as provider, peer(provider) as modality:
            await modality.associate((CT, uids.EXPLICIT_LE))
            started = time.monotonic()
            await modality.send(store_rq())
            assert (await modality.ended())[0] == ABORT
            assert time.monotonic() - started < 2

    run(work())
    assert seen == ["lost"]


def test_a_command_inside_a_data_set_ends_the_association() -> None:
    """The handler waits for data, the association for the handler: without an end they would wait for ever."""

    async def keep(request: Request) -> None:
        await request.data.read_all(1 << 20)

    async def work() -> None:
        async with serving(storage(keep)) as provider, peer(provider) as attacker:
            await attacker.associate((CT, uids.EXPLICIT_LE), (uids.VERIFICATION, uids.IMPLICIT_LE))
            await attacker.send(store_rq(), wire.p_data(1, bytes(10), is_command=False, last=False), echo_rq(2, 3))
            assert (await attacker.ended())[0] == ABORT
            await until(lambda: not provider._sessions, "the session has ended")

    run(work(), 15)


@pytest.mark.parametrize("waits_for", ["data", "nothing"])
def test_stopping_lets_a_handler_finish(waits_for: str) -> None:
    async def slow(request: Request) -> None:
        await request.data.read_all(1 << 20)
        await takes(0.2)
        await request.respond(st.SUCCESS)

    async def work() -> None:
        async with serving(storage(slow)) as provider, peer(provider) as modality, peer(provider) as idle:
            await modality.associate((CT, uids.EXPLICIT_LE))
            await idle.associate()
            await modality.send(store_rq(), wire.p_data(1, bytes(10), is_command=False, last=waits_for == "nothing"))
            await until(lambda: busy(provider), "the handler runs")
            port = provider.port
            stopping = asyncio.ensure_future(provider.stop(5))
            assert (await idle.ended())[0] == ABORT
            if waits_for == "data":
                await modality.send(wire.p_data(1, bytes(10), is_command=False))
            assert await modality.status() == st.SUCCESS
            assert (await modality.ended())[0] == ABORT
            await stopping
            assert not provider.accepting
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)

    run(work())


def test_stopping_does_not_wait_longer_than_its_grace() -> None:
    cancelled = []

    async def hang(request: Request) -> None:
        await request.data.drain()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(1)
            raise

    async def work() -> None:
        async with serving(query(hang), pdu_timeout=20) as provider, peer(provider) as modality:
            await modality.associate((WORKLIST, uids.IMPLICIT_LE))
            await modality.send(find_rq())
            await until(lambda: busy(provider), "the handler runs")
            started = time.monotonic()
            await provider.stop(0.1)
            assert time.monotonic() - started < 2
            assert cancelled == [1]
            assert (await modality.ended())[0] in (ABORT, CLOSED)

    run(work(), 15)


def test_stopping_ends_connections_that_negotiate() -> None:
    async def work() -> None:
        async with serving() as provider, peer(provider) as slow, peer(provider):
            await slow.send(wire.associate_rq([(uids.VERIFICATION, uids.IMPLICIT_LE)])[:50])
            await until(lambda: len(provider._sessions) == 2, "both are there")
            started = time.monotonic()
            await provider.stop(3)
            assert time.monotonic() - started < 1

    run(work())


# --- commands --------------------------------------------------------------------------------------------


def test_dm02_an_endless_command_set_is_aborted() -> None:
    async def work() -> None:
        async with serving() as provider, peer(provider) as attacker:
            await attacker.associate()
            before = rss()
            piece = wire.p_data(1, bytes(60_000), is_command=True, last=False)
            with suppress(ConnectionError):
                for _ in range(200):
                    await attacker.send(piece)
            assert (await attacker.ended())[0] in (ABORT, CLOSED)
            assert rss() - before < 8 << 20

    run(work())


@pytest.mark.parametrize("field", [0x0099, 0x0021, 0x0100, 0x0000])
def test_dm02_an_unknown_command_is_answered_so(field: int) -> None:
    async def work() -> None:
        async with serving() as provider, peer(provider) as modality:
            await modality.associate()
            await modality.send(wire.p_data(1, _message(field, 9, uids.VERIFICATION), is_command=True), echo_rq(10))
            answer = await modality.command()
            assert (answer.field, answer.responded_to, answer.status) == (field | 0x8000, 9, st.UNRECOGNIZED_OPERATION)
            assert await modality.status() == st.SUCCESS

    run(work())


def test_a_response_to_nothing_ends_the_association() -> None:
    async def work() -> None:
        async with serving() as provider, peer(provider) as attacker:
            await attacker.associate()
            await attacker.send(wire.p_data(1, _message(0x8030, 1, uids.VERIFICATION), is_command=True))
            assert (await attacker.ended())[0] == ABORT

    run(work())


def test_dm03_pipelined_requests_are_taken_one_at_a_time() -> None:
    running = most = 0

    async def keep(request: Request) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await request.data.drain()
        await asyncio.sleep(0)
        running -= 1
        await request.respond(st.SUCCESS)

    async def work() -> None:
        async with serving(storage(keep)) as provider, peer(provider) as modality:
            await modality.associate((CT, uids.EXPLICIT_LE))
            before = rss()

            async def send() -> None:
                data = wire.p_data(1, bytes(50_000), is_command=False)
                for number in range(1, 301):
                    await modality.send(store_rq(message_id=number), data)

            sending = asyncio.ensure_future(send())
            for number in range(1, 301):
                answer = await modality.command()
                assert (answer.responded_to, answer.status) == (number, st.SUCCESS)
            await sending
            assert rss() - before < 16 << 20

    run(work())
    assert most == 1


def test_dm06_another_sop_class_than_the_context_is_refused() -> None:
    async def keep(request: Request) -> None:
        await request.data.drain()
        await request.respond(st.SUCCESS)

    async def work() -> None:
        async with serving(storage(keep)) as provider, peer(provider) as modality:
            await modality.associate((CT, uids.EXPLICIT_LE))
            await modality.send(store_rq(sop_class=MR), wire.p_data(1, b"ab", is_command=False))
            assert await modality.status() == st.SOP_CLASS_NOT_SUPPORTED
            await modality.send(store_rq(), wire.p_data(1, b"ab", is_command=False))
            assert await modality.status() == st.SUCCESS

    run(work())


def test_dm06_a_context_that_was_refused_cannot_be_used() -> None:
    async def work() -> None:
        async with serving() as provider, peer(provider) as attacker:
            await attacker.associate((CT, uids.EXPLICIT_LE), (uids.VERIFICATION, uids.IMPLICIT_LE))
            await attacker.send(store_rq(), wire.p_data(1, b"ab", is_command=False))
            assert (await attacker.ended())[0] == ABORT

    run(work())


# --- with the real storage service -----------------------------------------------------------------------


@dataclass
class Store:
    """A storage service over a real spool and database."""

    service: StorageService
    reception: Reception
    database: Database
    spool: Spool

    def files(self) -> list[Path]:
        return spool_files(self.spool.root)

    def states(self) -> dict[str, int]:
        return self.database.read(instances.counts).result(10)


@pytest.fixture
def store(tmp_path: Path) -> Any:
    database = Database(f"sqlite:///{tmp_path / 'broker.db'}")
    spool = Spool(tmp_path / "spool", ahead=0)
    reception = Reception(database, spool, parse_rules({}, set()), ZoneInfo("UTC"), lambda: None, small=0)
    made = Store(StorageService(reception), reception, database, spool)
    yield made
    made.service.close()
    database.close()


def pieces(item: Encoded, size: int = 16_000, *, last: bool = True) -> list[bytes]:
    parts = [item.data[start : start + size] for start in range(0, len(item.data), size)]
    return [
        wire.p_data(1, part, is_command=False, last=last and number == len(parts) - 1)
        for number, part in enumerate(parts)
    ]


@pytest.mark.parametrize("size", [64, 3_000_000])
def test_an_object_is_stored_before_it_is_answered(store: Store, size: int) -> None:
    item = ct_slice(size)

    async def work() -> None:
        async with serving(store.service.service()) as provider, peer(provider) as modality:
            await modality.associate((CT, uids.EXPLICIT_LE))
            await modality.send(store_rq(item.sop_instance), *pieces(item))
            assert await modality.status() == st.SUCCESS
            assert store.states() == {"held": 1}
            (file,) = store.files()
            assert file.read_bytes().endswith(item.data)

    run(work())


@pytest.mark.parametrize("how", ["abort", "reset", "silence", "command"])
@pytest.mark.parametrize("size", [5_000, 2_500_000])
def test_ul17_half_an_object_leaves_no_file(store: Store, how: str, size: int) -> None:
    item = ct_slice(size * 2)
    half = item.data[:size]

    async def work() -> None:
        async with serving(store.service.service(), pdu_timeout=0.5) as provider, peer(provider) as modality:
            await modality.associate((CT, uids.EXPLICIT_LE))
            await modality.send(
                store_rq(item.sop_instance),
                *(wire.p_data(1, half[n : n + 16_000], is_command=False, last=False) for n in range(0, size, 16_000)),
            )
            if size > 1 << 20:
                await until(store.files, "the spool file is open")
            if how == "abort":
                await modality.send(b"\x07\0\0\0\0\x04\0\0\0\0")
            elif how == "command":
                await modality.send(store_rq("1.2.4", 2))
            elif how == "reset":
                modality.reset()
            await until(lambda: not provider._sessions, "the session has ended")
            assert store.files() == []
            assert store.states() == {}

    run(work())


def test_an_object_that_is_cut_is_refused_and_the_association_goes_on(store: Store) -> None:
    item, good = ct_slice(2000), ct_slice(2000)

    async def work() -> None:
        async with serving(store.service.service()) as provider, peer(provider) as modality:
            await modality.associate((CT, uids.EXPLICIT_LE))
            await modality.send(store_rq(item.sop_instance), wire.p_data(1, item.data[:-100], is_command=False))
            assert await modality.status() == st.CANNOT_UNDERSTAND
            await modality.send(store_rq(good.sop_instance, 2), *pieces(good))
            assert await modality.status() == st.SUCCESS

    run(work())
    assert len(store.files()) == 1


def test_dm01_a_store_without_a_data_set_is_refused(store: Store) -> None:
    async def work() -> None:
        async with serving(store.service.service()) as provider, peer(provider) as modality:
            await modality.associate((CT, uids.EXPLICIT_LE))
            request = wire.c_store_rq(CT, "1.2.3").replace(
                wire.element(0x0800, wire.us(1)), wire.element(0x0800, wire.us(0x0101))
            )
            await modality.send(wire.p_data(1, request, is_command=True))
            assert await modality.status() == st.CANNOT_UNDERSTAND

    run(work())
    assert store.files() == []


def test_dm07_uids_that_differ_are_refused(store: Store) -> None:
    item = ct_slice(2000)

    async def work() -> None:
        async with serving(store.service.service()) as provider, peer(provider) as modality:
            await modality.associate((CT, uids.EXPLICIT_LE))
            await modality.send(store_rq("1.2.3"), *pieces(item))
            assert await modality.status() == st.DATASET_MISMATCH

    run(work())
    assert store.files() == []
    assert store.states() == {}


@pytest.mark.parametrize("uid", ["../../etc/x", "/etc/passwd", "1." + "2" * 63, "", "1.02.3", "1.2.3\0x", "1" * 3000])
def test_dm08_uids_that_cannot_be_are_refused(store: Store, uid: str) -> None:
    async def work() -> None:
        async with serving(store.service.service()) as provider, peer(provider) as modality:
            await modality.associate((CT, uids.EXPLICIT_LE))
            await modality.send(store_rq(uid), wire.p_data(1, ct_slice(100).data, is_command=False))
            assert await modality.status() == st.DATASET_MISMATCH
            await modality.send(store_rq(uid, 2), wire.p_data(1, b"x" * 3000, is_command=False))
            assert await modality.status() == st.DATASET_MISMATCH

    run(work())
    assert store.files() == []


@pytest.mark.parametrize("over", [0, 1, 500_000])
def test_an_object_over_the_limit_is_refused_after_its_last_byte(store: Store, over: int) -> None:
    item = ct_slice(600_000)

    async def work() -> None:
        limit = len(item.data) - over
        async with serving(store.service.service(), max_object=limit) as provider, peer(provider) as modality:
            await modality.associate((CT, uids.EXPLICIT_LE))
            *most, last = pieces(item)
            await modality.send(store_rq(item.sop_instance), *most)
            answering = asyncio.ensure_future(modality.status())
            await remains(lambda: not answering.done())
            await modality.send(last)
            assert await answering == (st.CANNOT_UNDERSTAND if over else st.SUCCESS)

    run(work())
    assert len(store.files()) == (0 if over else 1)


def test_a_full_disk_is_passing_trouble(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "_FILE", str(tmp_path / "faults"))
    (tmp_path / "faults").write_text("spool.write ENOSPC\n")
    item = ct_slice(2_000_000)

    async def work() -> None:
        async with serving(store.service.service()) as provider, peer(provider) as modality:
            await modality.associate((CT, uids.EXPLICIT_LE))
            await modality.send(store_rq(item.sop_instance), *pieces(item))
            assert await modality.status() == st.OUT_OF_RESOURCES
            (tmp_path / "faults").write_text("")
            await modality.send(store_rq(item.sop_instance, 2), *pieces(item))
            assert await modality.status() == st.SUCCESS

    run(work())
    assert len(store.files()) == 1
