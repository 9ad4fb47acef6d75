"""Reads and writes PDUs: header, P-DATA-TF, release, abort, reject; items of association negotiation (PS3.8 9.3)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from broker.errors import ProtocolViolation

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ = 0x01, 0x02, 0x03
P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = 0x04, 0x05, 0x06, 0x07

HEADER = 6
MAX_ASSOCIATE = 256 * 1024
_SHORT = frozenset({ASSOCIATE_RJ, RELEASE_RQ, RELEASE_RP, ABORT})
_header = struct.Struct(">BxI")
_item = struct.Struct(">BxH")
_pdv = struct.Struct(">IBB")

# A-ABORT reasons of the service provider (PS3.8 table 9-26)
NOT_SPECIFIED, UNRECOGNIZED_PDU, UNEXPECTED_PDU, INVALID_PARAMETER = 0, 1, 2, 6
_REASONS = {"unknown-pdu": UNRECOGNIZED_PDU, "unexpected-pdu": UNEXPECTED_PDU}


class Fragment(NamedTuple):
    """One presentation data value: a piece of a command set or data set."""

    context_id: int
    is_command: bool
    is_last: bool
    data: memoryview


def read_header(header: bytes | memoryview, max_data: int) -> tuple[int, int]:
    """PDU type and length, checked before a byte of the body is accepted. Raises ProtocolViolation."""
    kind, length = _header.unpack_from(header)
    if kind in _SHORT:
        limit = 64
    elif kind == P_DATA:
        limit = max_data
    elif kind in (ASSOCIATE_RQ, ASSOCIATE_AC):
        limit = MAX_ASSOCIATE
    else:
        raise ProtocolViolation("unknown PDU type", code="unknown-pdu")
    if length > limit:
        raise ProtocolViolation("PDU longer than allowed", code="pdu-too-long")
    return kind, length


def fragments(body: memoryview) -> Iterator[Fragment]:
    """The presentation data values of a P-DATA-TF body (PS3.8 9.3.5). Raises ProtocolViolation."""
    position, end = 0, len(body)
    if not end:
        raise ProtocolViolation("empty P-DATA-TF", code="bad-pdv")
    while position < end:
        if end - position < 6:
            raise ProtocolViolation("PDV shorter than its header", code="bad-pdv")
        length, context_id, control = _pdv.unpack_from(body, position)
        stop = position + 4 + length
        if length < 2 or stop > end:
            raise ProtocolViolation("PDV length does not fit its PDU", code="bad-pdv")
        yield Fragment(context_id, bool(control & 1), bool(control & 2), body[position + 6 : stop])
        position = stop


def data_header(context_id: int, length: int, *, command: bool, last: bool) -> bytes:
    """Header of a P-DATA-TF with one PDV that carries `length` bytes."""
    control = (1 if command else 0) | (2 if last else 0)
    return _header.pack(P_DATA, length + 6) + _pdv.pack(length + 2, context_id, control)


MOST_SENT, SENT_WITHOUT_LIMIT = 1 << 20, 1 << 18  # bytes of our PDUs


def payload_per_pdu(peer_max: int) -> int:
    """Bytes of a message that fit one P-DATA-TF of a peer with this maximum length (0: no limit)."""
    return ((min(peer_max, MOST_SENT) if peer_max else SENT_WITHOUT_LIMIT) - 6) & ~1  # fragments are of even length


def release_request() -> bytes:
    """A-RELEASE-RQ (PS3.8 9.3.6)."""
    return _header.pack(RELEASE_RQ, 4) + bytes(4)


def release_response() -> bytes:
    """A-RELEASE-RP (PS3.8 9.3.7)."""
    return _header.pack(RELEASE_RP, 4) + bytes(4)


def abort(*, by_user: bool, reason: int = NOT_SPECIFIED) -> bytes:
    """A-ABORT; by the service user, or by the provider with a reason (PS3.8 9.3.8)."""
    return _header.pack(ABORT, 4) + bytes((0, 0, 0 if by_user else 2, 0 if by_user else reason))


def complaint(error: ProtocolViolation) -> bytes:
    """The A-ABORT of the service provider for what a peer did (PS3.8 9.2.2, AA-8)."""
    return abort(by_user=False, reason=_REASONS.get(error.code, INVALID_PARAMETER))


def reject(result: int, source: int, reason: int) -> bytes:
    """A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    return _header.pack(ASSOCIATE_RJ, 4) + bytes((0, result, source, reason))


# --- items of association negotiation: type, reserved byte, length, value (PS3.8 9.3.2, annex D) --------------------


def split_items(data: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Type and value of each item. Raises ProtocolViolation for one that does not fit."""
    position, end = start, len(data)
    while position < end:
        if end - position < 4:
            raise ProtocolViolation("item shorter than its header", code="bad-item")
        kind, length = _item.unpack_from(data, position)
        position += 4
        if position + length > end:
            raise ProtocolViolation("item longer than what holds it", code="bad-item")
        yield kind, data[position : position + length]
        position += length


def pack_item(kind: int, data: bytes) -> bytes:
    """One item."""
    return _item.pack(kind, len(data)) + data


def uid_of(value: bytes) -> str:
    """A UID field; padding, which some senders add, is not significant. Raises ProtocolViolation."""
    if not value.isascii():
        raise ProtocolViolation("a UID with characters that none has", code="bad-uid")
    return value.decode("ascii").strip(" \0")


def counted_field(data: bytes, position: int) -> tuple[bytes, int]:
    """A field behind its two length bytes, and where the next one begins. Raises ProtocolViolation."""
    start = position + 2
    stop = start + int.from_bytes(data[position:start], "big")
    if start > len(data) or stop > len(data):
        raise ProtocolViolation("field longer than its item", code="bad-item")
    return data[start:stop], stop


def count_field(value: bytes) -> bytes:
    """A field with its two length bytes before it. Raises ValueError beyond 65,535 bytes."""
    if len(value) > 0xFFFF:
        raise ValueError("longer than an item can be")
    return len(value).to_bytes(2, "big") + value
