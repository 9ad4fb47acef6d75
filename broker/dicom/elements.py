"""Walks an encoded data set without decoding it: every length checked against what is there (PS3.5 7).

pydicom reads a truncated Pixel Data element without a word; a C-STORE answered on that would store half an image.
So the walk goes to the last byte. It notes the top-level elements that are short enough to be of interest.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from typing import NamedTuple

from broker.dicom import uids
from broker.errors import BadContent

MAX_DEPTH = 64
MAX_NOTED = 16 * 1024  # longest value noted, bytes
MAX_ELEMENTS = 5_000_000
MAX_INFLATED = 256 * 1024**2
UNDEFINED = 0xFFFFFFFF
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PIXEL_DATA = 0x7FE00010
Buffer = bytes | memoryview | mmap.mmap


class Element(NamedTuple):
    """A top-level element: tag as one number, explicit VR or empty, value bytes."""

    tag: int
    vr: str
    value: bytes


class DataSetScan(NamedTuple):
    """What a walk found: short top-level elements by tag, and the byte order of their values."""

    elements: dict[int, Element]
    big_endian: bool


def scan(data: Buffer, transfer_syntax: str) -> DataSetScan:
    """Walk the whole data set. Raises BadContent if lengths, nesting or delimiters are wrong."""
    if transfer_syntax == uids.DEFLATED:
        data = _inflate(data)
    big = transfer_syntax == uids.EXPLICIT_BE
    explicit = transfer_syntax != uids.IMPLICIT_LE and not _is_implicit(data)
    walk = _Walk(data, explicit=explicit, big_endian=big)
    walk.elements(0, len(data), 0, noted=True)
    return DataSetScan(walk.found, big)


def _is_implicit(data: Buffer) -> bool:
    """Some devices declare an explicit syntax and send implicit VR; where a VR should stand is then a short length."""
    return len(data) >= 8 and not bytes(data[4:6]).isalpha()


class _Walk:
    def __init__(self, data: Buffer, *, explicit: bool, big_endian: bool) -> None:
        self._data = data
        self._explicit = explicit
        order = ">" if big_endian else "<"
        self._tag = struct.Struct(order + "HH")
        self._short = struct.Struct(order + "H")
        self._length = struct.Struct(order + "I")
        self._count = 0
        self.found: dict[int, Element] = {}

    def elements(
        self, position: int, end: int, depth: int, *, noted: bool = False, explicit: bool | None = None
    ) -> int:
        """Walk elements up to `end`, or to an item delimiter at a nested level; where the walk stands then."""
        if depth > MAX_DEPTH:
            raise BadContent("sequences nested too deeply", code="too-deep")
        explicit = self._explicit if explicit is None else explicit
        previous = -1
        while position < end:
            tag, vr, length, position = self._header(position, end, explicit)
            if tag == _ITEM_END and depth:
                return position
            if tag >> 16 == 0xFFFE:
                raise BadContent("delimiter out of place", code="bad-delimiter")
            if length == UNDEFINED:
                position = self._undefined(tag, vr, position, end, depth, explicit)
            elif position + length > end:
                raise BadContent("element longer than the data set", code="truncated")
            else:
                if noted and length <= MAX_NOTED and tag > previous:
                    value = bytes(self._data[position : position + length])
                    self.found[tag] = Element(tag, vr.decode("ascii", "replace"), value)
                position += length
            previous = tag
        return position

    def _header(self, position: int, end: int, explicit: bool) -> tuple[int, bytes, int, int]:
        """Tag, VR (empty if implicit), value length, position of the value."""
        self._count += 1
        if self._count > MAX_ELEMENTS:
            raise BadContent("too many elements", code="too-many-elements")
        if end - position < 8:
            raise BadContent("element shorter than its header", code="truncated")
        group, element = self._tag.unpack_from(self._data, position)
        tag = group << 16 | element
        if not explicit or group == 0xFFFE:
            return tag, b"", self._length.unpack_from(self._data, position + 4)[0], position + 8
        vr = bytes(self._data[position + 4 : position + 6])
        if vr not in _LONG:
            if not vr.isalpha() or not vr.isupper():
                raise BadContent("element without a valid VR", code="bad-vr")
            return tag, vr, self._short.unpack_from(self._data, position + 6)[0], position + 8
        if end - position < 12:
            raise BadContent("element shorter than its header", code="truncated")
        return tag, vr, self._length.unpack_from(self._data, position + 8)[0], position + 12

    def _undefined(self, tag: int, vr: bytes, position: int, end: int, depth: int, explicit: bool) -> int:
        """A sequence or encapsulated pixel data up to its delimiter."""
        if tag == _PIXEL_DATA or vr in (b"OB", b"OW"):
            return self._encapsulated(position, end)
        if explicit and vr not in (b"SQ", b"UN"):
            raise BadContent("undefined length on a VR that has none", code="bad-length")
        # PS3.5 6.2.2: UN of undefined length holds a sequence in implicit VR
        inner = explicit and vr == b"SQ"
        while True:
            item, _, length, position = self._header(position, end, explicit)
            if item == _SEQUENCE_END:
                return position
            if item != _ITEM:
                raise BadContent("something that is not an item inside a sequence", code="bad-delimiter")
            if length == UNDEFINED:
                before = position
                position = self.elements(position, end, depth + 1, explicit=inner)
                self._closed(before, position)
            elif position + length > end:
                raise BadContent("item longer than the data set", code="truncated")
            else:
                position += length

    def _closed(self, before: int, position: int) -> None:
        """An item of undefined length must have ended with its delimiter."""
        if position - before < 8 or self._tag.unpack_from(self._data, position - 8) != (0xFFFE, 0xE00D):
            raise BadContent("item without its delimiter", code="truncated")

    def _encapsulated(self, position: int, end: int) -> int:
        while True:
            item, _, length, position = self._header(position, end, False)
            if item == _SEQUENCE_END:
                return position
            if item != _ITEM or length == UNDEFINED or position + length > end:
                raise BadContent("pixel data fragment does not fit", code="truncated")
            position += length


def _inflate(data: Buffer) -> bytes:
    """Inflate a deflated data set, bounded in size (PS3.5 A.5)."""
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        # a ratio over 1,000:1 is the mark of a bomb, not of an image
        plain = engine.decompress(bytes(data), min(MAX_INFLATED, 1_000 * len(data) + 65_536))
    except zlib.error:
        raise BadContent("deflated data set cannot be inflated", code="bad-deflate") from None
    if engine.unconsumed_tail or not engine.eof:
        raise BadContent("deflated data set too large or cut", code="bad-deflate")
    return plain
