"""Reads the identifier of a query from bytes: bounded in size, depth and number, decoded to Unicode.

Lenient where devices are careless (values longer than their VR, wild cards in any VR, the other VR encoding
than negotiated), strict about structure. Our own reader and not pydicom's, because that one warns through
process-wide state, recurses without a bound and takes twenty times as long.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from pydicom.datadict import dictionary_VR

from broker.errors import BadContent
from broker.worklist.query.attributes import SPECIFIC_CHARACTER_SET
from broker.worklist.query.charset import DEFAULT, LATIN_1, Charset, lookup
from broker.worklist.query.refusal import BadKey

MAX_BYTES = 256 * 1024
MAX_DEPTH = 8
MAX_ELEMENTS = 4096  # elements and items together
IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"

LONG_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
_VRS = LONG_VRS | {
    "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST",
    "TM", "UI", "UL", "US",
}  # fmt: skip
_TEXT = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})  # VRs that Specific Character Set applies to
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_HEADER = struct.Struct("<HHI")


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a query: the text of its value, undivided and unstripped, or its items."""

    tag: int
    vr: str
    text: str = ""
    items: tuple[Mapping[int, Element], ...] = ()


@dataclass(frozen=True, slots=True)
class Identifier:
    """The keys of a query by tag, and the character set it names (empty: none)."""

    elements: Mapping[int, Element]
    charset: tuple[str, ...] = field(default=())


def decode_identifier(
    data: bytes, transfer_syntax: str, *, max_bytes: int = MAX_BYTES, max_elements: int = MAX_ELEMENTS
) -> Identifier:
    """Read the identifier of a C-FIND request (or another data set of text within these limits), little endian.

    Raises BadContent, whose text holds no values, for anything that cannot be read.
    """
    if len(data) > max_bytes:
        raise BadContent("identifier too large", code="identifier-too-large")
    reader = _Reader(data, max_elements)
    implicit = encoding(data, transfer_syntax) == IMPLICIT_VR_LITTLE_ENDIAN
    try:
        elements, _ = reader.elements(0, len(data), implicit, 0, DEFAULT)
    except (struct.error, RecursionError):
        raise _unreadable() from None
    named = elements.get(SPECIFIC_CHARACTER_SET)
    return Identifier(elements, _terms(named.text) if named else ())


def encoding(data: bytes, transfer_syntax: str) -> str:
    """What a data set is encoded in: the `transfer_syntax` agreed on, but for a peer that sends the other encoding."""
    implicit = transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN
    if implicit != _looks_explicit(data, implicit):
        return transfer_syntax
    return EXPLICIT_VR_LITTLE_ENDIAN if implicit else IMPLICIT_VR_LITTLE_ENDIAN


def _unreadable() -> BadContent:
    return BadContent("identifier cannot be read", code="identifier-unreadable")


def _looks_explicit(data: bytes, implicit: bool) -> bool:
    """Does the first element carry a VR? In an implicit context only when the bytes make no possible length."""
    named = data[4:6].decode("latin_1") in _VRS
    if implicit:
        return named and len(data) >= 8 and 8 + int.from_bytes(data[4:8], "little") > len(data)
    return named or len(data) < 8


@lru_cache(8192)
def _dictionary_vr(tag: int) -> str:
    """VR of a tag; empty for private and unknown ones."""
    group, element = tag >> 16, tag & 0xFFFF
    if group & 1:
        return "LO" if 0x10 <= element <= 0xFF else ""
    try:
        return dictionary_VR(tag)[:2]  # "US or SS": the first
    except KeyError:
        return ""


def _terms(text: str) -> tuple[str, ...]:
    """The values of (0008,0005); a zero-length element counts as absent."""
    terms = tuple(term.strip(" \0") for term in text.split("\\"))
    return terms if any(terms) else ()


class _Reader:
    def __init__(self, data: bytes, limit: int) -> None:
        self._data = data
        self._limit = limit
        self._count = 0

    def elements(
        self, position: int, end: int, implicit: bool, depth: int, charset: Charset, *, delimited: bool = False
    ) -> tuple[dict[int, Element], int]:
        """Elements up to `end`, or up to the item delimiter; with the position behind."""
        found: dict[int, Element] = {}
        while position < end:
            tag, vr, length, position = self._header(position, implicit)
            if tag == _ITEM_END and delimited:
                return found, position
            if tag >> 16 == 0xFFFE:
                raise _unreadable()
            known = _dictionary_vr(tag)
            sequence = known == "SQ" or vr == "SQ" or length == _UNDEFINED
            if known and length and sequence != (known == "SQ"):
                raise BadKey("items in an attribute that is no sequence", tag, code="sequence-not-expected")
            if known == "SQ" and length and vr not in ("", "SQ", "UN"):
                raise BadKey("text in an attribute that is a sequence", tag, code="sequence-expected")
            if sequence:
                items, position = self._items(position, length, end, implicit or vr == "UN", depth, charset)
                found[tag] = Element(tag, "SQ", "", items)
                continue
            if length > end - position:
                raise _unreadable()
            element = _element(tag, known or vr or "UN", self._data[position : position + length], charset)
            position += length
            if tag & 0xFFFF:  # not a group length
                found[tag] = element
            if tag == SPECIFIC_CHARACTER_SET and (terms := _terms(element.text)):
                charset = lookup(terms) or LATIN_1
        if delimited:
            raise _unreadable()
        return found, position

    def _header(self, position: int, implicit: bool) -> tuple[int, str, int, int]:
        self._count += 1
        if self._count > self._limit:
            raise BadContent("identifier with too many elements", code="identifier-too-large")
        group, number, length = _HEADER.unpack_from(self._data, position)
        tag = group << 16 | number
        if implicit or group == 0xFFFE:
            return tag, "", length, position + 8
        vr = self._data[position + 4 : position + 6].decode("latin_1")
        if vr in LONG_VRS:
            return tag, vr, struct.unpack_from("<I", self._data, position + 8)[0], position + 12
        if vr not in _VRS:
            raise _unreadable()
        return tag, vr, length >> 16, position + 8

    def _items(
        self, position: int, length: int, end: int, implicit: bool, depth: int, charset: Charset
    ) -> tuple[tuple[Mapping[int, Element], ...], int]:
        if depth >= MAX_DEPTH:
            raise BadContent("identifier nested too deeply", code="identifier-too-deep")
        stop = end if length == _UNDEFINED else position + length
        if stop > end:
            raise _unreadable()
        items: list[Mapping[int, Element]] = []
        while position < stop:
            tag, _, size, position = self._header(position, True)
            if tag == _SEQUENCE_END and length == _UNDEFINED:
                return tuple(items), position
            if tag != _ITEM or (size != _UNDEFINED and size > stop - position):
                raise _unreadable()
            open_ended = size == _UNDEFINED
            item, position = self.elements(
                position, stop if open_ended else position + size, implicit, depth + 1, charset, delimited=open_ended
            )
            items.append(item)
        if length == _UNDEFINED:
            raise _unreadable()
        return tuple(items), position


def _element(tag: int, vr: str, value: bytes, charset: Charset) -> Element:
    if vr == "US":
        return Element(tag, vr, str(int.from_bytes(value[:2], "little")) if value else "")
    if vr in _TEXT:
        return Element(tag, vr, charset.decode(value, name=vr == "PN"))
    return Element(tag, vr, value.decode("latin_1"))
