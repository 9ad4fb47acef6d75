"""A data set from Implicit into Explicit VR Little Endian or back: headers change, values stay byte by byte.

What has no VR in the dictionary (private, new, or ambiguous ones like US or SS) becomes UN, which every reader must
take (PS3.5 6.2.2). Sequences get undefined lengths, group lengths (PS3.5 7.2, retired) would be wrong and are left out.
"""

from __future__ import annotations

import struct

from pydicom.datadict import dictionary_VR

from broker.dicom import uids
from broker.dicom.dataset.elements import LONG, MAX_DEPTH, SHORT, UNDEFINED
from broker.errors import BadContent

SYNTAXES = (uids.EXPLICIT_LE, uids.IMPLICIT_LE)
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_implicit, _explicit, _length = struct.Struct("<HHI"), struct.Struct("<HH2sH"), struct.Struct("<I")
_MAX_SHORT = 0xFFFF


def recode(data: bytes, source: str, target: str) -> bytes:
    """The data set in the transfer syntax `target`, both being of SYNTAXES.

    Raises BadContent for other syntaxes, and for data whose lengths or delimiters are wrong.
    """
    if source not in SYNTAXES or target not in SYNTAXES:
        raise BadContent("only between implicit and explicit VR little endian", code="not-recodable")
    if source == target:
        return data
    work = _Recoder(data, into_explicit=target == uids.EXPLICIT_LE)
    work.elements(0, len(data), 0)
    return b"".join(work.parts)


class _Recoder:
    def __init__(self, data: bytes, *, into_explicit: bool) -> None:
        self._data = data
        self._into_explicit = into_explicit
        self.parts: list[bytes] = []

    def elements(self, position: int, end: int, depth: int) -> int:
        """Recode elements up to `end` or an item delimiter at a nested level; where it stands then."""
        if depth > MAX_DEPTH:
            raise BadContent("sequences nested too deeply", code="too-deep")
        while position < end:
            tag, vr, length, value = self._header(position, end)
            if tag == _ITEM_END and depth:
                return position
            if tag >> 16 == 0xFFFE:
                raise BadContent("delimiter out of place", code="bad-delimiter")
            if length != UNDEFINED and value + length > end:
                raise BadContent("element longer than the data set", code="truncated")
            if vr == b"SQ":
                self._begin(tag, vr, UNDEFINED)
                position = self._items(value, end if length == UNDEFINED else value + length, length, depth)
                self.parts.append(_implicit.pack(0xFFFE, 0xE0DD, 0))
            elif length == UNDEFINED:
                position = self._unknown(tag, vr, value, end, depth)
            else:
                position = value + length
                if tag & 0xFFFF:
                    self._begin(tag, vr, length)
                    self.parts.append(self._data[value:position])
        return position

    def _header(self, position: int, end: int) -> tuple[int, bytes, int, int]:
        """Tag, VR (looked up if it does not stand there), value length, position of the value."""
        if end - position < 8:
            raise BadContent("element shorter than its header", code="truncated")
        group, element, length = _implicit.unpack_from(self._data, position)
        tag = group << 16 | element
        if group == 0xFFFE:
            return tag, b"", length, position + 8
        if self._into_explicit:
            return tag, _vr(tag), length, position + 8
        _, _, vr, short = _explicit.unpack_from(self._data, position)
        if vr not in LONG:
            if vr not in SHORT:
                raise BadContent("element without a valid VR", code="bad-vr")
            return tag, vr, short, position + 8
        if end - position < 12:
            raise BadContent("element shorter than its header", code="truncated")
        return tag, vr, _length.unpack_from(self._data, position + 8)[0], position + 12

    def _begin(self, tag: int, vr: bytes, length: int) -> None:
        """The header of an element in the target syntax."""
        group, element = tag >> 16, tag & 0xFFFF
        if not self._into_explicit:
            self.parts.append(_implicit.pack(group, element, length))
        elif vr in SHORT and length <= _MAX_SHORT:
            self.parts.append(_explicit.pack(group, element, vr, length))
        else:
            long = vr if vr in LONG else b"UN"
            self.parts.append(_explicit.pack(group, element, long, 0) + _length.pack(length))

    def _items(self, position: int, end: int, length: int, depth: int) -> int:
        """The items of a sequence, of defined or undefined length each; where the sequence ends."""
        while length == UNDEFINED or position < end:
            tag, size, position = self._item(position, end)
            if tag == _SEQUENCE_END and length == UNDEFINED:
                return position
            if tag != _ITEM or (size != UNDEFINED and position + size > end):
                raise BadContent("something that is not an item inside a sequence", code="bad-delimiter")
            self.parts.append(_implicit.pack(0xFFFE, 0xE000, UNDEFINED))
            stop = end if size == UNDEFINED else position + size
            position = self.elements(position, stop, depth + 1)
            if size == UNDEFINED:
                if self._item(position, end)[0] != _ITEM_END:
                    raise BadContent("item without its delimiter", code="truncated")
                position += 8
            elif position != stop:
                raise BadContent("delimiter out of place", code="bad-delimiter")
            self.parts.append(_implicit.pack(0xFFFE, 0xE00D, 0))
        return position

    def _item(self, position: int, end: int) -> tuple[int, int, int]:
        """Tag, length and position of the content of an item or delimiter."""
        if end - position < 8:
            raise BadContent("element shorter than its header", code="truncated")
        group, element, length = _implicit.unpack_from(self._data, position)
        return group << 16 | element, length, position + 8

    def _unknown(self, tag: int, vr: bytes, position: int, end: int, depth: int) -> int:
        """UN of undefined length is a sequence in implicit VR in every syntax (PS3.5 6.2.2): copied as it is."""
        if vr != b"UN":
            raise BadContent("undefined length on a VR that has none", code="bad-length")
        inner = _Recoder(self._data, into_explicit=True)  # only to find the end
        stop = inner._items(position, end, UNDEFINED, depth)
        self._begin(tag, vr, UNDEFINED)
        self.parts.append(self._data[position:stop])
        return stop


def _vr(tag: int) -> bytes:
    group, element = tag >> 16, tag & 0xFFFF
    if group % 2:
        return b"LO" if 0x10 <= element <= 0xFF else b"UN"
    try:
        vr = dictionary_VR(tag).encode("ascii")
    except KeyError:
        return b"UN"
    return vr if vr in SHORT or vr in LONG else b"UN"
