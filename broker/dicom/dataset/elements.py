"""Walks an encoded data set without decoding it: every length checked against what is there (PS3.5 7).

pydicom reads a truncated Pixel Data element without a word; a C-STORE answered on that would store half an image.
So the walk goes to the last byte. It notes the wanted top-level elements, where they are short enough.
"""

from __future__ import annotations

import mmap
import struct
import threading
import zlib
from collections.abc import Callable, Container
from typing import NamedTuple

from broker.dicom import uids
from broker.errors import BadContent

MAX_DEPTH = 64
MAX_NOTED = 16 * 1024  # longest value noted, bytes
MAX_ELEMENTS = 5_000_000
REST = 512  # elements between two calls of `relax`
MAX_INFLATED = 256 * 1024**2
MAX_RATIO = 1_000  # beyond, a deflated data set is a bomb and no image
UNDEFINED = 0xFFFFFFFF
_PIECE = 256 * 1024  # bytes that go in or come out at once; more would stand in memory three times
LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
SHORT = frozenset(
    {
        b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
        b"ST", b"TM", b"UI", b"UL", b"US",
    }
)  # fmt: skip
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PIXEL_DATA = 0x7FE00010
Buffer = bytes | bytearray | memoryview | mmap.mmap
_inflating = threading.Lock()  # one inflated data set in memory at a time


class Element(NamedTuple):
    """A top-level element: tag as one number, explicit VR or empty, value bytes."""

    tag: int
    vr: str
    value: bytes


class DataSetScan(NamedTuple):
    """What a walk found: wanted elements by tag, and the byte order of their values."""

    elements: dict[int, Element]
    big_endian: bool


def scan(
    data: Buffer, transfer_syntax: str, wanted: Container[int], relax: Callable[[], object] = lambda: None
) -> DataSetScan:
    """Walk the whole data set and note the top-level elements whose tags are `wanted`, the first of each.

    `relax` is called now and then, so that a mapped file can let go of the pages that were looked at.
    Raises BadContent if lengths, nesting or delimiters are wrong.
    """
    if transfer_syntax in uids.DEFLATED_SYNTAXES:
        with _inflating:
            plain = _inflate(data)
            try:
                return _scan(plain, transfer_syntax, wanted, relax)
            finally:
                plain.clear()  # an error would keep it for as long as its traceback lives
    return _scan(data, transfer_syntax, wanted, relax)


def _scan(data: Buffer, transfer_syntax: str, wanted: Container[int], relax: Callable[[], object]) -> DataSetScan:
    big = transfer_syntax == uids.EXPLICIT_BE
    explicit = transfer_syntax != uids.IMPLICIT_LE and not _is_implicit(data)
    walk = _Walk(data, wanted, relax, explicit=explicit, big_endian=big)
    walk.elements(0, len(data), 0)
    return DataSetScan(walk.found, big)


def _is_implicit(data: Buffer) -> bool:
    """Some devices declare an explicit syntax and send implicit VR; where a VR should stand is then a short length."""
    return len(data) >= 8 and not bytes(data[4:6]).isalpha()


class _Walk:
    def __init__(
        self, data: Buffer, wanted: Container[int], relax: Callable[[], object], *, explicit: bool, big_endian: bool
    ) -> None:
        self._data = data
        self._wanted = wanted
        self._relax = relax
        self._explicit = explicit
        order = ">" if big_endian else "<"
        self._tag = struct.Struct(order + "HH")
        self._explicit_head = struct.Struct(order + "HH2sH")
        self._implicit_head = struct.Struct(order + "HHI")
        self._length = struct.Struct(order + "I")
        self._count = 0
        self._pause_at = min(REST, MAX_ELEMENTS)
        self.found: dict[int, Element] = {}

    def elements(self, position: int, end: int, depth: int, *, explicit: bool | None = None) -> int:
        """Walk elements up to `end`, or to an item delimiter at a nested level; where the walk stands then."""
        if depth > MAX_DEPTH:
            raise BadContent("sequences nested too deeply", code="too-deep")
        explicit = self._explicit if explicit is None else explicit
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
                if not depth and tag in self._wanted and length <= MAX_NOTED and tag not in self.found:
                    value = bytes(self._data[position : position + length])
                    self.found[tag] = Element(tag, vr.decode("ascii", "replace"), value)
                position += length
        return position

    def _header(self, position: int, end: int, explicit: bool) -> tuple[int, bytes, int, int]:
        """Tag, VR (empty if implicit), value length, position of the value."""
        self._count += 1
        if self._count > self._pause_at:
            self._pause()
        if end - position < 8:
            raise BadContent("element shorter than its header", code="truncated")
        if explicit:
            group, element, vr, length = self._explicit_head.unpack_from(self._data, position)
            if group != 0xFFFE:
                tag = group << 16 | element
                if vr in SHORT:
                    return tag, vr, length, position + 8
                if vr in LONG:
                    if end - position < 12:
                        raise BadContent("element shorter than its header", code="truncated")
                    return tag, vr, self._length.unpack_from(self._data, position + 8)[0], position + 12
                if not vr.isalpha() or not vr.isupper():
                    raise BadContent("element without a valid VR", code="bad-vr")
                return tag, vr, length, position + 8
        group, element, length = self._implicit_head.unpack_from(self._data, position)
        return group << 16 | element, b"", length, position + 8

    def _pause(self) -> None:
        if self._count > MAX_ELEMENTS:
            raise BadContent("too many elements", code="too-many-elements")
        self._relax()
        self._pause_at = min(self._count + REST, MAX_ELEMENTS)

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


def _inflate(data: Buffer) -> bytearray:
    """Inflate a deflated data set, bounded in size and ratio (PS3.5 A.5).

    Pieces are copies: a view that an error keeps alive would not let a mapped file be closed.
    """
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    limit = min(MAX_INFLATED, MAX_RATIO * len(data) + 65_536)
    plain = bytearray()
    try:
        for start in range(0, len(data), _PIECE):
            piece = bytes(data[start : start + _PIECE])
            while piece and not engine.eof:
                plain += engine.decompress(piece, min(_PIECE, limit + 1 - len(plain)))
                if len(plain) > limit:
                    plain.clear()
                    raise BadContent("deflated data set too large", code="bad-deflate")
                piece = engine.unconsumed_tail
    except zlib.error:
        raise BadContent("deflated data set cannot be inflated", code="bad-deflate") from None
    if not engine.eof:
        raise BadContent("deflated data set is cut", code="bad-deflate")
    return plain
