"""Compares readings of the same bytes: how surprising is a text? Right readings hold common characters of one script.

The surprise is roughly one of information, in bits: what each character adds, and each change of script or case in a
word. So readings of different length can be compared. Only characters beyond ASCII and their neighbours count.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice

from broker import telemetry
from broker.hl7.work import pieces

MAX_CHARACTERS = 300  # that are looked at; more prove nothing new
_RUN = re.compile(r"[^\x00-\x7f]+")
# first character of a block, its script, what one of its characters costs
_BLOCKS = (
    (0x0080, "control", 26.0), (0x00A0, "symbol", 12.0), (0x00C0, "latin", 8.0), (0x0180, "latin", 17.0),
    (0x0250, "symbol", 20.0), (0x0300, "mark", 14.0), (0x0370, "greek", 7.0), (0x03D0, "greek", 18.0),
    (0x0400, "cyrillic", 9.0), (0x0410, "cyrillic", 7.5),
    (0x0450, "cyrillic", 9.0), (0x0460, "cyrillic", 18.0), (0x0530, "armenian", 14.0), (0x0590, "hebrew", 7.0),
    (0x0600, "arabic", 7.0), (0x0700, "other", 18.0), (0x0E00, "thai", 7.0), (0x0E80, "other", 18.0),
    (0x1100, "hangul", 16.0), (0x1200, "other", 20.0), (0x1E00, "latin", 11.0), (0x2000, "symbol", 11.0),
    (0x2070, "symbol", 14.0), (0x2100, "symbol", 15.0), (0x2600, "symbol", 18.0), (0x2E80, "symbol", 20.0),
    (0x3000, "symbol", 10.0), (0x3040, "kana", 8.0), (0x3100, "bopomofo", 16.0), (0x3130, "hangul", 16.0),
    (0x3200, "symbol", 18.0), (0x3400, "han", 22.0), (0x4E00, "han", 19.0), (0xA000, "other", 22.0),
    (0xAC00, "hangul", 13.0), (0xD7B0, "other", 24.0), (0xE000, "private", 26.0), (0xF900, "han", 22.0),
    (0xFB00, "other", 18.0), (0xFF00, "wide", 11.0), (0xFF61, "halfwidth", 10.0), (0xFFA0, "other", 22.0),
    (0xFFFD, "other", 30.0), (0x10000, "other", 24.0), (0x20000, "han", 23.0), (0x30000, "other", 26.0),
)  # fmt: skip
_FIRST = tuple(block[0] for block in _BLOCKS)
_FREE = frozenset(map(frozenset, (("han", "kana"), ("han", "wide"), ("kana", "wide"), ("wide", "latin"))))
_EASTERN = frozenset({"han", "kana", "hangul", "wide"})
_LETTERS = frozenset({"latin", "greek", "cyrillic", "armenian", "hebrew", "arabic", "thai", "han", "kana", "hangul",
                      "halfwidth", "other", "bopomofo"})  # fmt: skip
_FOREIGNERS = frozenset({"arabic", "hebrew", "thai", "cyrillic", "greek", "armenian", "other"})
_JAPANESE = frozenset({"shift_jis", "cp932", "euc_jp", "jis"})
_OFTEN = frozenset("аеиоуянтсрвлкмдпй")  # letters of Cyrillic languages
_CHANGE, _EASTERN_CHANGE, _CASE, _ACCENTS, _FOREIGN = 9.0, 4.0, 7.0, 4.0, 10.0
# rows of the characters that a national standard calls common: codec, first and last lead byte
_COMMON = {
    "gb18030": ("gb2312", 0xB0, 0xD7),
    "big5hkscs": ("big5", 0xA4, 0xC6),
    "shift_jis": ("euc_jp", 0xB0, 0xCF),
    "jis": ("euc_jp", 0xB0, 0xCF),
    "cp932": ("euc_jp", 0xB0, 0xCF),
    "euc_jp": ("euc_jp", 0xB0, 0xCF),
    "euc_kr": ("euc_kr", 0xB0, 0xFD),
    "cp949": ("euc_kr", 0xB0, 0xFD),
}
_NATIVE, _SECOND, _ABROAD = 10.0, 14.0, 15.0
ACCENTED, USUAL, RARE = 10.0, 12.0, 15.0  # bits of a character on average


def surprise(text: str, codec: str) -> float:
    """How unlikely a text is from somebody who states a set, in bits; 0 for ASCII."""
    codec = next((part for part in codec.split("+") if part in _COMMON), codec)
    total, seen, strange = 0.0, 0, set[str]()
    for before, run, after in _runs(text):
        left = before
        for character in run[:MAX_CHARACTERS]:
            total += _cost(character, codec) + _step(left, character)
            left = character
            strange.add(_script(character))
        total += _step(left, after)
        seen += len(run)
        if seen >= MAX_CHARACTERS:
            break
    return total + _FOREIGN * len(strange & (_FOREIGNERS if codec in _COMMON else _EASTERN))


def likely(text: str, codec: str, bits: float) -> bool:
    """True if the characters of a text are on average no more surprising than that, and none is of private use."""
    beyond = "".join(run for _, run, _ in islice(_runs(text), MAX_CHARACTERS))[:MAX_CHARACTERS]
    return surprise(text, codec) <= bits * len(beyond) and "private" not in map(_script, beyond)


def _runs(text: str) -> Iterator[tuple[str, str, str]]:
    """Runs of characters beyond ASCII, each with its neighbours."""
    for begin, stop in pieces(len(text)):
        for found in _RUN.finditer(text, begin, stop):
            start, end = found.span()
            yield text[max(start - 1, 0) : start], found[0], text[end : end + 1]


@lru_cache(maxsize=20_000)
def _cost(character: str, codec: str) -> float:
    if not unicodedata.category(character).startswith(("L", "M", "N", "P", "S", "Z")):
        return 26.0
    script, cost = _script(character), _BLOCKS[bisect_right(_FIRST, ord(character)) - 1][2]
    if script in ("han", "hangul"):
        common, second = _standard(codec)
        abroad = script == "han" and character in _all_common()
        return _NATIVE if character in common else _SECOND if character in second else _ABROAD if abroad else cost
    if script == "cyrillic":
        return 5.0 if character.lower() in _OFTEN else cost
    return 5.5 if script == "halfwidth" and codec in _JAPANESE else cost


@lru_cache(maxsize=20_000)
def _script(character: str) -> str:
    if character.isascii():
        return "latin" if character.isalpha() else ""
    if character in "ªºµ×÷":
        return "symbol"
    if 0xFF21 <= ord(character) <= 0xFF5A or 0xFF10 <= ord(character) <= 0xFF19:
        return "wide"
    return _BLOCKS[bisect_right(_FIRST, ord(character)) - 1][1]


@lru_cache(maxsize=20_000)
def _step(left: str, right: str) -> float:
    """What two neighbours cost: another script or the wrong case in one word."""
    if not left or not right:
        return 0.0
    one, other = _script(left), _script(right)
    if one != other:
        if one not in _LETTERS or other not in _LETTERS or frozenset({one, other}) in _FREE:
            # a symbol between letters, like the one of Ã¼
            return 2.0 if "symbol" in (one, other) and (one in _LETTERS or other in _LETTERS) else 0.0
        return _EASTERN_CHANGE if one in _EASTERN or other in _EASTERN else _CHANGE
    if one == "latin" and not left.isascii() and not right.isascii():
        return _ACCENTS
    return _CASE if left.islower() and right.isupper() else 0.0


@lru_cache(maxsize=16)
def _standard(codec: str) -> tuple[frozenset[str], frozenset[str]]:
    """Common and other characters of the standard of a set; of all standards for a set without."""
    if codec not in _COMMON:
        return _all_common(), frozenset()
    standard, first, last = _COMMON[codec]
    everything = frozenset(_rows(standard, 0xA1, 0xFE))
    return frozenset(_rows(standard, first, last)), everything


@lru_cache(maxsize=1)
def _all_common() -> frozenset[str]:
    return frozenset(c for standard, first, last in set(_COMMON.values()) for c in _rows(standard, first, last))


def _rows(codec: str, first: int, last: int) -> Iterator[str]:
    """Characters of two bytes with these lead bytes."""
    for lead in range(first, last + 1):
        for trail in range(0x40, 0xFF):
            try:
                yield bytes((lead, trail)).decode(codec)
            except UnicodeDecodeError:
                continue


telemetry.count_entries("plausible-characters", _cost, _script, _step)
