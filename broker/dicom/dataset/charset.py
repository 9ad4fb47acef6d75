"""Decodes and encodes text by Specific Character Set (0008,0005), code extensions included (PS3.3 C.12.1.1.2).

Our own and not pydicom's: pydicom replaces what does not fit by `?` with a warning, takes the default
repertoire for Latin-1 and does not know ISO_IR 203. Here a value that does not fit is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from broker import telemetry

ESC = b"\x1b"
# term number -> (Python codec, escape sequence); sets of the second table replace G0 (seven bits, two bytes)
_G1 = {
    "100": ("latin_1", b"\x1b-A"), "101": ("iso8859_2", b"\x1b-B"), "109": ("iso8859_3", b"\x1b-C"),
    "110": ("iso8859_4", b"\x1b-D"), "144": ("iso8859_5", b"\x1b-L"), "127": ("iso8859_6", b"\x1b-G"),
    "126": ("iso8859_7", b"\x1b-F"), "138": ("iso8859_8", b"\x1b-H"), "148": ("iso8859_9", b"\x1b-M"),
    "203": ("iso8859_15", b"\x1b-b"), "166": ("iso8859_11", b"\x1b-T"), "13": ("shift_jis", b"\x1b)I"),
    "149": ("euc_kr", b"\x1b$)C"), "58": ("gb2312", b"\x1b$)A"),
}  # fmt: skip
_G0 = {"87": ("iso2022_jp", b"\x1b$B"), "159": ("iso2022_jp_2", b"\x1b$(D")}
_ALONE = {"ISO_IR 192": "utf_8", "GB18030": "gb18030", "GBK": "gbk"}
_ESCAPES = {escape: number for number, (_, escape) in {**_G1, **_G0}.items()} | {b"\x1b(B": "6", b"\x1b(J": "14"}
_EXTENSION_ONLY = {"87", "159", "149", "58"}  # never value 1
_BREAKS = "\t\n\f\r"


@dataclass(frozen=True, slots=True)
class Charset:
    """A usable Specific Character Set: `terms` as in (0008,0005), `numbers` of its sets when not stand-alone."""

    terms: tuple[str, ...]
    codec: str  # of value 1
    numbers: tuple[str, ...] = ()

    def decode(self, data: bytes, *, name: bool = False) -> str:
        """Text of a whole element; what cannot be decoded is read as Latin-1. `name`: VR PN.

        A peer that leaves out escapes of the one set it names besides ASCII is understood.
        """
        if ESC not in data or not self.numbers:
            return self._base(data)
        return "".join(self._fragments(data, b"\\^=\t\n\f\r" if name else b"\\\t\n\f\r"))

    def _base(self, data: bytes) -> str:
        """Decode by value 1, or where that is ASCII and the bytes are not, by the first other set they fit."""
        if self.codec == "ascii" and not data.isascii():
            for number in self.numbers:
                if number in _G1:
                    try:
                        return data.decode(_G1[number][0])
                    except UnicodeDecodeError:
                        continue
        return _decode(data, self.codec)

    def _fragments(self, data: bytes, delimiters: bytes) -> list[str]:
        """Decode between escapes; a delimiter brings back the set of value 1 (PS3.5 6.1.2.5.3)."""
        head, *rest = data.split(ESC)
        out = [self._base(head)]
        for fragment in rest:
            escape = next((e for e in _ESCAPES if (ESC + fragment).startswith(e)), None)
            if escape is None:
                out.append(self._base(fragment))
                continue
            number, body = _ESCAPES[escape], fragment[len(escape) - 1 :]
            if number in _G0:
                out.append(_decode(escape + body, _G0[number][0]))
                continue
            end = next((i for i, byte in enumerate(body) if byte in delimiters), len(body))
            codec = "shift_jis" if number == "14" else _G1[number][0] if number in _G1 else ""
            out += [_decode(body[:end], codec) if codec else self._base(body[:end]), self._base(body[end:])]
        return out

    def encode(self, value: str, *, name: bool = False) -> bytes:
        """Bytes of one value. Raises UnicodeEncodeError when a character does not fit."""
        if value.isascii():
            return value.encode("ascii")
        if not self.numbers or (len(self.numbers) == 1 and self.codec != "shift_jis"):
            return value.encode(self.codec)
        return self._extended(value, "^=" + _BREAKS if name else _BREAKS)

    def _extended(self, value: str, delimiters: str) -> bytes:
        first = self.numbers[0]
        base = b"\x1b(J" if first == "13" else b"\x1b(B"
        start = first if first in _G1 else ""
        out, g0, g1 = bytearray(), "", start
        for position, char in enumerate(value):
            if char.isascii():
                if g0:  # ASCII and delimiters need the base set in G0 again
                    out, g0 = out + base, ""
                if char in delimiters and g1 != start:
                    out, g1 = out + (_G1[start][1] if start else b""), start
                out += char.encode("ascii")
                continue
            number, code = self._find(char, (g0, g1, *self.numbers))
            if not number:
                raise UnicodeEncodeError(self.codec, value, position, position + 1, "not in the character set")
            if number in _G0 and g0 != number:
                out, g0 = out + _G0[number][1], number
            elif number in _G1 and g1 != number:
                out, g1 = out + _G1[number][1], number
            out += code
        if g0:
            out += base
        if start and g1 != start:
            out += _G1[start][1]
        return bytes(out)

    @staticmethod
    def _find(char: str, numbers: Sequence[str]) -> tuple[str, bytes]:
        for number in numbers:
            code = _code(number, char)
            if code:
                return number, code
        return "", b""


def _decode(data: bytes, codec: str) -> str:
    try:
        return data.decode(codec)
    except UnicodeDecodeError:
        return data.decode("latin_1")


@lru_cache(4096)
def _code(number: str, char: str) -> bytes:
    """Code of a character that is not ASCII in one set; empty when the set lacks it."""
    try:
        if number in _G0:  # EUC-JP holds the same sets with the high bits set: 0208 in two bytes, 0212 behind 8F
            euc = char.encode("euc_jp")
            fits = (len(euc) == 3) if number == "159" else (len(euc) == 2 and euc[0] != 0x8E)
            return bytes(byte & 0x7F for byte in euc[-2:]) if fits else b""
        if number not in _G1:
            return b""
        code = char.encode(_G1[number][0])
        return b"" if number == "13" and (len(code) != 1 or code == b"\\") else code
    except UnicodeEncodeError:
        return b""


DEFAULT = Charset((), "ascii")
LATIN_1 = Charset(("ISO_IR 100",), "latin_1", ("100",))
UTF_8 = Charset(("ISO_IR 192",), "utf_8")


def supported_terms() -> tuple[str, ...]:
    """The defined terms of (0008,0005) that are read and written, those with code extension after the single ones."""
    single = (f"ISO_IR {number}" for number in ("6", *_G1) if number not in _EXTENSION_ONLY)
    return *single, *(f"ISO 2022 IR {number}" for number in ("6", *_G1, *_G0)), *_ALONE


def lookup(terms: Sequence[str]) -> Charset | None:
    """The character set of the values of (0008,0005); None when one of them is unknown. No value: ISO 646."""
    cleaned = [" ".join(term.replace("\0", " ").upper().split()) for term in terms]
    if cleaned and cleaned[0] in _ALONE:
        return Charset((cleaned[0],), _ALONE[cleaned[0]])
    numbers: list[str] = []
    for term in cleaned:
        number = term.replace("_", " ").replace("-", " ").rpartition("IR")[2].strip() if term else "6"
        if number not in _G1 and number not in _G0 and number != "6":
            return None
        numbers.append(number)
    if set(numbers) <= {"6"}:
        return DEFAULT
    if numbers[0] in _EXTENSION_ONLY:
        numbers.insert(0, "6")
    if len(numbers) == 1:
        return Charset((f"ISO_IR {numbers[0]}",), _G1[numbers[0]][0], tuple(numbers))
    names = tuple("" if i == 0 and n == "6" else f"ISO 2022 IR {n}" for i, n in enumerate(numbers))
    return Charset(names, _G1[numbers[0]][0] if numbers[0] in _G1 else "ascii", tuple(numbers))


telemetry.count_entries("character-codes", _code)
