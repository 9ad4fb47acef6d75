"""What is well formed, read from the tables of PS3.5 and PS3.8 once more: the broker's verdicts must be the same."""

from __future__ import annotations

import struct
import zlib

from fuzz.datasets import DEFLATED, EXPLICIT_BE, IMPLICIT_LE
from fuzz.tree import UNDEFINED

RQ, AC, RJ, DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
MAX_DATA, MAX_ASSOCIATE, MAX_SHORT, MAX_COMMAND = 262_144, 262_144, 64, 65_536
MAX_DEPTH = 64
_LIMITS = {RQ: MAX_ASSOCIATE, AC: MAX_ASSOCIATE, DATA: MAX_DATA}
_LONG_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})


class Malformed(Exception):
    """Not as the tables say."""


# --- PDUs ------------------------------------------------------------------------------------------------


def faulty(said: bytes) -> str:
    """Which PDU is malformed or out of place, `first` or `later`; empty if one before it may have ended all."""
    position, first, command = 0, True, 0
    while len(said) - position >= 6:
        kind, length = struct.unpack_from(">BxI", said, position)
        if not RQ <= kind <= ABORT or length > _LIMITS.get(kind, MAX_SHORT):
            return "first" if first else "later"
        body = said[position + 6 : position + 6 + length]
        if len(body) < length or kind == ABORT or (not first and kind not in (RQ, AC, DATA)):
            return ""
        if first != (kind == RQ) or kind == AC:
            return "first" if first else "later"
        try:
            command = _request(body) if first else _data(body, command)
        except Malformed:
            return "first" if first else "later"
        position, first = position + 6 + length, False
    return ""


def _request(body: bytes) -> int:
    if len(body) < 68:
        raise Malformed
    for kind, value in _items(body[68:]):
        if kind == 0x20:
            if len(value) < 4:
                raise Malformed
            _items(value[4:])
        elif kind == 0x50:
            _items(value)
    return 0


def _items(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        if len(data) < 4:
            raise Malformed
        length = data[2] << 8 | data[3]
        if len(data) < 4 + length:
            raise Malformed
        found.append((data[0], data[4 : 4 + length]))
        data = data[4 + length :]
    return found


def _data(body: bytes, command: int) -> int:
    """Walk the data values of a P-DATA-TF; bytes of the command that has begun."""
    if not body:
        raise Malformed
    while body:
        length = int.from_bytes(body[:4], "big")
        if len(body) < 6 or length < 2 or len(body) < 4 + length:
            raise Malformed
        if body[5] & 1:
            command += length - 2
            if command > MAX_COMMAND:
                raise Malformed
            command = 0 if body[5] & 2 else command
        body = body[4 + length :]
    return command


# --- data sets -------------------------------------------------------------------------------------------


class _Bytes:
    """Bytes that are taken from the front."""

    def __init__(self, data: bytes, order: str) -> None:
        self.data, self.order, self.at = data, order, 0

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise Malformed
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "little" if self.order == "<" else "big")

    def header(self, explicit: bool) -> tuple[int, int, str, int]:
        """Group, element, VR or nothing, length."""
        if len(self.data) - self.at < 8:
            raise Malformed
        group, element = self.number(2), self.number(2)
        if not explicit or group == 0xFFFE:
            return group, element, "", self.number(4)
        vr = self.take(2).decode("latin-1")
        if vr in _LONG_VRS:
            self.take(2)
            return group, element, vr, self.number(4)
        if not (vr.isascii() and vr.isalpha() and vr.isupper()):
            raise Malformed
        return group, element, vr, self.number(2)


def well_formed(data: bytes, transfer_syntax: str) -> bool:
    """Every length fits, every sequence and item of undefined length ends with its delimiter."""
    if transfer_syntax in DEFLATED:
        engine = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = engine.decompress(data)
        except zlib.error:
            return False
        if not engine.eof:
            return False
    left = _Bytes(data, ">" if transfer_syntax == EXPLICIT_BE else "<")
    vr = data[4:6].decode("latin-1")
    explicit = transfer_syntax != IMPLICIT_LE and (len(data) < 8 or (vr.isascii() and vr.isalpha()))
    try:
        _elements(left, explicit, 0)
    except Malformed:
        return False
    return True


def _elements(left: _Bytes, explicit: bool, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Malformed
    while depth or left.at < len(left.data):
        group, element, vr, length = left.header(explicit)
        if group == 0xFFFE:
            if depth and element == 0xE00D:
                return
            raise Malformed
        if length != UNDEFINED:
            left.take(length)
        elif (group, element) == (0x7FE0, 0x0010) or vr in ("OB", "OW"):
            _parts(left, None, 0)
        elif vr in ("SQ", "UN") or not explicit:
            _parts(left, explicit and vr == "SQ", depth)
        else:
            raise Malformed


def _parts(left: _Bytes, explicit: bool | None, depth: int) -> None:
    """Items up to the delimiter: of a sequence, or fragments of pixel data (`explicit` None)."""
    while True:
        group, element, _, length = left.header(False)
        if (group, element) == (0xFFFE, 0xE0DD):
            return
        if (group, element) != (0xFFFE, 0xE000):
            raise Malformed
        if length != UNDEFINED:
            left.take(length)
        elif explicit is None:
            raise Malformed
        else:
            _elements(left, explicit, depth + 1)
