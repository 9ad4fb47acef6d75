"""Items and sub-items of association negotiation: type, reserved byte, length, value (PS3.8 9.3.2, annex D)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from broker.errors import ProtocolViolation

_item = struct.Struct(">BxH")


def split(data: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
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


def pack(kind: int, data: bytes) -> bytes:
    """One item."""
    return _item.pack(kind, len(data)) + data


def uid(value: bytes) -> str:
    """A UID field; padding, which some senders add, is not significant. Raises ProtocolViolation."""
    if not value.isascii():
        raise ProtocolViolation("a UID with characters that none has", code="bad-uid")
    return value.decode("ascii").strip(" \0")


def counted(data: bytes, position: int) -> tuple[bytes, int]:
    """A field behind its two length bytes, and where the next one begins. Raises ProtocolViolation."""
    start = position + 2
    stop = start + int.from_bytes(data[position:start], "big")
    if start > len(data) or stop > len(data):
        raise ProtocolViolation("field longer than its item", code="bad-item")
    return data[start:stop], stop


def count(value: bytes) -> bytes:
    """A field with its two length bytes before it. Raises ValueError beyond 65,535 bytes."""
    if len(value) > 0xFFFF:
        raise ValueError("longer than an item can be")
    return len(value).to_bytes(2, "big") + value
