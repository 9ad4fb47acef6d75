"""Reads a data set of text from bytes: bounded in size, depth and number of elements, decoded to Unicode.

Queries, answers of other worklist servers, performed procedure steps and worklist files are read by it. Lenient where
devices are careless: values longer than their VR, wild cards in any VR, the other VR encoding than negotiated. Strict
about structure. Not pydicom, because that one warns through process-wide state, recurses without a bound and takes
twenty times as long.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from pydicom.datadict import tag_for_keyword

from broker import telemetry
from broker.dicom import uids
from broker.dicom.dataset.charset import DEFAULT, LATIN_1, Charset, lookup
from broker.dicom.dataset.encoding import (
    ITEM_END,
    NAMES,
    SEQUENCE_END,
    SPECIFIC_CHARACTER_SET,
    TEXT_VRS,
    UNDEFINED,
    dictionary_vr,
)
from broker.dicom.dataset.walk import OPEN, Token, Tokens
from broker.errors import BadContent

MAX_BYTES = 256 * 1024
MAX_DEPTH = 8
MAX_ELEMENTS = 4096  # elements and items together


class BadElement(BadContent):
    """The value of an element cannot be used; `tag` is the Offending Element (0000,0901). The text holds no values."""

    def __init__(self, text: str, tag: int | str, *, code: str) -> None:
        """`tag` as a number or a keyword; `text` becomes the Error Comment, cut at 64 characters."""
        super().__init__(text[:64], code=code)
        self.tag = (tag_for_keyword(tag) or 0) if isinstance(tag, str) else tag


class Element(NamedTuple):
    """One element: the text of its value, undivided and unstripped, or its items."""

    tag: int
    vr: str
    text: str = ""
    items: tuple[Mapping[int, Element], ...] = ()


@dataclass(frozen=True, slots=True)
class TextDataSet:
    """The elements of a data set by tag, and the character set it names (empty: none)."""

    elements: Mapping[int, Element]
    charset: tuple[str, ...] = ()


def decode_data_set(
    data: bytes,
    transfer_syntax: str,
    *,
    max_bytes: int = MAX_BYTES,
    max_elements: int = MAX_ELEMENTS,
    passes_misfits: bool = False,
) -> TextDataSet:
    """Read the identifier of a C-FIND request, or another data set of text within these limits, little endian.

    `passes_misfits`: text in an attribute that is a sequence, and items in one that is none, are read as they stand:
    the VR of the element is not that of its attribute, and the caller decides.
    Raises BadElement for an element whose form does not fit its attribute, and BadContent for all else that cannot be
    read: `identifier-too-large`, `identifier-too-deep`, `identifier-unreadable`. The texts hold no values.
    """
    if len(data) > max_bytes:
        raise BadContent("identifier too large", code="identifier-too-large")
    explicit = encoding_of(data, transfer_syntax) == uids.EXPLICIT_LE
    resolve = _as_it_stands if passes_misfits else _resolve
    walk = Tokens(data, explicit=explicit, max_elements=max_elements, resolve=resolve, passes_text=passes_misfits)
    tokens = iter(walk)
    try:
        elements = _Reader(data, tokens).elements(0, DEFAULT)
    except BadElement:
        raise
    except BadContent as error:
        raise _refusal(error.code) from None
    named = elements.get(SPECIFIC_CHARACTER_SET)
    return TextDataSet(elements, _terms(named.text) if named else ())


def _refusal(code: str) -> BadContent:
    """What the door says of a data set that the walk refuses."""
    if code == "too-many-elements":
        return BadContent("identifier with too many elements", code="identifier-too-large")
    if code == "too-deep":
        return BadContent("identifier nested too deeply", code="identifier-too-deep")
    return BadContent("identifier cannot be read", code="identifier-unreadable")


def encoding_of(data: bytes, transfer_syntax: str) -> str:
    """What a data set is encoded in: the `transfer_syntax` agreed on, but for a peer that sends the other encoding."""
    implicit = transfer_syntax == uids.IMPLICIT_LE
    if implicit != _looks_explicit(data, implicit):
        return transfer_syntax
    return uids.EXPLICIT_LE if implicit else uids.IMPLICIT_LE


def _looks_explicit(data: bytes, implicit: bool) -> bool:
    """Does the first element carry a VR? In an implicit context only when the bytes make no possible length."""
    named = data[4:6] in NAMES
    if implicit:
        return named and len(data) >= 8 and 8 + int.from_bytes(data[4:8], "little") > len(data)
    return named or len(data) < 8


@lru_cache(8192)
def _known(tag: int) -> bytes:
    """VR of a tag in the dictionary, the first of "US or SS"; empty for private and unknown ones."""
    return dictionary_vr(tag)[:2].encode("ascii")


def _resolve(tag: int, vr: bytes, length: int) -> bytes:
    """The VR that the dictionary gives, else the one that stands there. Raises BadElement if these cannot be one."""
    known = _known(tag)
    if known == b"SQ":
        if length and vr not in (b"", b"SQ", b"UN"):
            raise BadElement("text in an attribute that is a sequence", tag, code="sequence-expected")
        return known
    if vr == b"SQ" or length == UNDEFINED:
        if known and length:
            raise BadElement("items in an attribute that is no sequence", tag, code="sequence-not-expected")
        return b"SQ"
    return known or vr or b"UN"


def _as_it_stands(tag: int, vr: bytes, length: int) -> bytes:
    """The VR that the dictionary gives, but for text where items belong and for items where text belongs."""
    known = _known(tag)
    if known == b"SQ" and length and vr not in (b"", b"SQ", b"UN"):
        return vr
    return b"SQ" if vr == b"SQ" or length == UNDEFINED else known or vr or b"UN"


def _terms(text: str) -> tuple[str, ...]:
    """The values of (0008,0005); a zero-length element counts as absent."""
    terms = tuple(term.strip(" \0") for term in text.split("\\"))
    return terms if any(terms) else ()


class _Reader:
    """Makes elements of the tokens of a walk."""

    def __init__(self, data: bytes, tokens: Iterator[Token]) -> None:
        self._data = data
        self._tokens = tokens

    def elements(self, depth: int, charset: Charset) -> dict[int, Element]:
        """Elements up to the end of the item or of the data set; of one that stands twice the last counts."""
        data, found = self._data, {}
        for tag, code, start, stop in self._tokens:
            if stop == OPEN:
                found[tag] = Element(tag, "SQ", "", self._items(depth, charset))
            elif tag == ITEM_END:
                break
            elif tag & 0xFFFF:  # not a group length
                vr = NAMES[code]
                if vr in TEXT_VRS:
                    text = charset.decode(data[start:stop], name=vr == "PN")
                elif vr == "US":
                    text = str(int.from_bytes(data[start : min(stop, start + 2)], "little")) if stop > start else ""
                else:
                    text = data[start:stop].decode("latin_1")
                found[tag] = Element(tag, vr, text)
                if tag == SPECIFIC_CHARACTER_SET and (terms := _terms(text)):
                    charset = lookup(terms) or LATIN_1
        return found

    def _items(self, depth: int, charset: Charset) -> tuple[Mapping[int, Element], ...]:
        if depth >= MAX_DEPTH:
            raise BadContent("data set nested too deeply", code="too-deep")
        items = []
        for tag, _, _, _ in self._tokens:
            if tag == SEQUENCE_END:
                break
            items.append(self.elements(depth + 1, charset))
        return tuple(items)


telemetry.count_entries("data-dictionary-read", _known)
