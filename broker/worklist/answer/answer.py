"""One answer: a document and the return keys become an encoded identifier (PS3.4 K.4.1.3.2).

Only what was asked for, recursively; exactly one item in the Scheduled Procedure Step Sequence. Written
straight to bytes: pydicom takes 1.6 ms for an answer of 50 elements, this a fraction, and a value that is
longer than its VR allows goes out as it is, since a cut accession number breaks reconciliation.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from broker.worklist.answer.cut import cut
from broker.worklist.query.attributes import SPECIFIC_CHARACTER_SET, STEP_SEQUENCE, TIMEZONE
from broker.worklist.query.charset import DEFAULT, Charset, lookup
from broker.worklist.query.identifier import IMPLICIT_VR_LITTLE_ENDIAN, LONG_VRS
from broker.worklist.query.query import Query
from broker.worklist.query.timezone import offset_text
from broker.worklist.query.transliterate import name_to_ascii, to_ascii
from broker.worklist.query.wanted import Wanted

_TEXT = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_ONE_ITEM = frozenset({STEP_SEQUENCE, "RequestedProcedureCodeSequence"})  # PS3.4 table K.6-1, remarks
_ITEM = struct.Struct("<HHI")
_OFFSET = "TimezoneOffsetFromUTC"
_SHORT_LIMIT = 0xFFFE  # longest value of a VR with a 16-bit length


@dataclass(frozen=True, slots=True)
class _Field:
    """A return key ready to be written: all that is the same in every answer."""

    tag: int
    vr: str
    keyword: str
    head: bytes  # up to the length
    wide: bool  # a length of 32 bits
    pad: bytes
    absent: bytes  # the whole element where there is no value
    children: tuple[_Field, ...]
    creator: str

    def element(self, value: bytes) -> bytes:
        """With a value."""
        if len(value) & 1:
            value += self.pad
        if self.wide:
            return self.head + len(value).to_bytes(4, "little") + value
        if len(value) > _SHORT_LIMIT:  # PS3.5 6.2.2: UN is the way to send more than 16 bits can count
            return self.head[:4] + b"UN\0\0" + len(value).to_bytes(4, "little") + value
        return self.head + len(value).to_bytes(2, "little") + value


def _field(wanted: Wanted, implicit: bool) -> _Field:
    vr = "LO" if wanted.creator else wanted.vr
    wide = implicit or vr in LONG_VRS
    head = struct.pack("<HH", wanted.tag >> 16, wanted.tag & 0xFFFF)
    if not implicit:
        head += vr.encode("ascii") + (b"\0\0" if wide else b"")
    children = tuple(_field(child, implicit) for child in _by_tag(wanted.children))
    made = _Field(
        wanted.tag, vr, wanted.keyword, head, wide, b"\0" if vr in ("UI", "UN") else b" ", b"", children, wanted.creator
    )
    return made if wanted.optional else replace(made, absent=made.element(b""))


def _by_tag(wanted: Sequence[Wanted]) -> list[Wanted]:
    return sorted(wanted, key=lambda one: one.tag)


class AnswerEncoder:
    """Encodes the answers of one query."""

    def __init__(
        self,
        query: Query,
        transfer_syntax: str,
        charset: str,
        fixed: Sequence[str] = (),
        lengths: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """`charset`: the character set for answers that the request's own one cannot hold, or if it names none.

        `fixed`: the terms of the only one that this device is answered in. `lengths`: characters, by keyword.
        """
        implicit = transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN
        wanted = [*query.wanted] if query.offset is None else [*query.wanted, Wanted(TIMEZONE, "SH", _OFFSET)]
        self._fields = tuple(_field(one, implicit) for one in _by_tag(wanted))
        self._terms = _field(Wanted(SPECIFIC_CHARACTER_SET, "CS"), implicit)
        self._more = {} if query.offset is None else {_OFFSET: offset_text(query.offset)}
        self._lengths = lengths
        own = lookup(query.charset) if query.charset else None
        self._charsets = [own] if own is not None and own != DEFAULT else []
        self._last = lookup((charset,)) or DEFAULT
        if fixed:
            self._charsets, self._last = [], lookup(fixed) or DEFAULT

    def encode(self, document: Mapping[str, Any]) -> bytes:
        """The identifier of one answer, in the transfer syntax and a character set that holds it."""
        if self._more:
            document = {**document, **self._more}
        for charset in self._charsets:
            try:
                return _Writer(charset, self._lengths).identifier(document, self._fields, self._terms)
            except UnicodeEncodeError:
                continue
        return _Writer(self._last, self._lengths, lossy=True).identifier(document, self._fields, self._terms)


class _Writer:
    def __init__(self, charset: Charset, lengths: Mapping[str, int], *, lossy: bool = False) -> None:
        self._charset = charset
        self._lengths = lengths
        self._lossy = lossy
        self._plain = True  # only ASCII so far

    def identifier(self, document: Mapping[str, Any], fields: Sequence[_Field], terms: _Field) -> bytes:
        parts = [self._attribute(document, field) for field in fields]
        if not self._plain:
            before = sum(field.tag < SPECIFIC_CHARACTER_SET for field in fields)
            parts.insert(before, terms.element("\\".join(self._charset.terms).encode("ascii")))
        return b"".join(parts)

    def _attribute(self, document: Mapping[str, Any], field: _Field) -> bytes:
        if field.creator:
            return field.element(self._text("LO", field.creator))
        value = document.get(field.keyword) if field.keyword else None
        if value in (None, "", []):
            return field.absent
        if field.vr == "SQ":
            return self._sequence(field, value)
        if field.vr == "US":
            number = str(value)
            fits = number.isascii() and number.isdigit() and len(number) <= 5 and int(number) <= 0xFFFF
            return field.element(struct.pack("<H", int(number)) if fits else b"")
        length = self._lengths.get(field.keyword) if self._lengths else None
        if isinstance(value, list):
            return field.element(b"\\".join([self._text(field.vr, str(one), length) for one in value]))
        return field.element(self._text(field.vr, str(value), length))

    def _sequence(self, field: _Field, value: Any) -> bytes:
        stored = [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
        if field.keyword in _ONE_ITEM:
            stored = stored[:1]
        out = bytearray()
        for item in stored:
            body = b"".join([self._attribute(item, child) for child in field.children])
            out += _ITEM.pack(0xFFFE, 0xE000, len(body)) + body
        return field.element(bytes(out))

    def _text(self, vr: str, value: str, length: int | None = None) -> bytes:
        if length is not None:
            value = cut(vr, value, length)
        if value.isascii():
            return value.encode("ascii")
        if vr not in _TEXT:  # code strings, UIDs, numbers: always the default repertoire
            return to_ascii(value).encode("ascii")
        try:
            encoded = self._charset.encode(value, name=vr == "PN")
        except UnicodeEncodeError:
            if not self._lossy:
                raise
            return self._fallback(vr, value, length)
        self._plain = False
        return encoded

    def _fallback(self, vr: str, value: str, length: int | None) -> bytes:
        """What can be sent of a value that does not fit; never `?`. One letter may have become two: it is cut again."""
        if vr != "PN":
            return self._text(vr, to_ascii(value), length)
        alphabetic = value.partition("=")[0]
        try:
            encoded = self._charset.encode(alphabetic, name=True)
        except UnicodeEncodeError:
            encoded = b""
        if not encoded.strip(b"^ "):
            return self._text(vr, name_to_ascii(value), length)
        self._plain = self._plain and alphabetic.isascii()
        return encoded
