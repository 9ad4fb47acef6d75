"""Writes HL7 v2 segments with the separators of the one who will read them (HL7 2.5.1 §2.5, §2.7).

A value is text, or a tuple of components (and in it a tuple of subcomponents), or a list of repetitions. Texts are
escaped here and nowhere else; what a message held already escaped comes as `Escaped`. Without a mark that would be
needed (a message need not have all) a blank stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from broker.hl7.header import CONTROLS, RECOMMENDED, Separators

Component = str | tuple[str, ...]
Repetition = str | tuple[Component, ...]
Value = Repetition | Sequence[Repetition]


class Escaped(str):
    """Text that is a value of a message with the same separators: it is written as it is."""

    __slots__ = ()


@lru_cache(maxsize=64)
def _escapes(mark: Separators) -> Mapping[int, str | None]:
    codes = {mark.field: "F", mark.component: "S", mark.repetition: "R", mark.subcomponent: "T", mark.escape: "E"}
    written = {
        ord(char): f"{mark.escape}{code}{mark.escape}" if mark.escape else " " for char, code in codes.items() if char
    }
    return {**CONTROLS, **written}


class SegmentWriter:
    """Writes segments with one set of separators."""

    def __init__(self, separators: Separators = RECOMMENDED) -> None:
        self.separators = separators
        self._escapes = _escapes(separators)

    def segment(self, name: str, fields: Mapping[int, Value], *, least: int = 0) -> str:
        """A segment without its CR, by the numbers of its fields.

        Empty fields at its end are left out, but not the first `least`. MSH, BHS and FHS have fields from 3 on.
        """
        mark = self.separators.field
        first = 1
        head = name
        if name in ("MSH", "BHS", "FHS"):
            separators = self.separators
            first = 3
            head = f"{name}{mark}{separators.component}{separators.repetition}{separators.escape}"
            head += separators.subcomponent
        values = [self.value(fields[number]) if number in fields else "" for number in range(first, max(fields) + 1)]
        while len(values) > least and not values[-1]:
            values.pop()
        return mark.join([head, *values])

    def value(self, value: Value) -> str:
        """One field."""
        if isinstance(value, str | tuple):
            return self._repetition(value)
        return (self.separators.repetition or " ").join(map(self._repetition, value))

    def text(self, text: str) -> str:
        """A text escaped; control characters are left out."""
        return text if isinstance(text, Escaped) else text.translate(self._escapes)

    def _repetition(self, value: Repetition) -> str:
        if isinstance(value, str):
            return self.text(value)
        mark = self.separators.component
        return mark.join([self.text(c) if isinstance(c, str) else self.subcomponents(c) for c in value]).rstrip(mark)

    def subcomponents(self, parts: Sequence[str]) -> str:
        """One component of several parts."""
        mark = self.separators.subcomponent or " "
        return mark.join(map(self.text, parts)).rstrip(mark)
