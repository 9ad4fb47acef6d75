"""Says what differs between two texts: by lines, and in lines that were changed by words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum

AROUND = 3  # lines that are shown before and after a difference
MOST = 1500  # lines that are compared one by one; of more, all that lies between what is common is another text
LONGEST = 400  # characters of a line that is compared by words
_WORD = re.compile(r"\w+|\s+|[^\w\s]")


class LineKind(StrEnum):
    """Says of which text a line is."""

    SAME = "same"
    REMOVED = "removed"
    ADDED = "added"


@dataclass(frozen=True, slots=True)
class LinePart:
    """A part of a line, and whether the other text has another one in its place."""

    text: str
    changed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffLine:
    """A line of one of two texts, or of both. `before`, `after`: its numbers from 1, 0 where it is not."""

    kind: LineKind
    before: int
    after: int
    parts: tuple[LinePart, ...]

    @property
    def text(self) -> str:
        """The line as a whole."""
        return "".join(part.text for part in self.parts)


def text_difference(before: str, after: str) -> list[list[DiffLine]]:
    """The places where two texts differ, each with some lines around it; none if they say the same."""
    lines = list(_lines(before.splitlines(), after.splitlines()))
    near = [number for number, line in enumerate(lines) if line.kind is not LineKind.SAME]
    hunks: list[list[DiffLine]] = []
    end = -1
    for number in near:
        begin = max(number - AROUND, end)
        if begin > end or not hunks:
            hunks.append([])
        stop = min(number + AROUND + 1, len(lines))
        hunks[-1] += lines[max(begin, end, 0) : stop] if stop > end else []
        end = max(end, stop)
    return hunks


def _lines(old: Sequence[str], new: Sequence[str]) -> Iterator[DiffLine]:
    """All lines of both texts, in their order."""
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    for number in range(head):
        yield _line(LineKind.SAME, number + 1, number + 1, old[number])
    a, b = old[head : len(old) - tail], new[head : len(new) - tail]
    if max(len(a), len(b)) > MOST:
        yield from _block("replace", a, b, head, head)
    else:
        for tag, a1, a2, b1, b2 in SequenceMatcher(None, a, b).get_opcodes():
            yield from _block(tag, a[a1:a2], b[b1:b2], head + a1, head + b1)
    for number in range(tail, 0, -1):
        yield _line(LineKind.SAME, len(old) - number + 1, len(new) - number + 1, old[-number])


def _block(tag: str, old: Sequence[str], new: Sequence[str], before: int, after: int) -> Iterator[DiffLine]:
    if tag == "equal":
        for number, text in enumerate(old, 1):
            yield _line(LineKind.SAME, before + number, after + number, text)
        return
    pairs = len(old) == len(new) <= MOST
    words = [_words(one, other) if pairs else None for one, other in zip(old, new, strict=False)]
    for number, text in enumerate(old):
        parts = words[number] if pairs else None
        yield _line(LineKind.REMOVED, before + number + 1, 0, text, parts[0] if parts else None)
    for number, text in enumerate(new):
        parts = words[number] if pairs else None
        yield _line(LineKind.ADDED, 0, after + number + 1, text, parts[1] if parts else None)


def _line(kind: LineKind, before: int, after: int, text: str, parts: tuple[LinePart, ...] | None = None) -> DiffLine:
    return DiffLine(kind=kind, before=before, after=after, parts=parts or (LinePart(text),))


def _words(old: str, new: str) -> tuple[tuple[LinePart, ...], tuple[LinePart, ...]] | None:
    """Both lines by their words; None where they have too little in common to be read so."""
    if max(len(old), len(new)) > LONGEST:
        return None
    a, b = _WORD.findall(old), _WORD.findall(new)
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    if matcher.ratio() < 0.4:
        return None
    left: list[LinePart] = []
    right: list[LinePart] = []
    for tag, a1, a2, b1, b2 in matcher.get_opcodes():
        left += [LinePart("".join(a[a1:a2]), tag != "equal")] if a2 > a1 else []
        right += [LinePart("".join(b[b1:b2]), tag != "equal")] if b2 > b1 else []
    return tuple(left), tuple(right)
