"""Conversations with our acceptor, over a connection without a socket. What it says back is checked PDU by PDU."""

from __future__ import annotations

import asyncio
import struct
from datetime import datetime

from support.dicom import raw

from broker.dicom import uids
from broker.dicom.association.provider import Provider
from broker.dicom.dataset.read import decode_data_set
from broker.dicom.dataset.scan import scan
from broker.dicom.dimse import command as cmd
from broker.dicom.dimse import status as st
from broker.dicom.dimse.request import Handler, Request, Service
from broker.dicom.wire.admission import ConnectionOrigin, Rejection
from broker.dicom.wire.connection import PduConnection
from broker.dicom.wire.limits import AssociationLimits
from broker.dicom.wire.negotiation import AssociationRequest
from broker.errors import BadContent
from broker.routing.header import facts, identity
from broker.worklist.answer.encoder import AnswerEncoder
from broker.worklist.query.parse import parse
from fuzz import commands, reference
from fuzz.conversations import ABORT, AC, DATA, MR, RELEASE_RP, RELEASE_RQ, RJ, VERIFICATION, Case
from fuzz.dataset_cases import FIELDS, TAGS
from fuzz.tree import encode
from fuzz.virtual import Connection

LIMITS = AssociationLimits(
    association_request_timeout=5,
    pdu_timeout=5,
    idle_timeout=20,
    response_timeout=5,
    max_object=4 << 20,
    operations=2,
    associations_per_second=1e9,
)
NOON = datetime(2030, 3, 12, 12)  # noqa: DTZ001 - the caller's local time
ASKS_BACK = 2  # the type of an N-ACTION that is followed by an N-EVENT-REPORT on the same association
PAUSES = 5  # of a slow handler
NEVER = 2  # the priority of a C-MOVE that takes longer than anybody waits
SETTLED = 1e-3  # virtual seconds: everything that can run has run
PROMPT = 0.5  # virtual seconds
GIVES_UP = 500.0  # virtual seconds, beyond all deadlines together


class Anybody:
    """Lets everybody in."""

    def admit(self, request: AssociationRequest, origin: ConnectionOrigin) -> Rejection | None:
        """Yes."""
        return None


async def echo(request: Request) -> None:
    """C-ECHO."""
    await request.respond(st.SUCCESS)


async def store(request: Request) -> None:
    """C-STORE: the checks of reception, without its files."""
    try:
        data = await request.data.read_all(1 << 20)
        found = scan(data, request.context.transfer_syntax, TAGS)
        identity(found, request.command.sop_class, request.command.sop_instance)
        facts(found, request.peer, FIELDS, NOON)
    except BadContent as error:
        await request.data.drain()
        await request.respond(st.CANNOT_UNDERSTAND, comment=error.code)
        return
    await request.respond(st.SUCCESS)


async def slow(request: Request) -> None:
    """C-STORE at a pace that makes the wire wait, though not longer for a data set in many small pieces."""
    size = reads = 0
    while part := await request.data.read(1 << 16):
        size, reads = size + len(part), reads + 1
        if reads <= PAUSES:
            await asyncio.sleep(0.1)
    await request.respond(st.SUCCESS if size else st.CANNOT_UNDERSTAND)


async def find(request: Request) -> None:
    """C-FIND: some answers, until it is cancelled."""
    query = parse(decode_data_set(await request.data.read_all(1 << 18), request.context.transfer_syntax))
    answer = AnswerEncoder(query, request.context.transfer_syntax, "ISO_IR 192").encode({})
    for _ in range(3):
        if request.cancelled:
            await request.respond(st.CANCEL)
            return
        await request.respond(st.PENDING, answer)
    await request.respond(st.SUCCESS)


