r"""Character sets of HL7 v2 messages: MSH-18 (table 0211) to text and back (HL7 2.5.1 §2.16.9.18, §2.16.9.20).

The whole message is decoded before it is split: trail bytes of Shift-JIS, Big5 and GB18030 and the
7-bit bytes of JIS X 0208 may equal separators. A set goes by the name of a Python codec; a default set with others
that ISO 2022 escapes reach (`\Cxxyy\` and `\Mxxyyzz\` stand for them, §2.7) by several, joined by `+`.
"""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

from broker.hl7 import iso2022
from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.findings import Finding, MalformedMessage
from broker.hl7.tolerance import USUAL, Tolerance

_LATIN = re.compile(r"(?:ISO[ _-]?)?8859[-/](\d{1,2})")
_NAMED = {
    "ASCII": "ascii",
    "ISO IR6": "ascii",
    "ISO IR14": "shift_jis",
    "ISO IR87": "jis",
    "ISO IR159": "jis",
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
_ALONE = {"gb18030", "big5hkscs", "utf-8"}  # sets without code extension
_ERRORS = "broker-latin-1"
_WHERE = "MSH^1^18"
_STRANGE = Finding(_WHERE, ErrorCode.DATA_TYPE, "Text is not in the declared character set")
_UNKNOWN = Finding(_WHERE, ErrorCode.TABLE_VALUE_NOT_FOUND, "Character set is not supported")
_LOOKS_UTF_8 = Finding(
    _WHERE, ErrorCode.DATA_TYPE, "Text looks like UTF-8, which is not the declared character set", Severity.WARNING
)
OVERVIEW = 65536  # bytes of a message that may hold its MSH


class Decoded(NamedTuple):
    """Text of a message, the character set to answer in, and warnings about it."""

    text: str
    codec: str
    findings: tuple[Finding, ...] = ()


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


def named(text: str) -> tuple[str, ...]:
    """Names of a setting, whose repetitions are joined by `~` as in MSH-18."""
    return tuple(part.strip() for part in text.split("~"))


def codec_of(names: tuple[str, ...]) -> str:
    """The set for a declaration, empty for none. Raises MalformedMessage for sets we do not read."""
    found = [_codec(name) if name else "" for name in names]
    if not any(found):
        return ""
    first, *rest = (found[0] or "ascii", *found[1:])
    if first == "ascii" and (alone := next((codec for codec in rest if codec in _ALONE), "")):
        return alone
    if first in _ALONE:
        return first
    if first == "jis":
        first, rest = "ascii", ["jis", *rest]
    others = dict.fromkeys(codec for codec in rest if codec and codec != first and codec not in _ALONE | {"ascii"})
    return "+".join((_answering(first), *others)) if others else first


def _codec(name: str) -> str:
    name = " ".join(name.upper().split())
    part = _LATIN.fullmatch(name)
    if part and int(part[1]) in _PARTS:
        return f"iso8859_{int(part[1])}"
    if name not in _NAMED:
        raise MalformedMessage(_UNKNOWN)
    return _NAMED[name]


def decode(raw: bytes, tolerance: Tolerance = USUAL) -> Decoded:
    """Text of a whole message and the set to answer in. What `tolerance` overrides counts instead of MSH-18.

    Without MSH-18, and nothing assumed: ASCII, else UTF-8 if valid, else Windows-1252. Raises MalformedMessage
    (103 or 102 at MSH-18) for an unknown set or bytes that contradict the declaration; where `tolerance` replaces,
    both are warnings.
    """
    marked = raw.startswith(codecs.BOM_UTF8)
    raw = raw.removeprefix(codecs.BOM_UTF8)
    try:
        codec = _stated(raw, tolerance) or ("utf-8" if marked else "")
    except MalformedMessage:
        if not tolerance.replace:
            raise
        return Decoded(*_guess(raw)[:2], (_warning(_UNKNOWN),))
    if marked and codec != "utf-8" and not tolerance.replace:
        raise MalformedMessage(_STRANGE)
    if not codec:
        return _guess(raw)
    try:
        if marked and codec != "utf-8":
            return Decoded(raw.decode("utf-8"), "utf-8", (_warning(_STRANGE),))
        return _declared(raw, codec)
    except UnicodeDecodeError:
        if not tolerance.replace:
            raise MalformedMessage(_STRANGE) from None
        return Decoded(_decode(raw, codec, "replace"), _answering(codec), (_warning(_STRANGE),))


def _stated(raw: bytes, tolerance: Tolerance) -> str:
    """The set that the site or the message states, empty for none. Raises MalformedMessage for one we do not read."""
    if tolerance.override_charset:
        return codec_of(named(tolerance.override_charset))
    return codec_of(declared(raw)) or codec_of(named(tolerance.charset))


def _warning(finding: Finding) -> Finding:
    return Finding(finding.location, finding.code, finding.text, Severity.WARNING)


def _declared(raw: bytes, codec: str) -> Decoded:
    text = _decode(iso2022.with_escapes(raw) if codec not in _ALONE else raw, codec)
    lying = codec.startswith("iso8859") and not raw.isascii() and _is_utf_8(raw)
    return Decoded(text, _answering(codec), (_LOOKS_UTF_8,) if lying else ())


def _is_utf_8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _answering(codec: str) -> str:
    """The set of an answer: 80-9F are controls in ISO 8859-1, a sender that has them means Windows-1252."""
    return "cp1252" if codec == "iso8859_1" else codec


def _guess(raw: bytes) -> Decoded:
    extended = iso2022.with_escapes(raw)
    if iso2022.designates(extended):
        try:
            return Decoded(iso2022.decode(extended, "ascii"), "ascii+jis+euc_kr")
        except UnicodeDecodeError:
            pass  # escape characters without that meaning: what follows takes them as any others
    for codec in ("ascii", "utf-8"):
        try:
            return Decoded(raw.decode(codec), codec)
        except UnicodeDecodeError:
            continue
    return Decoded(raw.decode("cp1252", _ERRORS), "cp1252")


def _decode(data: bytes, codec: str, errors: str = "strict") -> str:
    codec = _answering(codec)
    if codec == "cp1252" and not iso2022.designates(data):
        return data.decode(codec, _ERRORS)
    if codec in _ALONE:
        return data.decode(codec, errors)
    return iso2022.decode(data, codec, errors)


def encode(text: str, codec: str) -> bytes:
    """Bytes of an answer in the sender's character set; what it cannot hold becomes `?`."""
    if codec == "cp1252":
        return text.encode(codec, _ERRORS)
    return iso2022.encode(text, codec) if "+" in codec else text.encode(codec or "ascii", "replace")


def holds(codec: str, text: str) -> bool:
    """True if the set has all characters of a text."""
    return _decode(encode(text, codec), codec or "ascii", "replace") == text


def limited(text: str, names: tuple[str, ...]) -> str:
    """Text for a message of ours that declares `names`: characters of no set among them become `?`.

    What is read as JIS may hold JIS X 0212 too; what we write holds it only where it is declared.
    """
    codec = codec_of(names)
    parts = [part for part in codec.split("+") if part]
    if "jis" in parts and not any("159" in name for name in names):
        parts[parts.index("jis")] = "iso2022_jp"
        return "".join(c if any(_holds(part, c) for part in parts) else "?" for c in text)
    return _decode(encode(text, codec), codec or "ascii", "replace")


def _holds(codec: str, character: str) -> bool:
    try:
        character.encode(codec)
    except UnicodeEncodeError:
        return False
    return True


def decode_escape(data: bytes, codec: str) -> str:
    r"""Text of the bytes of a `\Xhh..\` escape."""
    return _decode(data, codec or "ascii", "replace")
