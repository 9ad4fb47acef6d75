"""Headers, fragments and short PDUs; and the assembly of messages from fragments."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as some
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_RJ, A_RELEASE_RP, A_RELEASE_RQ, P_DATA_TF

from broker.dicom.dimse import command as cmd
from broker.dicom.dimse.message import MessageAssembly, PresentationContext
from broker.dicom.wire import pdu
from broker.dicom.wire.pdu import Fragment
from broker.errors import ProtocolViolation

CONTEXTS = {
    1: PresentationContext(1, "1.2", "1.2.840.10008.1.2"),
    3: PresentationContext(3, "1.3", "1.2.840.10008.1.2"),
}
ECHO = cmd.encode({cmd.COMMAND_FIELD: cmd.C_ECHO_RQ, cmd.MESSAGE_ID: 1, cmd.DATA_SET_TYPE: cmd.NO_DATA})
STORE = cmd.encode({cmd.COMMAND_FIELD: cmd.C_STORE_RQ, cmd.MESSAGE_ID: 1, cmd.DATA_SET_TYPE: 1})
CANCEL = cmd.encode({cmd.COMMAND_FIELD: cmd.C_CANCEL_RQ, cmd.MESSAGE_ID_RESPONDED: 1, cmd.DATA_SET_TYPE: cmd.NO_DATA})


def fragment(data: bytes = b"", *, context: int = 1, command: bool = False, last: bool = True) -> Fragment:
    return Fragment(context, command, last, memoryview(data))


# --- headers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "kind", "length"),
    [
        (b"\x04\0\0\0\x40\0", 4, 16384),
        (b"\x01\0\0\x04\0\0", 1, 256 * 1024),
        (b"\x05\0\0\0\0\x04", 5, 4),
        (b"\x07\xff\0\0\0\x04", 7, 4),  # the reserved byte is not looked at
    ],
)
def test_headers_in_order(header: bytes, kind: int, length: int) -> None:
    assert pdu.read_header(header, 16384) == (kind, length)


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (b"\x04\0\0\0\x40\x01", "pdu-too-long"),
        (b"\x04\0\xff\xff\xff\xff", "pdu-too-long"),
        (b"\x01\0\0\x04\0\x01", "pdu-too-long"),
        (b"\x05\0\0\0\x01\0", "pdu-too-long"),
        (b"\x00\0\0\0\0\x04", "unknown-pdu"),
        (b"\x08\0\0\0\0\x04", "unknown-pdu"),
        (b"GET / ", "unknown-pdu"),
        (b"\x16\x03\x01\x02\x00\x01", "unknown-pdu"),
        (b"\x0bMSH|^", "unknown-pdu"),
    ],
)
def test_headers_that_end_the_connection(header: bytes, code: str) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        pdu.read_header(header, 16384)
    assert caught.value.code == code


# --- short PDUs, read by pynetdicom ----------------------------------------------------------------------


def test_short_pdus_are_read_by_pynetdicom() -> None:
    A_RELEASE_RQ().decode(pdu.release_request())
    A_RELEASE_RP().decode(pdu.release_response())
    abort = A_ABORT_RQ()
    abort.decode(pdu.abort(by_user=True))
    assert (abort.source, abort.reason_diagnostic) == (0, 0)
    abort.decode(pdu.abort(by_user=False, reason=pdu.INVALID_PARAMETER))
    assert (abort.source, abort.reason_diagnostic) == (2, 6)
    reject = A_ASSOCIATE_RJ()
    reject.decode(pdu.reject(1, 1, 7))
    assert (reject.result, reject.source, reject.reason_diagnostic) == (1, 1, 7)


def test_data_headers_are_read_by_pynetdicom() -> None:
    found = P_DATA_TF()
    found.decode(pdu.data_header(5, 4, command=True, last=False) + b"abcd")
    (item,) = found.presentation_data_value_items
    assert (item.context_id, item.presentation_data_value) == (5, b"\x01abcd")
    found.decode(pdu.data_header(7, 0, command=False, last=True))
    assert found.presentation_data_value_items[0].presentation_data_value == b"\x02"


@pytest.mark.parametrize("peer_max", [0, 1024, 1025, 16384, 65535, 2**32 - 1])
def test_payloads_fit_the_peer_and_are_even(peer_max: int) -> None:
    payload = pdu.payload_per_pdu(peer_max)
    assert payload % 2 == 0
    assert payload > 1000
    assert payload <= 1 << 20
    if peer_max:
        assert payload + 6 <= peer_max


# --- fragments -------------------------------------------------------------------------------------------


def test_fragments_of_one_pdu() -> None:
    body = (
        pdu.data_header(1, 3, command=True, last=True)[6:]
        + b"abc"
        + pdu.data_header(3, 0, command=False, last=False)[6:]
    )
    found = [(f.context_id, f.is_command, f.is_last, bytes(f.data)) for f in pdu.fragments(memoryview(body))]
    assert found == [(1, True, True, b"abc"), (3, False, False, b"")]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\0", b"\0\0\0\2\1",
        b"\0\0\0\0\1\0", b"\0\0\0\1\1\0", b"\0\0\0\3\1\0", b"\xff\xff\xff\xff\1\0abc",
        b"\0\0\0\2\1\3" + b"\0\0\0\2\1",
    ],
)  # fmt: skip
def test_ul10_lengths_that_do_not_fit_are_refused(body: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        list(pdu.fragments(memoryview(body)))


@given(some.binary(max_size=200))
def test_random_bodies_raise_nothing_but_a_violation_and_lose_no_byte(body: bytes) -> None:
    found = []
    with suppress(ProtocolViolation):
        for piece in pdu.fragments(memoryview(body)):
            found.append(piece)
        assert sum(len(piece.data) + 6 for piece in found) == len(body)


# --- assembly --------------------------------------------------------------------------------------------


def test_a_command_in_pieces_is_one_command() -> None:
    assembly = MessageAssembly(CONTEXTS)
    for start in range(len(ECHO) - 1):
        assert assembly.take(fragment(ECHO[start : start + 1], command=True, last=False)) is None
    complete = assembly.take(fragment(ECHO[-1:], command=True))
    assert complete is not None
    assert complete[0].field == cmd.C_ECHO_RQ
    assert complete[1] == CONTEXTS[1]
    assert assembly.data_context == 0


def test_a_data_set_follows_its_command_in_the_same_context() -> None:
    assembly = MessageAssembly(CONTEXTS)
    assembly.take(fragment(STORE, command=True))
    assert assembly.data_context == 1
    assert assembly.take(fragment(b"abc", last=False)) is None
    assert assembly.data_context == 1
    assert assembly.take(fragment(b"")) is None
    assert assembly.data_context == 0


@pytest.mark.parametrize(
    "pieces",
    [
        [fragment(b"x")],  # a data set out of the blue
        [fragment(ECHO, command=True), fragment(b"x")],  # none was announced
        [fragment(STORE, command=True), fragment(b"x", context=3)],
        [fragment(STORE, command=True), fragment(b"x"), fragment(b"y")],
        [fragment(ECHO, context=5, command=True)],
        [fragment(ECHO, context=2, command=True)],
        [fragment(ECHO[:9], command=True, last=False), fragment(ECHO[9:], context=3, command=True)],
        [fragment(ECHO[:9], command=True, last=False), fragment(b"x")],
        [fragment(STORE, command=True), fragment(STORE, command=True)],
        [fragment(STORE, command=True), fragment(ECHO, command=True)],
        [fragment(STORE, command=True), fragment(b"x", last=False), fragment(ECHO, context=3, command=True)],
        [fragment(STORE, command=True), fragment(CANCEL, command=True)],
        [fragment(b"", command=True)],
    ],
)
def test_fragments_out_of_place_are_refused(pieces: list[Fragment]) -> None:
    assembly = MessageAssembly(CONTEXTS)
    for piece in pieces[:-1]:
        assembly.take(piece)
    with pytest.raises(ProtocolViolation):
        assembly.take(pieces[-1])


def test_dm02_a_command_is_capped_while_it_grows() -> None:
    assembly = MessageAssembly(CONTEXTS)
    assembly.take(fragment(bytes(cmd.MAX_COMMAND), command=True, last=False))
    with pytest.raises(ProtocolViolation) as caught:
        assembly.take(fragment(b"\0", command=True, last=False))
    assert caught.value.code == "command-too-long"


@given(some.lists(some.tuples(some.sampled_from([ECHO, STORE, CANCEL, b"xy", b""]), some.sampled_from([1, 3, 5]),
                              some.booleans(), some.booleans()), max_size=12))  # fmt: skip
def test_any_order_of_fragments_raises_nothing_but_a_violation(pieces: list[tuple[bytes, int, bool, bool]]) -> None:
    assembly = MessageAssembly(CONTEXTS)
    with suppress(ProtocolViolation):
        for data, context, command, last in pieces:
            assembly.take(fragment(data, context=context, command=command, last=last))