async def retrieve(request: Request, never: float = LIMITS.pdu_timeout + 1) -> None:
    """C-GET and C-MOVE: one sub-operation on the same association where the peer takes it; or `never` seconds."""
    await request.data.read_all(1 << 18)
    if request.command.number(cmd.PRIORITY) == NEVER:
        await asyncio.sleep(never)
    context = request.association.context("1.2.840.10008.5.1.4.1.1.2")
    if context is not None and request.command.field == cmd.C_GET_RQ:
        await request.association.store(context, "2.999.14.7", b"\x08\x00\x05\x00CS\x00\x00")
        await request.respond(st.PENDING, more={cmd.REMAINING: 0, cmd.COMPLETED: 1})
    await request.respond(st.SUCCESS, more={cmd.COMPLETED: 1, cmd.FAILED: 0, cmd.WARNING: 0})


async def normalized(request: Request) -> None:
    """An N-service that hands back what it got."""
    data = await request.data.read_all(1 << 18)
    if request.command.number(cmd.ACTION_TYPE) == ASKS_BACK:
        await request.association.event_report(request.context.abstract_syntax, "2.999.14.8", 1, data or None)
    await request.respond(st.SUCCESS, data or None, more={cmd.ERROR_ID: 0})


N_SERVICES = (
    cmd.N_EVENT_REPORT_RQ, cmd.N_GET_RQ, cmd.N_SET_RQ, cmd.N_ACTION_RQ, cmd.N_CREATE_RQ, cmd.N_DELETE_RQ,
)  # fmt: skip
_any = uids.first_of(uids.EXPLICIT_LE, uids.IMPLICIT_LE, uids.EXPLICIT_BE)


def services(retrieving: Handler = retrieve) -> tuple[Service, ...]:
    """All eleven services."""
    little = uids.first_of(uids.EXPLICIT_LE, uids.IMPLICIT_LE)
    return (
        Service(frozenset({uids.VERIFICATION}), _any, {cmd.C_ECHO_RQ: echo}),
        Service(
            frozenset({"1.2.840.10008.5.1.4.1.1.2"}), uids.for_storage, {cmd.C_STORE_RQ: store}, also_user=True,
            service_class=uids.STORAGE_SERVICE, negotiate=lambda _, information: information or None,
        ),
        Service(frozenset({uids.MODALITY_WORKLIST}), little, {cmd.C_FIND_RQ: find}),
        Service(frozenset({MR}), uids.for_storage, {cmd.C_STORE_RQ: slow}),
        Service(
            frozenset({"1.2.840.10008.5.1.4.1.2.2.2", "1.2.840.10008.5.1.4.1.2.2.3"}), _any,
            {cmd.C_MOVE_RQ: retrieving, cmd.C_GET_RQ: retrieving},
        ),
        Service(
            frozenset({"1.2.840.10008.3.1.2.3.3", "1.2.840.10008.1.20.1"}), _any, dict.fromkeys(N_SERVICES, normalized),
            also_user=True,
        ),
    )  # fmt: skip


SERVICES = services()


def provider() -> Provider:
    """A provider of all eleven services, without a listener."""
    return Provider("127.0.0.1", 0, admission=Anybody(), services=SERVICES, limits=LIMITS)


async def converse(target: Provider, case: Case) -> bytes:
    """Say everything to an acceptor; what it said, once the connection is over."""
    wire = PduConnection(max_data=LIMITS.max_pdu, send_timeout=LIMITS.pdu_timeout, on_connect=target._connected)
    connection = Connection(wire, reads=case.reads)
    for turn in case.says:
        for piece in turn:
            connection.arrive(piece)
            await asyncio.sleep(0)
        await asyncio.sleep(SETTLED)
        if connection.gone:
            break
    if case.requests:  # a peer that keeps the rules waits for its answers
        async with asyncio.timeout(GIVES_UP):
            await connection.over.wait()
    if case.end == "stop":
        for session in target._sessions:
            session.finish()
    elif case.end != "silence":
        connection.end(reset=case.end == "reset")
    ended = asyncio.get_running_loop().time()
    full = wire._paused_reading  # requests over the window fill the buffer: the end stands behind them
    async with asyncio.timeout(GIVES_UP):
        await wire.closed
    await asyncio.gather(*target._sessions.values(), return_exceptions=True)
    if case.prompt and not full and (case.end == "reset" or (case.end == "close" and not case.reads)):
        assert asyncio.get_running_loop().time() - ended < PROMPT, "the end of the connection was not noticed at once"
    assert not target._entrance.half_open, "a connection is counted that is gone"
    assert not target._entrance.established, "an association is counted that is gone"
    assert not target._entrance._parting, "a parting connection is counted that is gone"
    assert not target._entrance.seats._guests, "a seat is kept that is free"
    return bytes(connection.said)


