"""Names of character sets in MSH-18 (HL7 table 0211), and others that senders write, by the codec that reads them.

A set goes by the name of a Python codec; a default set with others that ISO 2022 escapes reach by several, joined
by `+`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from broker.hl7 import work
from broker.hl7.codes import ErrorCode
from broker.hl7.findings import Finding, MalformedMessage

OVERVIEW = work.MSH
WHERE = "MSH^1^18"
UNKNOWN = Finding(WHERE, ErrorCode.TABLE_VALUE_NOT_FOUND, "Character set is not supported")
_LATIN = re.compile(r"(?:ISO[ _-]?)?8859[-/](\d{1,2})")
_PARTS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 15})  # of ISO 8859 that the table names
_NAMED: Mapping[str, str] = {
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
# what the table does not name, without spaces and punctuation
_PAGE = re.compile(r"(?:WIN|WINDOWS|CP|MS|IBM|DOS|ANSI|XCP)(\d{3,5})")
_PAGES: Mapping[str, str] = {
    **{page: f"cp{page}" for page in ("437", "850", "852", "855", "857", "858", "862", "866", "874")},
    **{f"125{digit}": f"cp125{digit}" for digit in range(9)},
    "932": "cp932", "936": "gb18030", "949": "cp949", "950": "big5hkscs", "65001": "utf-8",
}  # fmt: skip
_OTHER: Mapping[str, str] = {
    "USASCII": "ascii", "LATIN1": "iso8859_1", "L1": "iso8859_1", "ANSI": "cp1252",
    **{f"ISO8859{part}": f"iso8859_{part}" for part in (*range(1, 12), 13, 14, 15, 16)},
    "GBK": "gb18030", "GB2312": "gb18030", "GB231280": "gb18030", "EUCCN": "gb18030", "GB180302005": "gb18030",
    "BIG5": "big5hkscs", "BIG5HKSCS": "big5hkscs", "KSX1001": "euc_kr",
    "SJIS": "cp932", "SHIFTJIS": "cp932", "WINDOWS31J": "cp932", "MSKANJI": "cp932",
    "EUCJP": "euc_jp", "ISO2022JP": "jis", "JIS": "jis",
    "EUCKR": "cp949", "KSC5601": "cp949", "KSC56011987": "cp949", "UHC": "cp949", "ISO2022KR": "euc_kr",
    "KOI8R": "koi8_r", "KOI8U": "koi8_u", "TIS620": "iso8859_11",
    # defined terms of DICOM (PS3.3 C.12.1.1.2)
    "ISOIR6": "ascii", "ISOIR100": "iso8859_1", "ISOIR101": "iso8859_2", "ISOIR109": "iso8859_3",
    "ISOIR110": "iso8859_4", "ISOIR144": "iso8859_5", "ISOIR127": "iso8859_6", "ISOIR126": "iso8859_7",
    "ISOIR138": "iso8859_8", "ISOIR148": "iso8859_9", "ISOIR203": "iso8859_15", "ISOIR166": "iso8859_11",
    "ISOIR13": "shift_jis", "ISOIR192": "utf-8", "ISO2022IR6": "ascii", "ISO2022IR13": "shift_jis",
    "ISO2022IR87": "jis", "ISO2022IR159": "jis", "ISO2022IR149": "euc_kr", "ISO2022IR100": "iso8859_1",
}  # fmt: skip
# sets that code extension may begin with or reach (ISO 2022); the others stand alone
EXTENSIBLE = frozenset(
    {
        "ascii", "jis", "shift_jis", "euc_kr", "cp1252",
        *(f"iso8859_{part}" for part in (*range(1, 12), 13, 14, 15, 16)),
    }
)  # fmt: skip


def declared(raw: bytes) -> tuple[str, ...]:
    """Repetitions of MSH-18, read from the raw bytes (the MSH segment up to there is ASCII).

    Raises MalformedMessage for more than a message can need.
    """
    names = _field(raw, 18)
    if len(names) > work.CHARACTER_SETS:
        raise MalformedMessage(UNKNOWN)
    return names


def language(raw: bytes) -> str:
    """Principal language of the message, MSH-19: some senders name their character set there."""
    return next(iter(_field(raw, 19)), "")


def _field(raw: bytes, number: int) -> tuple[str, ...]:
    line = re.split(rb"[\r\n]", raw[:OVERVIEW], maxsplit=1)[0]
    fields = line.split(line[3:4]) if len(line) > 3 else []
    if len(fields) < number:
        return ()
    parts = fields[number - 1].split(fields[1][1:2] or b"~")
    return tuple(part.decode("ascii", "replace").strip() for part in parts)


def named(text: str) -> tuple[str, ...]:
    """Names of a setting, whose repetitions are joined by `~` as in MSH-18."""
    return tuple(part.strip() for part in text.split("~"))


def codec_of(names: tuple[str, ...]) -> str:
    """The set for a declaration, empty for none. Raises MalformedMessage for sets we do not read."""
    found = [_codec(name)[0] if name else "" for name in names]
    if not any(found):
        return ""
    first, *rest = (found[0] or "ascii", *found[1:])
    if first == "ascii" and (alone := next((codec for codec in rest if codec and codec not in EXTENSIBLE), "")):
        return alone
    if first not in EXTENSIBLE:
        return first
    if first == "jis":
        first, rest = "ascii", ["jis", *rest]
    others = dict.fromkeys(codec for codec in rest if codec in EXTENSIBLE - {first, "ascii"})
    return "+".join(("cp1252" if first == "iso8859_1" else first, *others)) if others else first


def in_table(names: tuple[str, ...]) -> bool:
    """True if HL7 table 0211 has all names, in a spelling that is close to its own."""
    return all(_codec(name)[1] for name in names if name)


@lru_cache(maxsize=64)
def _codec(name: str) -> tuple[str, bool]:
    """The codec of a name, and whether the table has it."""
    name = " ".join(name.upper().split())
    part = _LATIN.fullmatch(name)
    if part and int(part[1]) in _PARTS:
        return f"iso8859_{int(part[1])}", True
    if name in _NAMED:
        return _NAMED[name], True
    plain = re.sub(r"[^A-Z0-9]", "", name)
    page = _PAGE.fullmatch(plain)
    codec = _PAGES.get(page[1], "") if page else _OTHER.get(plain) or _OTHER.get(f"ISO{plain}")
    if not codec:
        raise MalformedMessage(UNKNOWN)
    return codec, False
