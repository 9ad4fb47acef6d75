"""The calling side: against pynetdicom, and against scripted peers that break their promises."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from support import loops
from support.dicom.objects import ct_slice
from support.loops import SOON, standstill, takes, until
from support.peers.tools import free_port

from broker import telemetry
from broker.dicom import uids
from broker.dicom.association.association import Association
from broker.dicom.association.user import Proposal, Remote, associate
from broker.dicom.dimse import command as cmd
from broker.dicom.dimse import status as st
from broker.dicom.dimse.invocation import MAX_ANSWER
from broker.dicom.wire import negotiation as neg
from broker.dicom.wire import pdu
from broker.dicom.wire.connection import DeadlinePassed
from broker.errors import PeerFault

CT = "1.2.840.10008.5.1.4.1.1.2"
WORKLIST = uids.MODALITY_WORKLIST
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def run(work: Coroutine[Any, Any, None], seconds: float = 20) -> None:
    open_before = telemetry.ASSOCIATIONS.labels("user")._value.get()
    loops.run(work, seconds)
    assert telemetry.ASSOCIATIONS.labels("user")._value.get() == open_before


@contextmanager
def pynetdicom(handlers: list[Any], *contexts: tuple[str, list[str]], **options: Any) -> Iterator[Remote]:
    """A foreign SCP in threads."""
    ae = AE(ae_title="PACS")
    for name, value in options.items():
        setattr(ae, name, value)
    for abstract, syntaxes in contexts:
        ae.add_supported_context(abstract, syntaxes)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield Remote("127.0.0.1", server.server_address[1], "PACS", "BROKER", connect_timeout=5, response_timeout=5)
    finally:
        server.shutdown()


@asynccontextmanager
async def scripted(script: Script, **times: float) -> AsyncIterator[Remote]:
    """A peer that does what its script says."""
    failures: list[BaseException] = []
    running: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except Exception as error:
            failures.append(error)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    limits = {"connect_timeout": 5.0, "response_timeout": 5.0} | times
    try:
        yield Remote("127.0.0.1", port, "PACS", "BROKER", **limits)
    finally:
        server.close()
        if running:
            _, late = await asyncio.wait(running, timeout=3)
            assert not late
    assert failures == []


async def read_pdu(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    header = await reader.readexactly(6)
    return header[0], await reader.readexactly(int.from_bytes(header[2:], "big"))


async def accept(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, max_length: int = 16384, result: int = 0
) -> None:
    kind, body = await read_pdu(reader)
    assert kind == pdu.ASSOCIATE_RQ
    request = neg.decode_request(body)
    results = tuple(neg.ContextResult(c.id, result, c.transfer_syntaxes[0]) for c in request.contexts)
    user = neg.UserInformation(max_length, "1.2.3", "SCRIPT")
    writer.write(neg.encode_accept(neg.AssociationAccept(request.called_ae, request.calling_ae, results, user)))


async def request_of(reader: asyncio.StreamReader) -> tuple[cmd.Command, bytes]:
    """A whole request: command and data set."""
    command, data, due = None, b"", True
    while due:
        kind, body = await read_pdu(reader)
        assert kind == pdu.P_DATA, kind
        for fragment in pdu.fragments(memoryview(body)):
            if fragment.is_command:
                command = cmd.decode(bytes(fragment.data))
                due = command.has_data
            else:
                data += fragment.data
                due = not fragment.is_last
    assert command is not None
    return command, data


def answer(request: cmd.Command, status: int, data: bytes | None = None, *, message_id: int | None = None) -> bytes:
    body = cmd.encode(
        {
            cmd.COMMAND_FIELD: request.field | cmd.RESPONSE, cmd.STATUS: status,
            cmd.MESSAGE_ID_RESPONDED: request.message_id if message_id is None else message_id,
            cmd.DATA_SET_TYPE: cmd.NO_DATA if data is None else 1,
        }
    )  # fmt: skip
    packed = pdu.data_header(1, len(body), command=True, last=True) + body
    if data is not None:
        packed += pdu.data_header(1, len(data), command=False, last=True) + data
    return packed


async def pieces(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def fault_of(remote: Remote, work: Callable[[Association], Awaitable[object]]) -> PeerFault:
    """What an association ends with."""
    with pytest.raises(PeerFault) as caught:
        async with associate(remote, [Proposal(uids.VERIFICATION, (uids.IMPLICIT_LE,))]) as association:
            await work(association)
    return caught.value


async def echo(association: Association) -> int:
    return await association.echo()


# --- pynetdicom as peer ----------------------------------------------------------------------------------


def test_echo_and_release() -> None:
    released: list[object] = []
    handlers = [(evt.EVT_RELEASED, released.append)]
    with pynetdicom(handlers, (uids.VERIFICATION, [uids.IMPLICIT_LE])) as remote:

        async def work() -> None:
            async with associate(remote, [Proposal(uids.VERIFICATION, (uids.IMPLICIT_LE,))]) as association:
                for _ in range(3):
                    assert await association.echo() == 0

        run(work())
    assert len(released) == 1


@pytest.mark.parametrize("max_length", [0, 1024, 16382, 131_072])
def test_objects_arrive_whole_at_every_maximum_length(max_length: int) -> None:
    got: list[bytes] = []

    def keep(event: Any) -> int:
        got.append(event.request.DataSet.getvalue())
        return 0xB007

    data = bytes(range(256)) * 800
    sizes = (0, 1, 1013, 1018, 200_001)
    with pynetdicom([(evt.EVT_C_STORE, keep)], (CT, [uids.EXPLICIT_LE]), maximum_pdu_size=max_length) as remote:

        async def work() -> None:
            async with associate(remote, [Proposal(CT, (uids.EXPLICIT_LE,))]) as association:
                context = association.context(CT, uids.EXPLICIT_LE)
                assert context is not None
                for size in sizes:
                    response = await association.store(context, "1.2.3", pieces(data[:size]))
                    assert response.status == 0xB007

        run(work())
    assert got == [data[:size] for size in sizes]


def test_a_query_gives_its_answers_one_by_one() -> None:
    def find(event: Any) -> Iterator[tuple[int, Dataset | None]]:
        for number in range(30):
            ds = Dataset()
            ds.PatientID = f"P{number}"
            yield 0xFF00, ds
        yield 0x0000, None

    with pynetdicom([(evt.EVT_C_FIND, find)], (WORKLIST, [uids.IMPLICIT_LE])) as remote:

        async def work() -> None:
            async with associate(remote, [Proposal(WORKLIST, (uids.IMPLICIT_LE,))]) as association:
                found = [r async for r in association.find(WORKLIST, b"\x10\0\x20\0\0\0\0\0")]
            assert [r.status for r in found] == [0xFF00] * 30 + [0]
            assert b"P29" in found[29].data

        run(work())


def test_contexts_that_were_refused_are_not_there() -> None:
    with pynetdicom([], (CT, [uids.IMPLICIT_LE]), (uids.VERIFICATION, [uids.IMPLICIT_LE])) as remote:

        async def work() -> None:
            wanted = [Proposal(CT, (s,)) for s in (uids.EXPLICIT_LE, uids.IMPLICIT_LE)]
            wanted.append(Proposal(uids.VERIFICATION, (uids.IMPLICIT_LE,)))
            async with associate(remote, wanted) as association:
                assert association.context(CT, uids.EXPLICIT_LE) is None
                assert association.context(CT, uids.IMPLICIT_LE) is not None
                assert association.context(WORKLIST) is None
                with pytest.raises(PeerFault):
                    await anext(association.find(WORKLIST, b""))
                assert await association.echo() == 0

        run(work())


def test_a_rejection_names_its_parameters() -> None:
    with pynetdicom([], (uids.VERIFICATION, [uids.IMPLICIT_LE]), require_called_aet=True) as remote:
        other = Remote(remote.host, remote.port, "OTHER", "BROKER", connect_timeout=5, response_timeout=5)

        async def work() -> None:
            assert (await fault_of(other, echo)).code == "rejected-1-1-7"

        run(work())


# --- peers that are away or silent -----------------------------------------------------------------------


def test_nobody_listens() -> None:
    async def work() -> None:
        for host in ("127.0.0.1", "no-such-host.invalid"):
            fault = await fault_of(
                Remote(host, free_port(), "PACS", "BROKER", connect_timeout=2, response_timeout=2), echo
            )
            assert fault.code == "connect-failed"
            assert fault.retryable

    run(work())


@pytest.mark.parametrize("stage", ["association", "response"])
def test_silence_is_a_deadline(stage: str) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if stage == "response":
            await accept(reader, writer)
        await reader.read()

    async def work() -> None:
        async with scripted(script, response_timeout=0.2) as remote:
            started = time.monotonic()
            assert isinstance(await fault_of(remote, echo), DeadlinePassed)
            assert time.monotonic() - started < SOON

    run(work())


def test_dm20_a_peer_that_never_reads_meets_the_send_deadline() -> None:
    over = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept(reader, writer)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await over.wait()

    async def work() -> None:
        async with scripted(script, response_timeout=0.3) as remote:
            started = time.monotonic()

            async def endless(association: Association) -> None:
                context = association.context(uids.VERIFICATION)
                assert context is not None
                await association.store(context, "1.2.3", pieces(bytes(64 << 20)))

            assert isinstance(await fault_of(remote, endless), DeadlinePassed)
            assert time.monotonic() - started < SOON
            over.set()

    run(work())


def test_cancelling_a_transfer_to_a_peer_that_never_reads_is_quick() -> None:
    """The broker stops: it must not wait for the send deadline of a dead destination."""
    over = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept(reader, writer)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await over.wait()

    async def work() -> None:
        async with scripted(script, response_timeout=15) as remote:
            sent = 0

            async def counting() -> AsyncIterator[bytes]:
                nonlocal sent
                while True:
                    sent += 1
                    yield bytes(1 << 20)

            async def endless() -> None:
                async with associate(remote, [Proposal(CT, (uids.EXPLICIT_LE,))]) as association:
                    context = association.context(CT)
                    assert context is not None
                    await association.store(context, "1.2.3", counting())

            task = asyncio.ensure_future(endless())
            await until(lambda: sent, "the transfer has begun")
            await standstill(lambda: sent)
            started = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert time.monotonic() - started < SOON
            over.set()

    run(work())


def test_dm21_the_response_timer_starts_after_the_last_byte() -> None:
    """A slow line: the transfer takes longer than a response may."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept(reader, writer)
        request, data = None, 0
        while True:
            kind, body = await read_pdu(reader)
            assert kind == pdu.P_DATA
            (fragment,) = pdu.fragments(memoryview(body))
            if fragment.is_command:
                request = cmd.decode(bytes(fragment.data))
                continue
            data += len(fragment.data)
            if data % (1 << 20) < 16_378:
                await takes(0.15)
            if fragment.is_last:
                break
        assert request is not None
        writer.write(answer(request, 0))
        await reader.read()

    async def work() -> None:
        async with (
            scripted(script, response_timeout=4.0) as remote,
            associate(remote, [Proposal(CT, (uids.EXPLICIT_LE,))]) as association,
        ):
            context = association.context(CT)
            assert context is not None
            started = time.monotonic()
            response = await association.store(context, "1.2.3", pieces(bytes(32 << 20)))
            assert response.status == 0
            assert time.monotonic() - started > 4.0

    run(work())


