r"""Escape sequences of HL7 v2 texts (HL7 2.5.1 §2.7): separators, bytes, commands of formatted text."""

from __future__ import annotations

import re
from functools import lru_cache

from broker.hl7 import work
from broker.hl7.header import Separators, clean
from broker.hl7.text import decoding

UNKNOWN = "An escape sequence is not known: it is left out or stands as text"
GUESSED = "Escaped bytes are not in the character set of the message: they are read by a guess"
CONTROL = "Escaped control characters are left out"


@lru_cache(maxsize=64)
def _sequences(escape: str) -> re.Pattern[str]:
    """Known sequences, and shifts to other character sets (group 2). Bytes in sequences that touch are one text."""
    mark = re.escape(escape)
    data = f"X(?:[0-9A-Fa-f]{{2}}){{1,{work.ESCAPED // 2}}}"
    return re.compile(
        mark
        + rf"(?:([FSTREHN]|{data}(?:{mark}{mark}{data})*"
        + r"|\.(?:br|nf|fi|ce|(?:in|ti)[+-]?\d{0,4}|(?:sp|sk)[+ ]?\d{0,2}))"
        + r"|(C[0-9A-Fa-f]{4}|M[0-9A-Fa-f]{4}(?:[0-9A-Fa-f]{2})?))"
        + mark
    )


def unescape(text: str, separators: Separators, codec: str = "utf-8") -> str:
    """Replace escape sequences once. Unknown ones and a single escape character stay as they are.

    Shifts to other character sets (C, M) are left out. `doubts` tells of both.
    Commands of formatted text (HL7 2.5.1 §2.7.6): `.sk n` gives spaces, what ends a line a line break.
    """
    if not separators.escape or separators.escape not in text:
        return text
    plain = {
        "F": separators.field,
        "S": separators.component,
        "T": separators.subcomponent or "&",
        "R": separators.repetition or "~",
        "E": separators.escape,
        "H": "",
        "N": "",
    }

    def replace(found: re.Match[str]) -> str:
        code = found[1]
        if code is None:
            return ""
        if code in plain:
            return plain[code]
        if code[0] == "X":
            return clean(decoding.decode_escape(_bytes(code, separators), codec)[0], keep="\t\r\n")
        return _formatted(code, found)

    return _sequences(separators.escape).sub(replace, text)


def _bytes(code: str, separators: Separators) -> bytes:
    return bytes.fromhex(code[1:].replace(f"{separators.escape}{separators.escape}X", ""))


def _formatted(code: str, found: re.Match[str]) -> str:
    """What a command of formatted text stands for; words before and after it never run together."""
    command, number = code[1:3], code[3:].strip("+- ")
    if command == "sk":
        return " " * int(number or 1)
    if command == "sp":
        return "\r\n" * max(int(number or 1), 1)
    if command in ("br", "ce"):
        return "\r\n"
    before, after = found.string[: found.start()][-1:], found.string[found.end() :][:1]
    if not before.strip() or not after.strip():
        return ""
    return " " if command in ("nf", "fi") else "\r\n"  # an indent is one of a new line


def doubts(text: str, separators: Separators, codec: str) -> tuple[str, ...]:
    """What the escape sequences of a text hold that does not come out as it was meant.

    Sequences that are not known, a lone escape character, bytes in another set than that of the message.
    """
    if not separators.escape or separators.escape not in text:
        return ()
    known = _sequences(separators.escape)
    told = [UNKNOWN] if separators.escape in known.sub(lambda found: found[0] if found[1] is None else "", text) else []
    for found in known.finditer(text):
        if found[1] is not None and found[1][0] == "X":
            meant, guessed = decoding.decode_escape(_bytes(found[1], separators), codec)
            told += [GUESSED] if guessed else []
            told += [CONTROL] if clean(meant, keep="\t\r\n") != meant else []
    return tuple(dict.fromkeys(told))
