"""Walks over an encoded data set: finds its elements, checks every length, nesting and delimiter (PS3.5 7).

`HeaderWalk` reads headers and counts them. `scan` stands on it for objects that arrive: they are measured, not entered.
`Tokens` stands on it for all that is read whole: queries, answers, performed steps (`read`).
No value is decoded or held here, so a walk costs the same for any size of value.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Generator, Iterator

from broker.dicom.dataset.encoding import ITEM, ITEM_END, LONG, SEQUENCE_END, SHORT, UNDEFINED
from broker.errors import BadContent

MAX_DEPTH = 64
REST = 512  # elements between two calls of `relax`
OPEN = -1  # the end of an element or item whose content follows as tokens of its own
CLOSED = -1  # the length of the item that is none: the sequence ends

Buffer = bytes | bytearray | memoryview | mmap.mmap
Token = tuple[int, bytes, int, int]  # tag, VR, where the value begins and ends; of a delimiter where it stands
Resolve = Callable[[int, bytes, int], bytes]


class HeaderWalk:
    """Reads headers of elements and items one by one.

    Raises BadContent: `truncated`, `bad-delimiter`, `bad-vr`, `too-deep`, `too-many-elements`.
    """

    def __init__(
        self,
        data: Buffer,
        *,
        big_endian: bool = False,
        any_vr: bool = False,
        max_elements: int,
        relax: Callable[[], object] = lambda: None,
    ) -> None:
        """`any_vr`: two capital letters that are no VR pass as one. `max_elements` counts items and delimiters too.

        `relax` is called after every REST of them.
        """
        self._data = data
        self._any_vr = any_vr
        self._max_elements = max_elements
        self._relax = relax
        order = ">" if big_endian else "<"
        self._explicit_head = struct.Struct(order + "HH2sH")
        self._implicit_head = struct.Struct(order + "HHI")
        self._length = struct.Struct(order + "I")
        self._count = 0
        self._pause_at = min(REST, max_elements)

    def header(self, position: int, end: int, explicit: bool) -> tuple[int, bytes, int, int]:
        """Tag, VR (empty in implicit VR and of delimiters), length of the value, position of the value."""
        self._count += 1
        if self._count > self._pause_at:
            self._pause()
        if end - position < 8:
            raise BadContent("element shorter than its header", code="truncated")
        if explicit:
            group, number, vr, length = self._explicit_head.unpack_from(self._data, position)
            if group != 0xFFFE:
                if vr in SHORT:
                    return group << 16 | number, vr, length, position + 8
                if vr in LONG:
                    if end - position < 12:
                        raise BadContent("element shorter than its header", code="truncated")
                    return (
                        group << 16 | number,
                        vr,
                        self._length.unpack_from(self._data, position + 8)[0],
                        position + 12,
                    )
                if not self._any_vr or not vr.isalpha() or not vr.isupper():
                    raise BadContent("element without a valid VR", code="bad-vr")
                return group << 16 | number, vr, length, position + 8
        group, number, length = self._implicit_head.unpack_from(self._data, position)
        return group << 16 | number, b"", length, position + 8

    def _pause(self) -> None:
        if self._count > self._max_elements:
            raise BadContent("too many elements", code="too-many-elements")
        self._relax()
        self._pause_at = min(self._count + REST, self._max_elements)

    def item(self, position: int, stop: int, *, delimited: bool) -> tuple[int, int]:
        """Length of the next item of a sequence and position of its content; CLOSED at the delimiter of the sequence.

        `stop`: where the sequence must end, `delimited`: by its delimiter.
        """
        tag, _, length, position = self.header(position, stop, False)
        if tag == SEQUENCE_END and delimited:
            return CLOSED, position
        if tag != ITEM:
            raise BadContent("something that is not an item inside a sequence", code="bad-delimiter")
        if length != UNDEFINED and length > stop - position:
            raise BadContent("item longer than the data set", code="truncated")
        return length, position

    @staticmethod
    def check_end(tag: int, *, delimited: bool) -> None:
        """Raises BadContent for a delimiter among elements that does not end their item."""
        if tag != ITEM_END or not delimited:
            raise BadContent("delimiter out of place", code="bad-delimiter")

    @staticmethod
    def check_depth(depth: int) -> None:
        """Raises BadContent for elements of items below too many others."""
        if depth > MAX_DEPTH:
            raise BadContent("sequences nested too deeply", code="too-deep")


class Tokens(HeaderWalk):
    """An iteration over all elements of a little endian data set, those of items included.

    It asks `resolve(tag, vr, length)` for the VR of each element (`vr` as it stands, empty in implicit VR), and enters
    those that are SQ by that or of undefined length. These come as OPEN, as do items, and the end of each as a
    delimiter, whether one stands there or not.
    """

    def __init__(
        self, data: bytes, *, explicit: bool, max_elements: int, resolve: Resolve, passes_text: bool = False
    ) -> None:
        """`resolve` may raise BadContent too. `passes_text`: a sequence that holds no item comes as UN, not entered."""
        super().__init__(data, max_elements=max_elements)
        self._explicit = explicit
        self._passes_text = passes_text
        self._resolve = resolve

    def __iter__(self) -> Iterator[Token]:
        return self._elements(0, len(self._data), 0, self._explicit, delimited=False)

    def _elements(
        self, position: int, end: int, depth: int, explicit: bool, *, delimited: bool
    ) -> Generator[Token, None, int]:
        """Elements up to `end`, or `delimited`: up to the item delimiter. Returns the position behind them."""
        self.check_depth(depth)
        header, resolve = self.header, self._resolve
        while position < end:
            start = position
            tag, vr, length, position = header(position, end, explicit)
            if tag >> 16 == 0xFFFE:
                self.check_end(tag, delimited=delimited)
                yield tag, b"", start, position
                return position
            kind = resolve(tag, vr, length)
            if length != UNDEFINED and length > end - position:
                raise BadContent("element longer than the data set", code="truncated")
            if self._passes_text and kind == b"SQ" and not self._holds_item(position, length):
                kind = b"UN"
            if kind != b"SQ" and length != UNDEFINED:
                yield tag, kind, position, position + length
                position += length
                continue
            yield tag, kind, position, OPEN
            stop = end if length == UNDEFINED else position + length
            # PS3.5 6.2.2: UN of undefined length holds a sequence in implicit VR
            position = yield from self._items(
                position, stop, depth, explicit and vr != b"UN", delimited=length == UNDEFINED
            )
        if delimited:
            raise BadContent("item without its delimiter", code="truncated")
        if depth:
            yield ITEM_END, b"", position, position
        return position

    def _holds_item(self, position: int, length: int) -> bool:
        """A sequence of this length is empty, or begins with an item that fits into it."""
        if length in (0, UNDEFINED):
            return True
        if length < 8:
            return False
        group, number, inner = self._implicit_head.unpack_from(self._data, position)
        return bool(group << 16 | number == ITEM and (inner == UNDEFINED or inner <= length - 8))

    def _items(
        self, position: int, stop: int, depth: int, explicit: bool, *, delimited: bool
    ) -> Generator[Token, None, int]:
        """The items of a sequence. Returns the position behind it."""
        while delimited or position < stop:
            start = position
            length, position = self.item(position, stop, delimited=delimited)
            if length == CLOSED:
                yield SEQUENCE_END, b"", start, position
                return position
            yield ITEM, b"", position, OPEN
            open_ended = length == UNDEFINED
            inner = stop if open_ended else position + length
            position = yield from self._elements(position, inner, depth + 1, explicit, delimited=open_ended)
        yield SEQUENCE_END, b"", position, position
        return position
