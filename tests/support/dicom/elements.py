"""Data set elements as bytes, well-formed or not (PS3.5 7)."""

from __future__ import annotations

import struct
import zlib

from support.dicom.objects import Encoded, fresh_uid
from support.dicom.raw import CT, DEFLATED, EXPLICIT

UNDEFINED = 0xFFFFFFFF
_LONG = (b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC", b"UR", b"OD", b"OF", b"OL", b"OV", b"SV", b"UV")


def explicit(tag: int, vr: bytes, value: bytes, length: int | None = None, order: str = "<") -> bytes:
    """An element in explicit VR, with a length that may lie."""
    size = len(value) if length is None else length
    head = struct.pack(order + "HH2s", tag >> 16, tag & 0xFFFF, vr)
    if vr in _LONG:
        return head + struct.pack(order + "HI", 0, size) + value
    return head + struct.pack(order + "H", size) + value


def implicit(tag: int, value: bytes, length: int | None = None) -> bytes:
    """An element in implicit VR, an item or a delimiter."""
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


ITEM_END, SEQUENCE_END = implicit(0xFFFEE00D, b""), implicit(0xFFFEE0DD, b"")


def item(content: bytes) -> bytes:
    """An item of undefined length."""
    return implicit(0xFFFEE000, b"", UNDEFINED) + content + ITEM_END


def sequence(content: bytes) -> bytes:
    """A sequence of undefined length."""
    return explicit(0x00400275, b"SQ", b"", UNDEFINED) + content + SEQUENCE_END


def nested(levels: int, *, vr: bool = True) -> bytes:
    """Sequences inside sequences, all of undefined length."""
    if vr:
        opening = explicit(0x00400275, b"SQ", b"", UNDEFINED) + implicit(0xFFFEE000, b"", UNDEFINED)
    else:
        opening = implicit(0x00400275, b"", UNDEFINED) + implicit(0xFFFEE000, b"", UNDEFINED)
    return opening * levels + (ITEM_END + SEQUENCE_END) * levels


def deflated(*pieces: bytes) -> bytes:
    """As in Deflated Explicit VR Little Endian (PS3.5 A.5)."""
    engine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = b"".join(engine.compress(piece) for piece in pieces) + engine.flush()
    return packed + b"\0" * (len(packed) % 2)


def thing(*elements: bytes, first: bytes = b"", syntax: str = EXPLICIT) -> Encoded:
    """An object of fresh UID with these elements behind its identity, in explicit VR; `first` stands before it."""
    uid = fresh_uid(40)
    data = first + b"".join(
        (
            explicit(0x00080016, b"UI", CT.encode() + b"\0" * (len(CT) % 2)), explicit(0x00080018, b"UI", uid.encode()),
            explicit(0x00080060, b"CS", b"CT"), *elements,
        )
    )  # fmt: skip
    return Encoded(CT, uid, syntax, deflated(data) if syntax == DEFLATED else data)
