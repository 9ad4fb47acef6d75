"""Turns a data set from Implicit into Explicit VR Little Endian or back: headers change, values stay byte by byte.

What has no VR in the dictionary (private, new, or ambiguous ones like US or SS) becomes UN, which every reader must
take (PS3.5 6.2.2). Sequences get undefined lengths. Group lengths (PS3.5 7.2, retired) would be wrong and are left out.
"""

from __future__ import annotations

from collections.abc import Iterator

from broker.dicom import uids
from broker.dicom.dataset.encoding import (
    ITEM,
    ITEM_END,
    NAMES,
    SEQUENCE_END,
    UNDEFINED,
    dictionary_vr,
    header,
)
from broker.dicom.dataset.walk import OPEN, Token, Tokens
from broker.errors import BadContent

SYNTAXES = (uids.EXPLICIT_LE, uids.IMPLICIT_LE)
_MAX_ELEMENTS = 5_000_000
_DELIMITERS = (ITEM, ITEM_END, SEQUENCE_END)


def recode(data: bytes, source: str, target: str) -> bytes:
    """The data set in the transfer syntax `target`, both being of SYNTAXES.

    Raises BadContent for other syntaxes, and for data whose lengths or delimiters are wrong.
    """
    if source not in SYNTAXES or target not in SYNTAXES:
        raise BadContent("only between implicit and explicit VR little endian", code="not-recodable")
    if source == target:
        return data
    implicit = target == uids.IMPLICIT_LE
    parts: list[bytes] = []
    tokens = iter(Tokens(data, explicit=implicit, max_elements=_MAX_ELEMENTS, resolve=_resolve))
    for tag, vr, start, stop in tokens:
        if tag in _DELIMITERS:
            parts.append(header(tag, b"", UNDEFINED if tag == ITEM else 0, implicit=True))
        elif stop == OPEN:
            parts.append(header(tag, vr, UNDEFINED, implicit=implicit))
            if vr == b"UN":  # a sequence in implicit VR in every syntax (PS3.5 6.2.2): copied as it is
                parts.append(data[start : _end_of_sequence(tokens)])
        elif tag & 0xFFFF:
            parts.append(header(tag, vr, stop - start, implicit=implicit))
            parts.append(data[start:stop])
    return b"".join(parts)


def _resolve(tag: int, vr: bytes, length: int) -> bytes:
    """The VR as it stands or as the dictionary says. Raises BadContent for an undefined length that has no meaning."""
    if not vr:
        known = dictionary_vr(tag).encode("ascii")
        vr = known if known in NAMES else b"UN"
    if length == UNDEFINED and vr not in (b"SQ", b"UN"):
        raise BadContent("undefined length on a VR that has none", code="bad-length")
    return vr


def _end_of_sequence(tokens: Iterator[Token]) -> int:
    """Pass over the content of a sequence; the position behind its delimiter."""
    depth = 1
    for tag, _, _, stop in tokens:
        if tag == SEQUENCE_END:
            depth -= 1
            if not depth:
                return stop
        elif stop == OPEN and tag != ITEM:
            depth += 1
    raise AssertionError("the walk closes every sequence")
