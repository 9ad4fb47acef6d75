"""Decides by which character set a message is read: the stated one, unless its bytes prove another; without, a guess.

Whatever is not read as it was stated has a finding at MSH-18. Three things prove a wrong label. Valid UTF-8 that reads
better than the stated set does. Bytes 80 to 9F, which are controls in ISO 8859, so that a Windows code page is meant.
Text that the stated set does not hold, and one that is often called by its name does.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from itertools import islice
from math import inf
from typing import NamedTuple

from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.findings import Finding, MalformedMessage
from broker.hl7.text import charset, iso2022, labels
from broker.hl7.text.labels import UNKNOWN, WHERE
from broker.hl7.text.plausibility import ACCENTED, RARE, USUAL, likely, surprise
from broker.hl7.tolerance import Tolerance
from broker.hl7.work import PIECE, pieces


class Doubt(StrEnum):
    """Says why a message was not simply read as it states; a label of the metric."""

    NONE = ""
    GUESSED = "guessed"  # nothing is stated
    MISLABELLED = "mislabelled"  # the bytes prove another set
    AMBIGUOUS = "ambiguous"  # two sets are possible
    REPLACED = "replaced"  # what cannot be read is replaced, as the listener wants it


class Decoded(NamedTuple):
    """Text of a message, the character set to answer in, warnings about it, and why there are any."""

    text: str
    codec: str
    findings: tuple[Finding, ...] = ()
    doubt: Doubt = Doubt.NONE


def _warning(text: str, code: ErrorCode = ErrorCode.DATA_TYPE, where: str = WHERE) -> Finding:
    return Finding(where, code, text, Severity.WARNING)


_STRANGE = Finding(WHERE, ErrorCode.DATA_TYPE, "Text is not in the declared character set")
_REPLACED = _warning("Text is not in the declared character set, what cannot be read is replaced")
_NAME = _warning(
    "Name of the character set is none of HL7 table 0211, it is understood", ErrorCode.TABLE_VALUE_NOT_FOUND
)
_IS_UTF_8 = _warning("Text is UTF-8, which is not the declared character set; it is read as UTF-8")
_IS_PAGE = _warning("Text is in a Windows code page, not in the declared character set; it is read by that page")
_IS_OTHER = _warning("Text makes sense in another character set than the declared one; it is read by that")
_AMBIGUOUS = _warning("Text may be in another character set than the declared one, names may be wrong")
_MISSING = ErrorCode.REQUIRED_FIELD_MISSING
_GUESSED = {
    "utf-8": _warning("Character set is not declared, it is guessed: UTF-8", _MISSING),
    "cp1252": _warning("Character set is not declared, it is guessed: Windows-1252; names may be wrong", _MISSING),
    "ascii+jis+euc_kr": _warning("Character set is not declared, it is guessed by escape sequences", _MISSING),
}
_TWICE = _warning("Text looks as if it had been encoded twice, names may be wrong")
_ELSEWHERE = _warning("Character set is not declared here, it is guessed by MSH-19", _MISSING)
_MISPLACED = _warning("MSH-19 names a character set, which belongs into MSH-18", where="MSH^1^19")

# the Windows code page that senders of a part of ISO 8859 mean by bytes 80 to 9F
_PAGES: Mapping[str, str] = {
    "iso8859_1": "cp1252", "iso8859_2": "cp1250", "iso8859_4": "cp1257", "iso8859_5": "cp1251",
    "iso8859_6": "cp1256", "iso8859_7": "cp1253", "iso8859_8": "cp1255", "iso8859_9": "cp1254",
    "iso8859_11": "cp874", "iso8859_13": "cp1257", "iso8859_15": "cp1252", "iso8859_16": "cp1250",
}  # fmt: skip
# what is often called by the name of a smaller set
_LARGER: Mapping[str, str] = {"shift_jis": "cp932", "euc_kr": "cp949", "ascii+euc_kr": "cp949"}
# pages whose letters stand elsewhere than in the part, so that the wrong one is no language
_ELSEWISE: Mapping[str, str] = {"iso8859_5": "cp1251", "cp1251": "iso8859_5"}
# tables of one name that give some codes other letters: Big5 with and without the extensions of ETEN and Hong Kong
_NAMESAKES: Mapping[str, str] = {"big5hkscs": "cp950"}
_MULTIPLE = frozenset({"gb18030", "big5hkscs", "shift_jis", "cp932", "euc_kr", "cp949", "euc_jp"})
_PAIRS = re.compile(f"(?:[\u00c2-\u00f4][\u0080-\u00bf{bytes(range(0x80, 0xA0)).decode('cp1252', 'ignore')}]+)+")
MAX_TWICE = 50  # places at the beginning of a text that may look like it; more prove nothing new
_EASTERN = frozenset({"gb18030", "big5hkscs", "cp932", "cp949"})
# sets of texts that are called Latin by mistake, and sets of such a label
_AFAR = ("cp1251", "cp1253", "cp1255", "cp1256", "cp874", "koi8_r", "gb18030", "big5hkscs", "cp932", "cp949")
_WESTERN = frozenset({"cp1252", "iso8859_1", "iso8859_15", "iso8859_9", "cp1254"})
_CONTROLS = re.compile(rb"[\x80-\x9f]")


def decode(raw: bytes, tolerance: Tolerance | None = None) -> Decoded:
    """Text of a whole message and the set to answer in. What `tolerance` overrides counts instead of MSH-18.

    Raises MalformedMessage (103 or 102 at MSH-18) for an unknown set or bytes that are in no set that may be meant;
    where `tolerance` replaces, both are warnings.
    """
    tolerance = tolerance or Tolerance()
    marked = raw.startswith(codecs.BOM_UTF8)
    raw = raw.removeprefix(codecs.BOM_UTF8)
    names, told = _names(raw, tolerance)
    try:
        codec = labels.codec_of(names)
    except MalformedMessage:
        if not tolerance.replace:
            raise
        text, codec, *_ = _guess(raw)
        return Decoded(text, codec, (_warning(UNKNOWN.text, UNKNOWN.code),), Doubt.REPLACED)
    notes = () if told or labels.in_table(names) else (_NAME,)
    if not codec:
        decoded = _marked(raw) if marked else _guess(raw)
    elif raw.isascii() and not iso2022.escapes(raw):
        decoded = Decoded(raw.decode("ascii"), _answering(codec))
    else:
        decoded = _stated(raw, codec, tolerance, marked=marked)
    if decoded.codec == "utf-8" and not decoded.doubt and _twice(decoded.text):
        decoded = decoded._replace(findings=(*decoded.findings, _TWICE), doubt=Doubt.AMBIGUOUS)
    return decoded._replace(findings=notes + decoded.findings) if notes else decoded


def _twice(text: str) -> bool:
    """True if a part of a text is the bytes of UTF-8 taken for Windows-1252: letters like Ã¼ for ü."""
    for found in islice(_PAIRS.finditer(text, 0, PIECE), MAX_TWICE):
        try:
            once = found[0].encode("cp1252", charset.LATIN_1).decode("utf-8")
        except UnicodeDecodeError:
            continue
        if surprise(once, "utf-8") + 6.0 < surprise(found[0], "utf-8"):
            return True
    return False


def _names(raw: bytes, tolerance: Tolerance) -> tuple[tuple[str, ...], bool]:
    """The names of the set that counts, and whether the site states it rather than the message."""
    if tolerance.override_charset:
        return labels.named(tolerance.override_charset), True
    names = labels.declared(raw)
    if any(names) or not tolerance.charset:
        return names, False
    return labels.named(tolerance.charset), True


def _read(raw: bytes, codec: str) -> str | None:
    """Text in a set, None if it is not in it."""
    try:
        return charset.read(iso2022.with_escapes(raw) if charset.extensible(codec) else raw, codec)
    except UnicodeDecodeError:
        return None


def _stated(raw: bytes, codec: str, tolerance: Tolerance, *, marked: bool) -> Decoded:
    """Text of which a set is stated: the best of the readings that its bytes allow."""
    text = _read(raw, codec)
    fits = text is not None and not (_page(codec) and _has_controls(raw))
    judged = codec in _WESTERN or codec in _MULTIPLE
    usual = not judged or (text is not None and likely(text, codec, ACCENTED if codec in _WESTERN else USUAL))
    others = [] if raw.isascii() else list(_readings(raw, codec, fits=fits, usual=usual))
    if marked and others and others[0].codec == "utf-8":
        others, fits = others[:1], False
    if text is not None and fits:
        known = surprise(text, codec) if others else 0.0
        leads = [known - other.cost - other.take for other in others]
        if not leads or max(leads) <= 0:
            unsure = any(known - other.cost > other.doubt for other in others) or _disputed(raw, codec, text)
            notes = (_AMBIGUOUS,) if unsure else ()
            return Decoded(text, _answering(codec), notes, Doubt.AMBIGUOUS if unsure else Doubt.NONE)
        others = [others[leads.index(max(leads))]]
    if others:
        best = min(others, key=lambda other: other.cost)
        answering = _answering(codec) if "+" in best.codec else best.codec
        text = best.text if len(raw) <= PIECE else _read(raw, best.codec) or ""
        return Decoded(text, answering, (best.finding,), Doubt.MISLABELLED)
    if not tolerance.replace:
        raise MalformedMessage(_STRANGE)
    return Decoded(charset.read(raw, codec, "replace"), _answering(codec), (_REPLACED,), Doubt.REPLACED)


def _disputed(raw: bytes, codec: str, text: str) -> bool:
    """True if another table of the same name gives some of the bytes other letters."""
    other = _read(raw, _NAMESAKES[codec]) if codec in _NAMESAKES else None
    return other is not None and any(a != b and (a.isalnum() or b.isalnum()) for a, b in zip(text, other, strict=False))


def _has_controls(raw: bytes) -> bool:
    return any(_CONTROLS.search(raw, start, end) for start, end in pieces(len(raw)))


def _page(codec: str) -> str:
    """The Windows code page that bytes 80 to 9F mean in a set that begins with a part of ISO 8859; else empty."""
    default, *others = codec.split("+")
    return _PAGES.get("iso8859_1" if default == "cp1252" and others else default, "")


class _Reading(NamedTuple):
    """Text in another set than the stated one: its cost, and by how many bits it must be better.

    It is taken from `take`, and mentioned from `doubt`. Its text is kept if it is short.
    """

    codec: str
    text: str
    cost: float
    finding: Finding
    take: float
    doubt: float


def _readings(raw: bytes, codec: str, *, fits: bool, usual: bool) -> Iterator[_Reading]:
    """What the bytes are in sets that may be meant instead of the stated one."""
    for other, finding, take, doubt in _others(codec, fits=fits, usual=usual):
        if (text := _read(raw, other)) is not None and (fits or other == "utf-8" or likely(text, codec, RARE)):
            cost = surprise(text, other if other in _AFAR or other in _EASTERN else codec)
            yield _Reading(other, text if len(raw) <= PIECE else "", cost, finding, take, doubt)


def _others(codec: str, *, fits: bool, usual: bool) -> Iterator[tuple[str, Finding, float, float]]:
    """Sets that may be meant instead of the stated one, with their finding and the bits of `_Reading`."""
    if codec != "utf-8":
        yield "utf-8", _IS_UTF_8, 0.0, -6.0
    if not fits and (page := _page(codec)):
        yield codec.replace(codec.partition("+")[0], page, 1), _IS_PAGE, 0.0, 0.0
    elif not fits and codec in _LARGER:
        yield _LARGER[codec], _IS_PAGE, 0.0, 0.0
    elif codec in _ELSEWISE:
        yield _ELSEWISE[codec], _IS_PAGE, 4.0, 4.0
    elif fits and not usual and codec in _MULTIPLE:
        yield "cp1252", _IS_PAGE, 10.0, 4.0
        for other in _EASTERN - {codec, _LARGER.get(codec)}:
            yield other, _IS_OTHER, 20.0, 10.0
    elif fits and not usual and codec in _WESTERN:
        for other in _AFAR:
            yield other, _IS_OTHER, inf, 20.0  # only mentioned: which of them it is cannot be told


def _answering(codec: str) -> str:
    """The set of an answer: Windows-1252 holds all of ISO 8859-1, and what its senders mean."""
    return "cp1252" if codec == "iso8859_1" else codec


def _marked(raw: bytes) -> Decoded:
    """Text after a byte order mark."""
    try:
        return Decoded(raw.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        raise MalformedMessage(_STRANGE) from None


def _guess(raw: bytes) -> Decoded:
    """Text of which no set is stated: ASCII, else UTF-8 if valid, else what MSH-19 names, else Windows-1252."""
    hint = _hint(raw)
    misplaced = (_MISPLACED,) if hint else ()
    extended = iso2022.with_escapes(raw)
    # a shift to ASCII alone says nothing about another set
    if iso2022.designates(raw) or iso2022.designates(extended.replace(b"\x1b(B", b"")):
        try:
            text, codec = iso2022.decode(extended, "ascii"), "ascii+jis+euc_kr"
            return Decoded(text, codec, (*misplaced, _GUESSED[codec]), Doubt.GUESSED)
        except UnicodeDecodeError:
            pass  # escape characters without that meaning: what follows takes them as any others
    if raw.isascii():
        return Decoded(raw.decode("ascii"), "ascii", misplaced)
    for codec, finding in (("utf-8", _GUESSED["utf-8"]), (hint, _ELSEWHERE)):
        if codec and (reading := _read(raw, codec)) is not None:
            return Decoded(reading, codec, (*misplaced, finding), Doubt.GUESSED)
    return Decoded(charset.windows(raw), "cp1252", (*misplaced, _GUESSED["cp1252"]), Doubt.GUESSED)


def _hint(raw: bytes) -> str:
    """The set that MSH-19, which is for languages, names; empty for none."""
    try:
        return labels.codec_of((labels.language(raw).partition("^")[0],))
    except MalformedMessage:
        return ""


def decode_escape(data: bytes, codec: str) -> tuple[str, bool]:
    r"""Text of the bytes of a `\Xhh..\` escape, and whether it is a guess: they are not in the set of the message."""
    text = _read(data, codec or "ascii")
    if text is not None:
        return text, False
    utf_8 = _read(data, "utf-8")
    return (charset.windows(data) if utf_8 is None else utf_8), True