async def check(target: Provider, case: Case) -> None:
    """Run a case. Raises AssertionError, or what a defect raises."""
    said = await converse(target, case)
    finals = answers(said)
    fault = reference.faulty(b"".join(map(b"".join, case.says)))
    if fault == "first":
        assert said[:1] in (b"", bytes((ABORT,))), "a malformed association request was answered"
    elif fault and case.end == "silence" and not case.reads and said[:1] == bytes((AC,)):
        assert said[-10] == ABORT, "a PDU that is malformed or out of place was passed over"
        assert said[-2:] != b"\2\0", "it was passed over until the time was up"
    if case.requests:
        assert len(finals) == case.requests, f"{len(finals)} final answers to {case.requests} whole requests"


def answers(said: bytes) -> list[int]:
    """Final statuses in what the acceptor said. Raises AssertionError for bytes that PS3.8 does not allow there."""
    finals: list[int] = []
    position, over, command = 0, False, b""
    while position < len(said):
        assert len(said) - position >= 6, "a PDU shorter than its header"
        kind, length = struct.unpack_from(">BxI", said, position)
        body = said[position + 6 : position + 6 + length]
        assert len(body) == length, "a PDU that ends too early"
        assert not over, "a PDU after the last one"
        assert kind in ((AC, RJ, ABORT) if position == 0 else (DATA, RELEASE_RP, ABORT)), f"PDU {kind} out of place"
        over = kind in (RJ, RELEASE_RP, ABORT)
        if kind == DATA:
            command = _answered(body, command, finals)
        elif kind in (RJ, ABORT):
            assert length == 4, "a short PDU of wrong length"
        position += 6 + length
    return finals


def _answered(body: bytes, command: bytes, finals: list[int]) -> bytes:
    """Take the data values of one P-DATA-TF; what is there of a command."""
    position = 0
    while position < len(body):
        length, context, control = struct.unpack_from(">IBB", body, position)
        assert length >= 2, "a PDV without header"
        assert position + 4 + length <= len(body), "a PDV longer than its PDU"
        assert context % 2, "a context with an even id"
        if control & 1:
            command += body[position + 6 : position + 4 + length]
            if control & 2:
                _final(command, finals)
                command = b""
        position += 4 + length
    return command


def _final(command: bytes, finals: list[int]) -> None:
    values: dict[int, bytes] = {}
    position = 0
    while position < len(command):
        group, element, length = struct.unpack_from("<HHI", command, position)
        assert group == 0, "an element of another group in a command"
        assert length % 2 == 0, "a value of odd length"
        values[element] = command[position + 8 : position + 8 + length]
        position += 8 + length
    assert position == len(command), "a command set that ends too early"
    assert int.from_bytes(values[0], "little") == len(command) - 12, "a wrong group length"
    field = int.from_bytes(values[0x0100], "little")
    if not field & 0x8000:
        return  # a request of the acceptor's own
    status = int.from_bytes(values[0x0900], "little")
    if status not in (st.PENDING, st.PENDING_WARNING):
        finals.append(status)


_ECHO = encode(commands.request(commands.ECHO, VERIFICATION, "", 7, data=False))
ECHO = Case(
    (
        (raw.associate_rq([(VERIFICATION, "1.2.840.10008.1.2")]),), (raw.p_data(1, _ECHO, is_command=True),),
        (struct.pack(">BxI", RELEASE_RQ, 4) + bytes(4),),
    ), "close", 0, 1,
)  # fmt: skip
