"""Reads facts of an object from its encoded data set; checks the whole of it, decodes none of it (PS3.5 7).

pydicom reads a truncated Pixel Data element without a word; a C-STORE answered on that would store half an image.
So the walk goes to the last byte. It notes the wanted top-level elements, where they are short enough.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Container
from typing import NamedTuple

from broker.dicom import uids
from broker.dicom.dataset.encoding import ITEM, PIXEL_DATA, SEQUENCE_END, UNDEFINED, dictionary_vr
from broker.dicom.dataset.walk import CLOSED, Buffer, HeaderWalk
from broker.errors import BadContent

MAX_NOTED = 16 * 1024  # longest value noted, bytes
MAX_SEQUENCE = 128 * 1024  # longest sequence noted, bytes
MAX_ITEMS = 64  # items of a sequence that are read
MAX_ELEMENTS = 5_000_000
MAX_INFLATED = 256 * 1024**2
MAX_RATIO = 1_000  # beyond, a deflated data set is a bomb and no image
_PIECE = 256 * 1024  # bytes that go in or come out at once; more would stand in memory three times
_inflating = threading.Lock()  # one inflated data set in memory at a time


class RawElement(NamedTuple):
    """A top-level element: tag as one number, explicit VR or empty, value bytes."""

    tag: int
    vr: str
    value: bytes


class DataSetScan(NamedTuple):
    """The wanted elements of a data set by tag, and how it is encoded.

    The value of a sequence is all that stands behind its header, a delimiter included.
    """

    elements: dict[int, RawElement]
    big_endian: bool
    explicit: bool = True


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
    explicit = transfer_syntax != uids.IMPLICIT_LE and not is_implicit(data)
    measure = _Measure(data, wanted, relax, big_endian=big)
    measure.elements(0, len(data), 0, explicit, delimited=False)
    return DataSetScan(measure.noted, big, explicit)


def scan_beginning(data: Buffer, transfer_syntax: str, wanted: Container[int]) -> DataSetScan:
    """Note the wanted elements of the beginning of a data set, which may end anywhere: no object is taken on this.

    Raises BadContent for a deflated one, and if lengths, nesting or delimiters before its end are wrong.
    """
    if transfer_syntax in uids.DEFLATED_SYNTAXES:
        raise BadContent("the beginning of a deflated data set cannot be read", code="bad-deflate")
    big = transfer_syntax == uids.EXPLICIT_BE
    explicit = transfer_syntax != uids.IMPLICIT_LE and not is_implicit(data)
    measure = _Measure(data, wanted, lambda: None, big_endian=big)
    try:
        measure.elements(0, len(data), 0, explicit, delimited=False)
    except BadContent as error:
        if error.code != "truncated":
            raise
    return DataSetScan(measure.noted, big, explicit)


class _Everything:
    """Wants each tag."""

    def __contains__(self, tag: object) -> bool:
        return True


_EVERYTHING = _Everything()


def items_of(sequence: RawElement, scanned: DataSetScan) -> list[dict[int, RawElement]]:
    """The elements of each item of a sequence that `scan` or this function noted; of the first MAX_ITEMS.

    Raises BadContent for bytes that are no items.
    """
    data = sequence.value
    explicit = scanned.explicit and sequence.vr != "UN"  # PS3.5 6.2.2: items of UN are in implicit VR
    big_endian = scanned.big_endian and sequence.vr != "UN"
    walk = _Measure(data, _EVERYTHING, lambda: None, big_endian=big_endian)
    items: list[dict[int, RawElement]] = []
    position = 0
    while position < len(data) and len(items) < MAX_ITEMS:
        length, position = walk.item(position, len(data), delimited=True)
        if length == CLOSED:
            break
        delimited = length == UNDEFINED
        walk.noted = {}
        position = walk.elements(
            position, len(data) if delimited else position + length, 0, explicit, delimited=delimited
        )
        items.append(walk.noted)
    return items


def is_implicit(data: Buffer) -> bool:
    """Say whether a data set in an explicit syntax is in implicit VR after all, as some devices send it.

    Where a VR should stand is then a short length.
    """
    return len(data) >= 8 and not bytes(data[4:6]).isalpha()


class _Measure(HeaderWalk):
    """Measures a data set: enters what has no length and skips what has one, whatever that holds."""

    def __init__(self, data: Buffer, wanted: Container[int], relax: Callable[[], object], *, big_endian: bool) -> None:
        super().__init__(data, big_endian=big_endian, any_vr=True, max_elements=MAX_ELEMENTS, relax=relax)
        self._big_endian = big_endian
        self._wanted = wanted
        self.noted: dict[int, RawElement] = {}

    def elements(self, position: int, end: int, depth: int, explicit: bool, *, delimited: bool) -> int:
        """Elements up to `end`, or `delimited`: to the item delimiter; the position behind them."""
        self.check_depth(depth)
        while position < end:
            tag, vr, length, position = self.header(position, end, explicit)
            if tag >> 16 == 0xFFFE:
                self.check_end(tag, delimited=delimited)
                return position
            if length == UNDEFINED:
                start = position
                position = self._undefined(tag, vr, position, end, depth, explicit)
                if not depth and tag in self._wanted and tag != PIXEL_DATA:
                    self._note(tag, vr, start, position)
            elif position + length > end:
                raise BadContent("element longer than the data set", code="truncated")
            else:
                if not depth and tag in self._wanted:
                    self._note(tag, vr, position, position + length)
                position += length
        if delimited:
            raise BadContent("item without its delimiter", code="truncated")
        return position

    def _note(self, tag: int, vr: bytes, start: int, end: int) -> None:
        """Note the first element of a tag, if its value is short enough to look at."""
        sequence = vr == b"SQ" or (vr in (b"", b"UN") and dictionary_vr(tag) == "SQ")
        if tag not in self.noted and end - start <= (MAX_SEQUENCE if sequence else MAX_NOTED):
            self.noted[tag] = RawElement(tag, vr.decode("ascii", "replace"), bytes(self._data[start:end]))

    def _undefined(self, tag: int, vr: bytes, position: int, end: int, depth: int, explicit: bool) -> int:
        """A sequence or encapsulated pixel data up to its delimiter; the position behind it."""
        if tag == PIXEL_DATA or vr in (b"OB", b"OW"):
            return self._fragments(position, end)
        if vr == b"UN" and self._big_endian:  # PS3.5 6.2.2: little endian inside, whatever the syntax says
            inner = _Measure(self._data, (), self._relax, big_endian=False)
            inner._count = self._count
            position = inner._undefined(tag, vr, position, end, depth, explicit)
            self._count = inner._count
            return position
        if explicit and vr not in (b"SQ", b"UN"):
            raise BadContent("undefined length on a VR that has none", code="bad-length")
        while True:
            length, position = self.item(position, end, delimited=True)
            if length == CLOSED:
                return position
            if length == UNDEFINED:
                # PS3.5 6.2.2: UN of undefined length holds a sequence in implicit VR
                position = self.elements(position, end, depth + 1, explicit and vr == b"SQ", delimited=True)
            else:
                position += length

    def _fragments(self, position: int, end: int) -> int:
        """Encapsulated pixel data (PS3.5 A.4)."""
        while True:
            tag, _, length, position = self.header(position, end, False)
            if tag == SEQUENCE_END:
                return position
            if tag != ITEM or length == UNDEFINED or position + length > end:
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
