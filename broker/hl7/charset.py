"""Character sets of HL7 v2 messages: MSH-18 (table 0211) to Python codecs (HL7 2.5.1 §2.16.9.18).

The whole message is decoded before it is split: trail bytes of Shift-JIS, Big5 and GB18030 and the
7-bit bytes of JIS X 0208 may equal separators.
"""

from __future__ import annotations

import codecs
import re

from broker.hl7.findings import Finding, MalformedMessage

_LATIN = re.compile(r"(?:ISO[ _-]?)?8859[-/](\d{1,2})")
_NAMED = {
    "ASCII": "ascii",
    "ISO IR6": "ascii",
    "ISO IR14": "shift_jis",
    "ISO IR87": "iso2022_jp_2",
    "ISO IR159": "iso2022_jp_2",
    "KS X 1001": "euc_kr",
    "GB 18030-2000": "gb18030",
    "GB 18030": "gb18030",
    "GB18030": "gb18030",
    "BIG-5": "big5hkscs",
    "UNICODE": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
}
_PARTS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 15)
_ERRORS = "broker-latin-1"
_ESCAPE = re.compile(rb"(\x1b(?:\$\(D|\$B|\$@|\(B|\(J|\(I))")
_WHERE = "MSH^1^18"


def _as_latin_1(error: UnicodeError) -> tuple[str | bytes, int]:
    """Five bytes have no meaning in Windows-1252: they keep their Latin-1 one, in both directions."""
    if isinstance(error, UnicodeDecodeError):
        return error.object[error.start : error.end].decode("latin_1"), error.end
    if isinstance(error, UnicodeEncodeError):
        return error.object[error.start : error.end].encode("latin_1", "replace"), error.end
    raise error


codecs.register_error(_ERRORS, _as_latin_1)


def declared(raw: bytes) -> tuple[str, ...]:
    """Repetitions of MSH-18, read from the raw bytes (the MSH segment up to there is ASCII)."""
    line = re.split(rb"[\r\n]", raw[:OVERVIEW], maxsplit=1)[0]
    fields = line.split(line[3:4]) if len(line) > 3 else []
    if len(fields) < 18:
        return ()
    repetition = fields[1][1:2] or b"~"
    return tuple(part.decode("ascii", "replace").strip() for part in fields[17].split(repetition))


OVERVIEW = 65536  # bytes of a message that may hold its MSH


def codec_of(names: tuple[str, ...]) -> str:
    """Python codec for a declaration, empty for none. Raises MalformedMessage for sets we do not read."""
    found = [_codec(name) for name in names if name]
    if not found:
        return ""
    if found[0] == "shift_jis" and len(found) > 1:
        return "jis"  # half-width katakana as the default set, kanji by escapes: see _decode_jis
    # without a default set the first extension decodes alone: all of those contain ASCII
    return next((codec for codec in found[1:] if codec == "iso2022_jp_2"), found[0])


def _codec(name: str) -> str:
    name = " ".join(name.upper().split())
    part = _LATIN.fullmatch(name)
    if part and int(part[1]) in _PARTS:
        return f"iso8859_{int(part[1])}"
    if name not in _NAMED:
        raise MalformedMessage(Finding(_WHERE, "103", "Character set is not supported"))
    return _NAMED[name]


def decode(raw: bytes) -> tuple[str, str]:
    """Text of a whole message and the codec to answer in.

    Without MSH-18: ASCII, else UTF-8 if valid, else Windows-1252. Raises MalformedMessage
    (103 or 102 at MSH-18) for an unknown set or bytes that contradict the declaration.
    """
    raw = raw.removeprefix(codecs.BOM_UTF8)
    codec = codec_of(declared(raw))
    if not codec:
        return _guess(raw)
    try:
        if codec == "jis":
            return _decode_jis(raw), codec
        if codec == "euc_kr":
            raw = raw.replace(b"\x1b$)C", b"")  # the ISO 2022 designation in front of KS X 1001
        if codec == "iso8859_1":
            # 80-9F are controls in ISO 8859-1; a sender that has them means Windows-1252
            return raw.decode("cp1252", _ERRORS), "cp1252"
        return raw.decode(codec), codec
    except UnicodeDecodeError:
        raise MalformedMessage(Finding(_WHERE, "102", "Text is not in the declared character set")) from None


def _guess(raw: bytes) -> tuple[str, str]:
    for codec in ("ascii", "utf-8"):
        try:
            return raw.decode(codec), codec
        except UnicodeDecodeError:
            continue
    return raw.decode("cp1252", _ERRORS), "cp1252"


def _decode_jis(raw: bytes) -> str:
    """JIS X 0201 (8 bit) as the default set, JIS X 0208 and 0212 reached by escapes."""
    text: list[str] = []
    escape = b""
    for part in _ESCAPE.split(raw):
        if part.startswith(b"\x1b") and _ESCAPE.fullmatch(part):
            escape = part
        elif escape.startswith(b"\x1b$"):
            text.append((escape + part).decode("iso2022_jp_2"))
        elif escape == b"\x1b(I":
            text.append(bytes(byte | 0x80 for byte in part).decode("shift_jis"))
        else:
            text.append(part.decode("shift_jis"))
    return "".join(text)


def encode(text: str, codec: str) -> bytes:
    """Bytes of an answer in the sender's character set; what it cannot hold becomes `?`."""
    if codec == "cp1252":
        return text.encode(codec, _ERRORS)
    return text.encode("iso2022_jp_2" if codec == "jis" else codec or "ascii", "replace")


def strict_codec_of(names: tuple[str, ...]) -> str:
    """Codec to write a declared set with. Raises MalformedMessage.

    What is read as ISO 2022 may hold escapes to other sets, what we write holds those of the declaration only.
    """
    codec = codec_of(names)
    if codec in {"iso2022_jp_2", "jis"}:
        return "iso2022_jp_1" if any("159" in name for name in names) else "iso2022_jp"
    return codec


def fits(text: str, codec: str) -> bool:
    """A message in this codec can hold the text: `encode` replaces nothing."""
    try:
        text.encode(codec or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def decode_escape(data: bytes, codec: str) -> str:
    r"""Text of the bytes of a `\Xhh..\` escape."""
    if codec == "cp1252":
        return data.decode(codec, _ERRORS)
    return data.decode("shift_jis" if codec == "jis" else codec or "ascii", "replace")
