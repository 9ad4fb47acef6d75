"""Converts a data set of any size, element by element, between the syntaxes without compression (PS3.5 A.1 to A.5).

Text stays byte for byte. Numbers and words turn with the byte order, by the unit of their VR. What changes beside:

- Sequences and items get undefined lengths (PS3.5 7.5): their lengths change with their headers, and would have to be
  counted in advance, which needs memory for each item of a hostile object.
- Group lengths and Length to End (0008,0001) count bytes of the old encoding. They are left out.
- UN stays UN with its content, which is little endian and implicit everywhere (PS3.5 6.2.2). Only for big endian, UN of
  undefined length becomes the sequence that it is: few readers know that rule there.
- What implicit VR does not tell is UN in explicit VR, but SQ if it has an undefined length. What is too long for a
  length of 16 bits is UN too.

What has no such translation raises BadContent: encapsulated pixel data, a VR that is none, a value that is no multiple
of its unit, wrong lengths and delimiters.

The walk goes over the data set twice. The first time (`surveyed`) values are passed over: it finds whatever cannot be
converted before a byte is sent, and the attributes that decide about VRs of others, which may come later than these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from broker.dicom import uids
from broker.dicom.conversion.byte_stream import ByteStream
from broker.dicom.conversion.representation import (
    DECIDING,
    ENCODINGS,
    DataSetEncoding,
    HeaderReader,
    HeaderWriter,
    hidden_vr,
    turned,
    unit,
    written_vr,
)
from broker.dicom.dataset.encoding import ITEM, ITEM_END, PIXEL_DATA, SEQUENCE_END, UNDEFINED
from broker.dicom.dataset.scan import MAX_ELEMENTS, is_implicit
from broker.dicom.dataset.walk import MAX_DEPTH
from broker.errors import BadContent

PIECE = 1024 * 1024  # bytes of a piece that comes out, about; a multiple of every unit
MAX_FACTS = 10_000  # attributes that decide about others, of one object
_OPEN = -1  # the end of what ends with a delimiter
_ENDLESS = 1 << 62
_LENGTH_TO_END = 0x00080001
_NOTHING = (0, 1)
_LITTLE = DataSetEncoding(False, False)

Facts = Mapping[tuple[int, int], int]  # by number of the data set in the object and tag: the value of a DECIDING one


@dataclass(slots=True)
class _Level:
    """The data set, a sequence or an item that is open. `end`: its position or _OPEN; `bound`: where it ends at last.

    `number` of the data set; `copied`: the content of UN, which stays as it is.
    """

    sequence: bool
    end: int
    bound: int
    reader: HeaderReader
    number: int = 0
    copied: bool = False


def surveyed(stream: ByteStream, source: str, target: str) -> Facts:
    """What has to be known before an object is converted from transfer syntax `source` to `target`.

    Raises BadContent for an object that cannot be converted.
    """
    walk = _Conversion(stream, source, target, None)
    for _ in walk.pieces():
        pass
    return walk.facts


def converted(stream: ByteStream, source: str, target: str, facts: Facts) -> Iterator[bytes]:
    """The data set in transfer syntax `target`, in pieces. `facts` of the survey. Raises BadContent.

    Its last piece comes after the last one of `stream` has been asked for.
    """
    walk = _Conversion(stream, source, target, facts)
    yield from walk.pieces()


def recoded(data: bytes, source: str, target: str) -> bytes:
    """A data set that is at hand, in another transfer syntax; as it is if that is the same.

    Raises BadContent as above, and for a syntax that is compressed.
    """
    if source == target:
        return data
    if source not in ENCODINGS or target not in ENCODINGS or uids.DEFLATED in (source, target):
        raise BadContent("only between syntaxes without compression", code="not-recodable")
    facts = surveyed(ByteStream.of_pieces(iter((data,))), source, target)
    return b"".join(converted(ByteStream.of_pieces(iter((data,))), source, target, facts))


class _Conversion:
    """One walk; without `known` it makes headers and no values."""

    def __init__(self, stream: ByteStream, source: str, target: str, known: Facts | None) -> None:
        self._stream = stream
        self._source = _encoding(stream, source)
        self._target = ENCODINGS[target]
        self._turns = self._source.big_endian != self._target.big_endian
        self._write = HeaderWriter(self._target)
        self._known = known
        self.facts: dict[tuple[int, int], int] = {}
        self._levels = [_Level(False, _OPEN, _ENDLESS, HeaderReader(self._source))]
        self._reader_of_un = HeaderReader(_LITTLE)
        self._data_sets = 0
        self._count = 0
        self._out: list[bytes] = []
        self._size = 0

    def pieces(self) -> Iterator[bytes]:
        """Walk to the end."""
        while not self._over():
            length, size = self._next()
            if self._known is None:
                self._stream.skip(length)
                self._out.clear()
                continue
            while length:
                part = min(length, PIECE)
                self._add(turned(self._stream.take(part), size))
                length -= part
                if self._size >= PIECE:
                    yield self._flush()
            if self._size >= PIECE:
                yield self._flush()
        if self._known is not None:
            if self.facts != self._known:
                raise BadContent("the object is another one than was surveyed", code="changed")
            yield self._flush()

    def _add(self, data: bytes) -> None:
        self._out.append(data)
        self._size += len(data)

    def _flush(self) -> bytes:
        data = b"".join(self._out)
        self._out.clear()
        self._size = 0
        return data

    def _over(self) -> bool:
        """Close what ends here; True at the end of the data set."""
        while (level := self._levels[-1]).end == self._stream.position:
            self._close(level)
        if not self._stream.ended():
            return False
        if len(self._levels) > 1:
            raise BadContent("a sequence or item without its delimiter", code="truncated")
        return True

    # --- one step: a header is read and written, the value that follows is told: its length and unit -----------

    def _next(self) -> tuple[int, int]:
        level = self._levels[-1]
        self._count += 1
        if self._count > MAX_ELEMENTS:
            raise BadContent("too many elements", code="too-many-elements")
        if level.bound - self._stream.position < 8:
            raise BadContent("a header longer than what it is in", code="truncated")
        head = self._stream.take(8)
        if level.sequence:
            return self._item(level, head)
        tag, vr, length = level.reader.element(head, self._stream.take)
        if tag >> 16 == 0xFFFE:
            if tag != ITEM_END or level.end != _OPEN or len(self._levels) == 1:
                raise BadContent("delimiter out of place", code="bad-delimiter")
            self._close(level)
            return _NOTHING
        self._check_room(level, length)
        if level.copied:
            return self._copy(level, head, length)
        return self._element(level, tag, vr or hidden_vr(tag, self._deciding), length)

    def _element(self, level: _Level, tag: int, vr: bytes, length: int) -> tuple[int, int]:
        if length == UNDEFINED and (vr not in (b"SQ", b"UN") or tag == PIXEL_DATA):
            raise BadContent("pixel data are compressed, or an element has no length", code="bad-length")
        if length == UNDEFINED or (vr == b"SQ" and self._holds_items(level, length)):
            # PS3.5 6.2.2: UN of undefined length holds a sequence in implicit VR
            of_un = vr == b"UN" and level.reader.explicit
            copied = of_un and not self._target.big_endian
            self._add(self._write.element(tag, b"UN" if copied else b"SQ", UNDEFINED))
            self._open(level, True, length, of_un=of_un, copied=copied)
            return _NOTHING
        if not tag & 0xFFFF or tag == _LENGTH_TO_END:
            self._stream.skip(length)
            return _NOTHING
        if tag in DECIDING and not level.reader.explicit and length == 2:
            self._note(level, tag)
        kind = written_vr(b"UN" if vr == b"SQ" else vr, length, self._target)
        size = unit(kind) if self._turns else 1
        if length % size:
            raise BadContent("a value that is no multiple of its unit", code="bad-length")
        self._add(self._write.element(tag, kind, length))
        return length, size

    def _item(self, level: _Level, head: bytes) -> tuple[int, int]:
        group, number, length = level.reader.plain.unpack(head)
        tag = group << 16 | number
        if tag == SEQUENCE_END and level.end == _OPEN:
            self._close(level)
            return _NOTHING
        if tag != ITEM:
            raise BadContent("something that is not an item inside a sequence", code="bad-delimiter")
        self._check_room(level, length)
        if level.copied:
            return self._copy(level, head, length)
        self._data_sets += 1
        self._add(self._write.delimiter(ITEM, UNDEFINED))
        self._open(level, False, length)
        return _NOTHING

    def _copy(self, level: _Level, head: bytes, length: int) -> tuple[int, int]:
        """Inside UN: what has a length is copied whole, what has none is entered."""
        self._add(head)
        if length != UNDEFINED:
            return length, 1
        self._open(level, not level.sequence, length, of_un=True, copied=True)
        return _NOTHING

    # --- levels ------------------------------------------------------------------------------------------------

    def _open(self, level: _Level, sequence: bool, length: int, *, of_un: bool = False, copied: bool = False) -> None:
        if len(self._levels) > 2 * MAX_DEPTH:
            raise BadContent("sequences nested too deeply", code="too-deep")
        end = _OPEN if length == UNDEFINED else self._stream.position + length
        bound = level.bound if end == _OPEN else end
        reader = self._reader_of_un if of_un else level.reader
        self._levels.append(_Level(sequence, end, bound, reader, self._data_sets, copied))

    def _close(self, level: _Level) -> None:
        tag = SEQUENCE_END if level.sequence else ITEM_END
        if level.copied:
            self._add(self._reader_of_un.plain.pack(tag >> 16, tag & 0xFFFF, 0))
        else:
            self._add(self._write.delimiter(tag, 0))
        self._levels.pop()

    def _check_room(self, level: _Level, length: int) -> None:
        if length != UNDEFINED and length > level.bound - self._stream.position:
            raise BadContent("an element longer than what it is in", code="truncated")

    def _holds_items(self, level: _Level, length: int) -> bool:
        """A sequence by its own VR has items. One by the dictionary may hold something else: it goes as UN."""
        if level.reader.explicit or length in (0, UNDEFINED):
            return True
        group, number, _ = level.reader.plain.unpack(self._stream.peek(8).ljust(8, b"\0"))
        return length >= 8 and bool(group << 16 | number == ITEM)

    # --- attributes that decide about others ----------------------------------------------------------------------

    def _note(self, level: _Level, tag: int) -> None:
        if len(self.facts) >= MAX_FACTS:
            raise BadContent("too many data sets with pixels", code="too-many-elements")
        self.facts[level.number, tag] = int.from_bytes(self._stream.peek(2), "little")

    def _deciding(self, tag: int) -> int | None:
        """The value of an attribute of this data set, or of the innermost one around it that has it."""
        facts = self.facts if self._known is None else self._known
        for level in reversed(self._levels):
            if not level.sequence and (level.number, tag) in facts:
                return facts[level.number, tag]
        return None


def _encoding(stream: ByteStream, syntax: str) -> DataSetEncoding:
    """How a data set is written; some devices declare explicit VR and send implicit VR (see `dataset.scan`)."""
    encoding = ENCODINGS[syntax]
    if not encoding.explicit or not is_implicit(stream.peek(8)):
        return encoding
    if syntax == uids.EXPLICIT_BE:
        raise BadContent("implicit VR in big endian", code="bad-vr")
    return ENCODINGS[uids.IMPLICIT_LE]
