"""Holds what every reader and writer of data sets shares: value representations, delimiters, headers (PS3.5 6.2, 7)."""

from __future__ import annotations

import struct
from functools import lru_cache

from pydicom.datadict import dictionary_VR

from broker import telemetry

UNDEFINED = 0xFFFFFFFF  # length of what ends with a delimiter
MAX_SHORT = 0xFFFF  # longest value that 16 bits can count, bytes
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
SPECIFIC_CHARACTER_SET = 0x00080005
PIXEL_DATA = 0x7FE00010

LONG_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
SHORT_VRS = frozenset(
    {
        "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL", "SS",
        "ST", "TM", "UI", "UL", "US",
    }
)  # fmt: skip
TEXT_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})  # those that Specific Character Set applies to
NAMES = {vr.encode("ascii"): vr for vr in LONG_VRS | SHORT_VRS}  # by the two bytes of a header
LONG = frozenset(code for code, vr in NAMES.items() if vr in LONG_VRS)
SHORT = frozenset(code for code, vr in NAMES.items() if vr in SHORT_VRS)

_implicit, _explicit, _wide = struct.Struct("<HHI"), struct.Struct("<HH2sH"), struct.Struct("<I")


@lru_cache(8192)
def dictionary_vr(tag: int) -> str:
    """VR of a tag in the data dictionary, "US or SS" where it is ambiguous; empty for private and unknown tags."""
    group, number = tag >> 16, tag & 0xFFFF
    if group & 1:
        return "LO" if 0x10 <= number <= 0xFF else ""  # private creators (PS3.5 7.8.1)
    try:
        return dictionary_VR(tag)
    except KeyError:
        return ""


def header(tag: int, vr: bytes, length: int, *, implicit: bool) -> bytes:
    """The header of an element, little endian; of an item or delimiter with `implicit`.

    A value too long for its VR becomes UN (PS3.5 6.2.2).
    """
    if implicit:
        return _implicit.pack(tag >> 16, tag & 0xFFFF, length)
    if vr in SHORT and length <= MAX_SHORT:
        return _explicit.pack(tag >> 16, tag & 0xFFFF, vr, length)
    return _explicit.pack(tag >> 16, tag & 0xFFFF, vr if vr in LONG else b"UN", 0) + _wide.pack(length)


def element(tag: int, vr: bytes, value: bytes, *, implicit: bool) -> bytes:
    """A whole element, little endian, its value padded to even length."""
    value += padding(vr) * (len(value) & 1)
    return header(tag, vr, len(value), implicit=implicit) + value


def padding(vr: bytes) -> bytes:
    """The byte that a value of odd length is padded with (PS3.5 6.2)."""
    return b"\0" if vr in {b"UI", b"UN", b"OB"} else b" "


telemetry.count_entries("data-dictionary", dictionary_vr)
