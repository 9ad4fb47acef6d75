"""Writes JPEG Baseline frames of flat 8 x 8 blocks (ITU-T T.81): valid for every decoder, written without one.

Each block has one coefficient, its mean, so that the entropy coding is a few bits per block and no transform is needed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

# the usual code lengths of DC differences for luminance (T.81 table K.3), and for AC nothing but "end of block"
_DC_COUNTS = bytes((0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0))
_DC_VALUES = bytes(range(12))
_AC_COUNTS = bytes((1, *(0,) * 15))
_AC_VALUES = b"\0"
_END_OF_BLOCK = (0, 1)  # code and its length
_QUANTISER = bytes((8,)) + bytes((1,)) * 63  # a DC coefficient is 8 times the mean of its block


def _codes(counts: bytes, values: bytes) -> dict[int, tuple[int, int]]:
    """Code and length by value (T.81 annex C)."""
    table: dict[int, tuple[int, int]] = {}
    code, position = 0, 0
    for length, count in enumerate(counts, 1):
        for value in values[position : position + count]:
            table[value] = (code, length)
            code += 1
        position += count
        code <<= 1
    return table


_DC_CODES = _codes(_DC_COUNTS, _DC_VALUES)


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def frame(rows: int, columns: int, levels: Iterable[int]) -> bytes:
    """A grey image of multiples of 8; `levels` has the value (0 to 255) of each block, row by row."""
    head = (
        b"\xff\xd8"
        + _segment(0xDB, b"\0" + _QUANTISER)
        + _segment(0xC0, struct.pack(">BHHBBBB", 8, rows, columns, 1, 1, 0x11, 0))
        + _segment(0xC4, b"\x00" + _DC_COUNTS + _DC_VALUES)
        + _segment(0xC4, b"\x10" + _AC_COUNTS + _AC_VALUES)
        + _segment(0xDA, bytes((1, 1, 0x00, 0, 63, 0)))
    )
    return head + _entropy(levels) + b"\xff\xd9"


def _entropy(levels: Iterable[int]) -> bytes:
    bits, length, previous = 0, 0, 0
    for level in levels:
        difference = level - 128 - previous
        previous = level - 128
        size = abs(difference).bit_length()
        extra = difference if difference > 0 else difference + (1 << size) - 1
        for code, width in (_DC_CODES[size], (extra, size), _END_OF_BLOCK):
            bits = bits << width | code
            length += width
    padding = -length % 8
    data = (bits << padding | (1 << padding) - 1).to_bytes((length + padding) // 8, "big")
    return data.replace(b"\xff", b"\xff\x00")