# --- peers that break the protocol -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (b"\x07\0\0\0\0\x04\0\0\2\0", "aborted"),
        (b"\x03\0\0\0\0\x04\0\2\1\1", "rejected-2-1-1"),
        (b"\x03\0\0\0\0\x02\0\2", "unexpected-pdu"),
        (b"\x02\0\0\0\0\x04\0\0\0\0", "bad-item"),
        (b"\x02\0\xff\xff\xff\xff", "pdu-too-long"),
        (b"HTTP/1.1 400 Bad Request\r\n", "unknown-pdu"),
        (b"\x04\0\0\0\0\x04\0\0\0\0", "unexpected-pdu"),
        (b"", "connection-lost"),
    ],
)
def test_answers_that_are_no_acceptance(reply: bytes, code: str) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_pdu(reader)
        writer.write(reply)

    async def work() -> None:
        async with scripted(script) as remote:
            assert (await fault_of(remote, echo)).code == code

    run(work())


def replies(*make: Callable[[cmd.Command], bytes]) -> Script:
    """A peer that answers the first request with these bytes and closes."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept(reader, writer)
        request, _ = await request_of(reader)
        for one in make:
            writer.write(one(request))
        await reader.read()

    return script


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (lambda rq: answer(rq, 0, message_id=77), "wrong-message-id"),
        (lambda rq: answer(cmd.Command({cmd.COMMAND_FIELD: cmd.C_ECHO_RQ}), 0)[:-1] + b"\0", "wrong-message-id"),
        (lambda rq: b"\x07\0\0\0\0\x04\0\0\0\0", "aborted"),
        (lambda rq: b"\x05\0\0\0\0\x04\0\0\0\0", "connection-lost"),
        (lambda rq: b"\x09\0\0\0\0\x04\0\0\0\0", "unknown-pdu"),
        (lambda rq: b"\x04\0\0\xff\xff\xff", "pdu-too-long"),
        (lambda rq: b"\x04\0\0\0\0\x06\0\0\0\x20\1\3", "bad-pdv"),
        (lambda rq: b"\x04\0\0\0\0\x06\0\0\0\x02\5\3", "bad-context"),
        (lambda rq: b"\x04\0\0\0\0\x08\0\0\0\x04\1\2ab", "unexpected-fragment"),
        (lambda rq: b"\x04\0\0\0\0\x08\0\0\0\x04\1\3ab", "bad-command"),
    ],
)
def test_dm18_answers_that_are_no_answer(reply: Callable[[cmd.Command], bytes], code: str) -> None:
    async def work() -> None:
        async with scripted(replies(reply)) as remote:
            assert (await fault_of(remote, echo)).code == code

    run(work())


def test_an_endless_answer_is_given_up() -> None:
    def huge(request: cmd.Command) -> bytes:
        head = answer(request, 0, b"")
        head = head[: -len(pdu.data_header(1, 0, command=False, last=True))]
        piece = pdu.data_header(1, 100_000, command=False, last=False) + bytes(100_000)
        return head + piece * (MAX_ANSWER // 100_000 + 2)

    async def work() -> None:
        async with scripted(replies(huge)) as remote:
            assert (await fault_of(remote, echo)).code == "too-large"

    run(work())


def test_an_answer_that_drips_in_is_read() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept(reader, writer)
        request, _ = await request_of(reader)
        for byte in answer(request, 0xFF00, b"abcdef") + answer(request, 0):
            writer.write(bytes((byte,)))
            await writer.drain()
            await asyncio.sleep(0)
        await read_pdu(reader)
        writer.write(pdu.release_response())

    async def work() -> None:
        async with scripted(script) as remote:
            async with associate(remote, [Proposal(WORKLIST, (uids.IMPLICIT_LE,))]) as association:
                found = [r async for r in association.find(WORKLIST, b"x")]
            assert [(r.status, r.data) for r in found] == [(0xFF00, b"abcdef"), (0, b"")]

    run(work())


@pytest.mark.parametrize("how", ["close", "abort", "early answer"])
def test_a_peer_that_leaves_inside_an_object(how: str) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept(reader, writer)
        _, body = await read_pdu(reader)
        (fragment,) = pdu.fragments(memoryview(body))
        await read_pdu(reader)
        if how == "abort":
            writer.write(pdu.abort(by_user=True))
        elif how == "early answer":
            writer.write(answer(cmd.decode(bytes(fragment.data)), st.OUT_OF_RESOURCES))
            await reader.read()

    async def work() -> None:
        async with scripted(script) as remote:

            async def store(association: Association) -> None:
                context = association.context(uids.VERIFICATION)
                assert context is not None
                response = await association.store(context, "1.2.3", pieces(bytes(8 << 20)))
                assert response.status == st.OUT_OF_RESOURCES
                raise PeerFault(code="told")

            fault = await fault_of(remote, store)
            assert fault.code in {"close": ("connection-lost",), "abort": ("connection-lost", "aborted"),
                                  "early answer": ("told",)}[how]  # fmt: skip

    run(work())


# --- the end ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["silent", "chatty", "collision", "abort", "close"])
def test_a_release_ends_whatever_the_peer_does(how: str) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept(reader, writer)
        kind, _ = await read_pdu(reader)
        assert kind == pdu.RELEASE_RQ
        match how:
            case "silent":
                await reader.read()
            case "chatty":
                while True:
                    writer.write(pdu.data_header(1, 2, command=False, last=True) + b"ab")
                    await writer.drain()
                    await takes(0.01)
            case "collision":
                writer.write(pdu.release_request())
                kind, _ = await read_pdu(reader)
                assert kind == pdu.RELEASE_RP
                writer.write(pdu.release_response())
                await reader.read()
            case "abort":
                writer.write(pdu.abort(by_user=True))

    async def work() -> None:
        async with scripted(script, response_timeout=0.3) as remote:
            started = time.monotonic()
            async with associate(remote, [Proposal(uids.VERIFICATION, (uids.IMPLICIT_LE,))]):
                pass
            assert time.monotonic() - started < (0.25 if how in ("collision", "abort", "close") else 2)

    run(work())


def test_an_error_of_ours_aborts_the_association() -> None:
    seen: list[int] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept(reader, writer)
        seen.append((await read_pdu(reader))[0])

    async def work() -> None:
        async with scripted(script) as remote:
            with pytest.raises(LookupError):
                async with associate(remote, [Proposal(uids.VERIFICATION, (uids.IMPLICIT_LE,))]):
                    raise LookupError

    run(work())
    assert seen == [pdu.ABORT]


def test_message_ids_differ_and_wrap() -> None:
    seen: list[int] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept(reader, writer)
        with suppress(AssertionError):
            while True:
                request, _ = await request_of(reader)
                seen.append(request.message_id)
                writer.write(answer(request, 0))
        writer.write(pdu.release_response())

    async def work() -> None:
        async with (
            scripted(script) as remote,
            associate(remote, [Proposal(uids.VERIFICATION, (uids.IMPLICIT_LE,))]) as association,
        ):
            association._message_id = 65533
            for _ in range(4):
                await association.echo()

    run(work())
    assert seen == [65534, 65535, 1, 2]


def test_no_accepted_context_is_no_fault_of_the_association() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept(reader, writer, result=3)
        await read_pdu(reader)
        writer.write(pdu.release_response())

    async def work() -> None:
        async with (
            scripted(script) as remote,
            associate(remote, [Proposal(CT, (uids.EXPLICIT_LE,))]) as association,
        ):
            assert association.context(CT) is None

    run(work())


def test_real_slices_go_through() -> None:
    item = ct_slice(40_000)
    got: list[bytes] = []

    def keep(event: Any) -> int:
        got.append(event.request.DataSet.getvalue())
        return 0

    with pynetdicom([(evt.EVT_C_STORE, keep)], (CT, [uids.EXPLICIT_LE])) as remote:

        async def work() -> None:
            async with associate(remote, [Proposal(CT, (uids.EXPLICIT_LE,))]) as association:
                context = association.context(CT)
                assert context is not None
                for _ in range(3):
                    assert (await association.store(context, item.sop_instance, pieces(item.data))).status == 0

        run(work())
    assert got == [item.data] * 3
