"""One answer: a document and the return keys become an encoded identifier (PS3.4 K.4.1.3.2).

Only what was asked for, recursively; exactly one item in the Scheduled Procedure Step Sequence. Written
straight to bytes: pydicom takes 1.6 ms for an answer of 50 elements, this a fraction, and a value that is
longer than its VR allows goes out as it is, since a cut accession number breaks reconciliation.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from broker.worklist.attributes import SPECIFIC_CHARACTER_SET, STEP_SEQUENCE, TIMEZONE
from broker.worklist.charset import DEFAULT, Charset, lookup
from broker.worklist.cut import cut
from broker.worklist.identifier import IMPLICIT_VR_LITTLE_ENDIAN, LONG_VRS
from broker.worklist.query import Query
from broker.worklist.timezone import offset_text
from broker.worklist.transliterate import name_to_ascii, to_ascii
from broker.worklist.wanted import Wanted

_TEXT = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_ONE_ITEM = frozenset({STEP_SEQUENCE, "RequestedProcedureCodeSequence"})  # PS3.4 table K.6-1, remarks
_ITEM = struct.Struct("<HHI")
_SHORT_LIMIT = 0xFFFE  # longest value of a VR with a 16-bit length


class AnswerEncoder:
    """Encodes the answers of one query."""

    def __init__(
        self, query: Query, transfer_syntax: str, charset: str, fixed: Sequence[str] = (),
        lengths: Mapping[str, int] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        """`charset`: the character set for answers that the request's own one cannot hold, or if it names none.

        `fixed`: the terms of the only one that this device is answered in. `lengths`: characters, by keyword.
        """
        self._wanted = query.wanted
        self._offset = "" if query.offset is None else offset_text(query.offset)
        self._lengths = lengths
        self._implicit = transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN
        own = lookup(query.charset) if query.charset else None
        self._charsets = [own] if own is not None and own != DEFAULT else []
        self._last = lookup((charset,)) or DEFAULT
        if fixed:
            self._charsets, self._last = [], lookup(fixed) or DEFAULT

    def encode(self, document: Mapping[str, Any]) -> bytes:
        """The identifier of one answer, in the transfer syntax and a character set that holds it."""
        for charset in self._charsets:
            try:
                return _Writer(charset, self._implicit, self._lengths).identifier(document, self._wanted, self._offset)
            except UnicodeEncodeError:
                continue
        last = _Writer(self._last, self._implicit, self._lengths, lossy=True)
        return last.identifier(document, self._wanted, self._offset)


class _Writer:
    def __init__(self, charset: Charset, implicit: bool, lengths: Mapping[str, int], *, lossy: bool = False) -> None:
        self._charset = charset
        self._implicit = implicit
        self._lengths = lengths
        self._lossy = lossy
        self._plain = True  # only ASCII so far

    def identifier(self, document: Mapping[str, Any], wanted: Sequence[Wanted], offset: str) -> bytes:
        parts = [(one.tag, self._attribute(document, one)) for one in wanted]
        if offset:
            parts.append((TIMEZONE, self._element(TIMEZONE, "SH", offset.encode("ascii"))))
        if not self._plain:
            terms = "\\".join(self._charset.terms).encode("ascii")
            parts.append((SPECIFIC_CHARACTER_SET, self._element(SPECIFIC_CHARACTER_SET, "CS", terms)))
        return b"".join(data for _, data in sorted(parts, key=lambda part: part[0]))

    def _attribute(self, document: Mapping[str, Any], wanted: Wanted) -> bytes:
        if wanted.creator:
            return self._element(wanted.tag, "LO", self._text("LO", wanted.creator))
        value = document.get(wanted.keyword) if wanted.keyword else None
        if value in (None, "", []):
            return b"" if wanted.optional else self._element(wanted.tag, wanted.vr, b"")
        if wanted.vr == "SQ":
            return self._sequence(wanted, value)
        if wanted.vr == "US":
            number = str(value)
            fits = number.isascii() and number.isdigit() and len(number) <= 5 and int(number) <= 0xFFFF
            return self._element(wanted.tag, "US", struct.pack("<H", int(number)) if fits else b"")
        values = value if isinstance(value, list) else [value]
        length = self._lengths.get(wanted.keyword)
        parts = (self._text(wanted.vr, str(one), length) for one in values)
        return self._element(wanted.tag, wanted.vr, b"\\".join(parts))

    def _sequence(self, wanted: Wanted, value: Any) -> bytes:
        stored = [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
        if wanted.keyword in _ONE_ITEM:
            stored = stored[:1]
        out = bytearray()
        for item in stored:
            body = b"".join(self._attribute(item, child) for child in wanted.children)
            out += _ITEM.pack(0xFFFE, 0xE000, len(body)) + body
        return self._element(wanted.tag, "SQ", bytes(out))

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

    def _element(self, tag: int, vr: str, value: bytes) -> bytes:
        if len(value) & 1:
            value += b"\0" if vr in ("UI", "UN") else b" "
        group, number = tag >> 16, tag & 0xFFFF
        if self._implicit:
            return _ITEM.pack(group, number, len(value)) + value
        if vr not in LONG_VRS and len(value) > _SHORT_LIMIT:
            vr = "UN"  # PS3.5 6.2.2: the way to send more than 16 bits can count
        if vr in LONG_VRS:
            return struct.pack("<HH2sHI", group, number, vr.encode("ascii"), 0, len(value)) + value
        return struct.pack("<HH2sH", group, number, vr.encode("ascii"), len(value)) + value
