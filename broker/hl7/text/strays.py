"""Finds what is no text in a decoded message: control characters, and marks of what a sender could not write.

Control characters are left out of values (`header.clean`), among them what remains of escape sequences to sets that are
not known. U+FFFD stands where a system before us has lost a character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.findings import Finding
from broker.hl7.text.piecewise import has
from broker.hl7.work import FIELDS, pieces

MAX_PLACES = 20  # that are told
_STRAY = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd]")
_OTHER = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_PADDING = "\x00\x1a\x7f"
_LOST = "Text holds U+FFFD: characters were lost before it was sent"
_CONTROL = "Text holds control characters, which are left out"


def strays(text: str) -> tuple[Finding, ...]:
    """A warning for each field of a message that holds such characters, at its place."""
    return tuple(islice(_places(text), MAX_PLACES)) if has(_STRAY, text) else ()


def _places(text: str) -> Iterator[Finding]:
    lines = text.replace("\n", "\r").split("\r")
    mark = lines[0][3:4]
    counts: dict[str, int] = {}
    for line in lines:
        name = _STRAY.sub("", line[:64])[:3]
        counts[name] = counts.get(name, 0) + 1
        if not name or not mark or not has(_STRAY, line):
            continue
        rest = line.rstrip(_PADDING)[:-1]  # behind the last segment it is nothing
        for number, field in enumerate(rest.split(mark, FIELDS)):
            for told in _told(field) if number else ():
                where = f"{name}^{counts[name]}^{number + (name == 'MSH')}"
                yield Finding(where, ErrorCode.DATA_TYPE, told, Severity.WARNING)


def _told(field: str) -> Iterator[str]:
    """What a field holds of both, as it comes first."""
    lost = field.find("\ufffd")
    for start, end in pieces(len(field)):
        if control := _OTHER.search(field, start, end):
            yield from (_LOST, _CONTROL) if 0 <= lost < control.start() else (_CONTROL, _LOST)[: 1 + (lost >= 0)]
            return
    if lost >= 0:
        yield _LOST
