r"""Code extension by escape sequences: one default set, others designated on the way (ISO/IEC 2022, JIS X 0202).

G0 (bytes below 80) holds ASCII, JIS X 0201 or JIS X 0208/0212; G1 (from A0) Latin, JIS X 0201 or KS X 1001.
"""

from __future__ import annotations

import re
from functools import lru_cache

from broker.hl7.text import piecewise

# designation of G0 -> what decodes it; the two-byte sets need their escape in front
_G0 = {b"\x1b(B": "", b"\x1b(J": "", b"\x1b(I": "kana", b"\x1b$@": "jis", b"\x1b$B": "jis", b"\x1b$(D": "jis"}
_G1 = {
    b"\x1b-A": "cp1252", b"\x1b-B": "iso8859_2", b"\x1b-C": "iso8859_3", b"\x1b-D": "iso8859_4", b"\x1b-L": "iso8859_5",
    b"\x1b-G": "iso8859_6", b"\x1b-F": "iso8859_7", b"\x1b-H": "iso8859_8", b"\x1b-M": "iso8859_9",
    b"\x1b-b": "iso8859_15", b"\x1b)I": "shift_jis", b"\x1b$)C": "euc_kr", b"\x1b$)A": "gb2312",
}  # fmt: skip
_DESIGNATION = {codec: escape for escape, codec in _G1.items()}
_ESCAPE = re.compile(b"(" + b"|".join(re.escape(escape) for escape in (*_G0, *_G1)) + b")")
_SHIFTED = re.compile(rb"\x0e([^\x0e\x0f\r\n]*)\x0f")
_HIGH = bytes(byte | 0x80 for byte in range(256))
_KANA = bytes(byte | 0x80 if byte > 0x20 else byte for byte in range(256))
_JAPANESE = "iso2022_jp_ext"


def with_escapes(raw: bytes) -> bytes:
    r"""The message with `\Cxxyy\` and `\Mxxyyzz\` replaced by the escape sequences they stand for (HL7 2.5.1 §2.7).

    Other escapes stay, and so do those of sets that are not known here.
    """
    mark = raw[6:7] if raw[6:7] not in (raw[3:4], b"", b"\r", b"\n") else b"\\"
    if mark + b"C" not in raw and mark + b"M" not in raw:
        return raw
    return _sequences(mark).sub(_escape, raw)


@lru_cache(maxsize=16)
def _sequences(mark: bytes) -> re.Pattern[bytes]:
    """All escapes, so that the end of one is not taken for the start of the next."""
    body = rb"([CM](?:[0-9A-Fa-f]{2}){2,3})|[FSTREHN]|[XZ][0-9A-Za-z]*|\.[a-z]{2}[+-]?\d*"
    return re.compile(re.escape(mark) + b"(?:" + body + b")" + re.escape(mark))


def _escape(found: re.Match[bytes]) -> bytes:
    code = b"\x1b" + bytes.fromhex(found[1][1:].decode()) if found[1] else b""
    return code if code in _G0 or code in _G1 else found[0]


def escapes(raw: bytes) -> bool:
    r"""Escape sequences may be in it, or `\C..\` and `\M..\` that stand for them."""
    mark = raw[6:7]
    return b"\x1b" in raw or b"\x0e" in raw or mark + b"C" in raw or mark + b"M" in raw


def designates(data: bytes) -> bool:
    """An escape sequence of a set known here is in it."""
    return b"\x1b" in data and _ESCAPE.search(data) is not None


def decode(data: bytes, codec: str, errors: str = "strict") -> str:
    """Text of bytes. `codec`: the default set and others, joined by `+`.

    Without a default set of its own for the high bytes, those of the first extension are understood without an
    escape too. The end of a line brings ASCII back to G0. Raises UnicodeDecodeError.
    """
    default, *others = codec.split("+")
    g1 = default if default != "ascii" else next((other for other in others if other in _DESIGNATION), default)
    if "euc_kr" in codec:  # the seven-bit form: between SO and SI
        data = _SHIFTED.sub(lambda found: found[1].translate(_HIGH), data)
    text: list[str] = []
    g0 = b""
    for part in _ESCAPE.split(data):
        if part in _G0:
            g0 = part
        elif part in _G1:
            g1 = _G1[part]
        elif _G0.get(g0):
            end = min((at for at in (part.find(b"\r"), part.find(b"\n")) if at >= 0), default=len(part))
            text += [_seven(g0, part[:end], errors), piecewise.decode(part[end:], g1, errors)]
            g0 = g0 if end == len(part) else b""
        else:
            text.append(piecewise.decode(part, g1, errors))
    return "".join(text)


def _seven(escape: bytes, data: bytes, errors: str) -> str:
    if _G0[escape] == "kana":
        return piecewise.decode(data.translate(_KANA), "shift_jis", errors)
    return piecewise.decode(escape + data, _JAPANESE, errors)


def encode(text: str, codec: str) -> bytes:
    """Bytes of text in the default set and others; what none of them holds becomes `?`."""
    default, *others = codec.split("+")
    base = b"\x1b(J" if default == "shift_jis" else b"\x1b(B"
    out, g0, g1 = bytearray(), b"", default
    for char in text:
        escape, code, codec = (b"", char.encode(), "") if char.isascii() else _find(char, default, others)
        if g0 != escape:
            out, g0 = out + (escape or base), escape
        if codec and g1 != codec:
            out, g1 = out + _DESIGNATION[codec], codec
        out += code
    return bytes(out + base if g0 else out)


def _find(char: str, default: str, others: list[str]) -> tuple[bytes, bytes, str]:
    """Designation of G0, code, and set of G1 of a character: one of the two is empty."""
    for codec in (default, *others):
        try:
            code = char.encode(_JAPANESE if codec == "jis" else codec)
        except UnicodeEncodeError:
            continue
        if codec == "jis":  # ESC ... code ESC ( B
            length = 4 if code.startswith(b"\x1b$(") else 3
            return code[:length], code[length:-3], ""
        if codec != "shift_jis" or len(code) == 1:
            return b"", code, codec
    return b"", b"?", ""
