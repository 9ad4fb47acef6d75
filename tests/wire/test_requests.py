"""Requests and their handlers at the listening side: order, failures, cancellation, back-pressure."""

from __future__ import annotations

import asyncio
import struct

import pytest
from structlog.testing import capture_logs
from support.dicom import raw as wire
from support.dicom.provider import ABORT, DATA, busy, peer, query, rss, serving, storage
from support.dicom.raw import CT, WORKLIST
from support.loops import remains, run, standstill, until

from broker.dicom import uids
from broker.dicom.dimse import command as cmd
from broker.dicom.dimse import status as st
from broker.dicom.dimse.request import Request, Service
from broker.dicom.wire.connection import DeadlinePassed
from broker.errors import BadContent, SpoolUnavailable


def test_requests_on_one_association_are_answered_in_order() -> None:
    async def work() -> None:
        async with serving() as provider, peer(provider) as modality:
            await modality.associate()
            await modality.send(*(wire.echo_rq(n) for n in range(1, 200)))
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
                await modality.send(wire.store_rq(message_id=number))
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
            await modality.send(wire.p_data(1, wire.message(field, 1, WORKLIST), is_command=True))
            assert await modality.status() == (st.OUT_OF_RESOURCES if field == cmd.C_FIND_RQ else st.PROCESSING_FAILURE)

    run(work())


def test_a_handler_that_fails_after_pending_answers_gives_one_final_answer() -> None:
    async def broken(request: Request) -> None:
        await request.respond(st.PENDING, b"\x08\0\x05\0\0\0\0\0")
        raise LookupError

    async def work() -> None:
        async with serving(query(broken)) as provider, peer(provider) as modality:
            await modality.associate((WORKLIST, uids.IMPLICIT_LE))
            await modality.send(wire.find_rq())
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
            await modality.send(wire.find_rq(1), wire.find_rq(2))
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
            await modality.send(wire.cancel_rq(7))  # nothing runs: ignored
            await modality.send(wire.find_rq(7))
            await modality.send(wire.cancel_rq(6))  # another one: ignored
            assert await modality.status() == st.PENDING
            await modality.send(*[wire.cancel_rq(7)] * 1000)  # DM-04
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


def test_a_cancel_stops_answers_that_are_sent_many_at_once() -> None:
    sent = []

    async def many(request: Request) -> None:
        await request.data.drain()
        sent.append(await request.respond_all(st.PENDING, [bytes(4000)] * 20_000))
        await request.respond(st.CANCEL if request.cancelled else st.SUCCESS)

    async def work() -> None:
        async with serving(query(many)) as provider, peer(provider) as modality:
            await modality.associate((WORKLIST, uids.IMPLICIT_LE))
            await modality.send(wire.find_rq(7))
            assert await modality.status() == st.PENDING
            await modality.send(wire.cancel_rq(7))
            data, final = 0, st.PENDING
            while final == st.PENDING:
                kind, body = await modality.pdu()
                assert kind == DATA
                if body[5] & 1:
                    final = cmd.decode(bytes(body[6:])).status
                else:
                    data += len(body) - 6
            assert final == st.CANCEL
            assert sent == [data // 4000]  # nothing is cut, and nothing follows
            assert 0 < sent[0] < 20_000

    run(work())


def test_a_response_to_nothing_ends_the_association() -> None:
    async def work() -> None:
        async with serving() as provider, peer(provider) as attacker:
            await attacker.associate()
            await attacker.send(wire.p_data(1, wire.message(0x8030, 1, uids.VERIFICATION), is_command=True))
            assert (await attacker.ended())[0] == ABORT

    run(work())


def test_a_command_inside_a_data_set_ends_the_association() -> None:
    """The handler waits for data, the association for the handler: without an end they would wait for ever."""

    async def keep(request: Request) -> None:
        await request.data.read_all(1 << 20)

    async def work() -> None:
        async with serving(storage(keep)) as provider, peer(provider) as attacker:
            await attacker.associate((CT, uids.EXPLICIT_LE), (uids.VERIFICATION, uids.IMPLICIT_LE))
            half = wire.p_data(1, bytes(10), is_command=False, last=False)
            await attacker.send(wire.store_rq(), half, wire.echo_rq(2, 3))
            assert (await attacker.ended())[0] == ABORT
            await until(lambda: not provider._sessions, "the session has ended")

    run(work(), 15)


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
            await modality.send(wire.store_rq(), wire.p_data(1, bytes(5000), is_command=False))
            await until(lambda: busy(provider), "the handler runs")
            modality.reset()
            await remains(lambda: provider._sessions and not done.is_set())
            go.set()
            await done.wait()
            await until(lambda: not provider._sessions, "the session has ended")

    run(work())


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
                await modality.send(wire.store_rq())
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
            await modality.send(wire.find_rq())
            await until(lambda: not provider._sessions, "the session has ended")

    run(work())
    assert [type(error) for error in ended] == [DeadlinePassed]
