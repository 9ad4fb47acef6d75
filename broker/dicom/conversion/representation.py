"""Decides how values are written: their VR where implicit VR hides it, and the bytes that turn with the byte order.

PS3.5 6.2 (VRs), 7.3 (byte order), A.1 to A.3 (what is OB, OW, US or SS in each transfer syntax), 8 (pixel data).
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable
from dataclasses import dataclass

from broker.dicom import uids
from broker.dicom.dataset.encoding import LONG, MAX_SHORT, NAMES, PIXEL_DATA, SHORT, dictionary_vr
from broker.errors import BadContent

BITS_ALLOCATED, PIXEL_REPRESENTATION = 0x00280100, 0x00280103
DECIDING = frozenset({BITS_ALLOCATED, PIXEL_REPRESENTATION})  # attributes that decide about the VR of others
_UNITS = {
    **dict.fromkeys((b"AT", b"OW", b"SS", b"US"), 2),
    **dict.fromkeys((b"FL", b"OF", b"OL", b"SL", b"UL"), 4),
    **dict.fromkeys((b"FD", b"OD", b"OV", b"SV", b"UV"), 8),
}
_ARRAYS = {2: "H", 4: "I", 8: "Q"}

Deciding = Callable[[int], "int | None"]  # the value of a deciding attribute, of this or an enclosing data set


@dataclass(frozen=True, slots=True)
class DataSetEncoding:
    """Says how a data set is written."""

    explicit: bool
    big_endian: bool

    @property
    def order(self) -> str:
        """The byte order as `struct` writes it."""
        return ">" if self.big_endian else "<"


ENCODINGS = {
    uids.EXPLICIT_LE: DataSetEncoding(True, False),
    uids.IMPLICIT_LE: DataSetEncoding(False, False),
    uids.EXPLICIT_BE: DataSetEncoding(True, True),
    uids.DEFLATED: DataSetEncoding(True, False),
}


def hidden_vr(tag: int, deciding: Deciding) -> bytes:
    """The VR of an element in implicit VR; UN for private ones and those that the dictionary does not know.

    OB or OW is OW, as implicit VR has it (PS3.5 A.1), but for pixel data of 8 bits and less, for which OB is as right
    in explicit VR (A.2) and cannot be misunderstood. US or OW is OW, which holds any length.
    """
    known = dictionary_vr(tag)
    code = known.encode("ascii")
    if code in NAMES:
        return code
    if known == "US or SS":
        return b"SS" if deciding(PIXEL_REPRESENTATION) == 1 else b"US"
    if tag == PIXEL_DATA:
        return b"OB" if (deciding(BITS_ALLOCATED) or 16) <= 8 else b"OW"
    return b"OW" if known.endswith("OW") else b"UN"


def written_vr(vr: bytes, length: int, target: DataSetEncoding) -> bytes:
    """The VR that an element gets: UN where explicit VR has no room for the length (PS3.5 6.2.2)."""
    return b"UN" if target.explicit and length > MAX_SHORT and vr in SHORT else vr


def unit(vr: bytes) -> int:
    """Bytes that turn around together when the byte order changes. UN is little endian everywhere (PS3.5 6.2.2)."""
    return _UNITS.get(vr, 1)


def turned(data: bytes, size: int) -> bytes:
    """A value, or a part of one, with the bytes of each unit of `size` in the other order."""
    if size == 1:
        return data
    units = array(_ARRAYS[size], data)
    units.byteswap()
    return units.tobytes()


class HeaderWriter:
    """Writes headers of elements, items and delimiters in one encoding."""

    def __init__(self, encoding: DataSetEncoding) -> None:
        self._explicit = encoding.explicit
        self._plain = struct.Struct(encoding.order + "HHI")
        self._short = struct.Struct(encoding.order + "HH2sH")
        self._long = struct.Struct(encoding.order + "HH2sHI")

    def element(self, tag: int, vr: bytes, length: int) -> bytes:
        """The header of an element whose `vr` has room for its length."""
        group, number = tag >> 16, tag & 0xFFFF
        if not self._explicit:
            return self._plain.pack(group, number, length)
        if vr in LONG:
            return self._long.pack(group, number, vr, 0, length)
        return self._short.pack(group, number, vr, length)

    def delimiter(self, tag: int, length: int) -> bytes:
        """The header of an item, or a delimiter."""
        return self._plain.pack(tag >> 16, tag & 0xFFFF, length)


class HeaderReader:
    """Knows the forms of headers in one encoding."""

    def __init__(self, encoding: DataSetEncoding) -> None:
        self.explicit = encoding.explicit
        self.plain = struct.Struct(encoding.order + "HHI")
        self.short = struct.Struct(encoding.order + "HH2sH")
        self.length = struct.Struct(encoding.order + "I")

    def element(self, head: bytes, rest: Callable[[int], bytes]) -> tuple[int, bytes, int]:
        """Tag, VR (empty in implicit VR and of delimiters) and length; `rest` gives more bytes than the eight.

        Raises BadContent: `bad-vr`.
        """
        if self.explicit:
            group, number, vr, length = self.short.unpack(head)
            if group != 0xFFFE:
                if vr in LONG:
                    (length,) = self.length.unpack(rest(4))
                elif vr not in SHORT:
                    raise BadContent("a VR that is none", code="bad-vr")
                return group << 16 | number, vr, length
        group, number, length = self.plain.unpack(head)
        return group << 16 | number, b"", length
