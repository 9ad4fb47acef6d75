"""Finds what is no text in a decoded message: control characters, and marks of what a sender could not write.

Control characters are left out of values (`header.clean`), among them what remains of escape sequences to sets that are
not known. U+FFFD stands where a system before us has lost a character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.findings import Finding

MAX_PLACES = 20  # that are told
_STRAY = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd]")
_LOST = "Text holds U+FFFD: characters were lost before it was sent"
_CONTROL = "Text holds control characters, which are left out"


def strays(text: str) -> tuple[Finding, ...]:
    """A warning for each field of a message that holds such characters, at its place."""
    if not _STRAY.search(text):
        return ()
    return tuple(dict.fromkeys(_places(text)))[:MAX_PLACES]


def _places(text: str) -> Iterator[Finding]:
    lines = re.split(r"[\r\n]+", text)
    mark = lines[0][3:4]
    counts: dict[str, int] = {}
    for line in lines:
        name = _STRAY.sub("", line)[:3]
        counts[name] = counts.get(name, 0) + 1
        for found in _STRAY.finditer(line) if name and mark else ():
            field = line.count(mark, 0, found.start()) + (name == "MSH")
            if field and line[found.end() :].strip("\x00\x1a\x7f"):  # padding behind the last segment is nothing
                told = _LOST if found[0] == "\ufffd" else _CONTROL
                yield Finding(f"{name}^{counts[name]}^{field}", ErrorCode.DATA_TYPE, told, Severity.WARNING)
