"""Paths of fields: which segments, which repetition, which part (`OBX[3.1=TMOD].5.1`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from broker import telemetry
from broker.wildcard import Wildcard, compile_wildcard

_CHOICES = r"((?:\[\d{1,3}(?:\.\d{1,2}){0,2}=[^\[\]]{0,200}\])*)"
_PATH = re.compile(
    rf"(?:([A-Z][A-Z0-9]{{2}})/)?([A-Z][A-Z0-9]{{2}}){_CHOICES}([-.])(\d{{1,3}}){_CHOICES}"
    r"(?:\[(\d{1,4})\])?(?:\.(\d{1,2}))?(?:\.(\d{1,2}))?"
)
_CHOICE = re.compile(r"\[(\d+)(?:\.(\d+))?(?:\.(\d+))?=([^\[\]]*)\]")


@dataclass(frozen=True, slots=True)
class Choice:
    """`[3.1=TMOD]`: what must stand at a place of a segment (field, component, subcomponent; 0 means the whole).

    In brackets behind a field it is a place of one of its repetitions (component, subcomponent).
    """

    place: tuple[int, int, int]
    value: Wildcard  # any case

    def fits(self, text: str) -> bool:
        """True if this is what must stand there."""
        return self.value.matches(text.strip().casefold())


@dataclass(frozen=True, slots=True)
class Path:
    """`PID-3[2].4.1`: field, repetition (from 1), component, subcomponent; 0 means the whole.

    `OBR/NTE-3`: only NTE segments that follow an OBR. `OBX[3.1=TMOD].5.1`: only segments whose third field says so.
    `PID-3[4.1=HOSP].1`: only repetitions whose fourth component says so.
    """

    segment: str
    field: int
    repetition: int = 1
    component: int = 0
    subcomponent: int = 0
    parent: str = ""
    segments: tuple[Choice, ...] = ()
    repetitions: tuple[Choice, ...] = ()


@lru_cache(maxsize=2048)
def path(text: str) -> Path:
    """Parse a path. Raises ValueError."""
    found = _PATH.fullmatch(text)
    if not found or (found[4] == "." and not found[3]):
        raise ValueError("not a path of an HL7 field")
    parent, segment, of_segments, _, field, of_repetitions, repetition, component, subcomponent = found.groups()
    return Path(
        segment,
        int(field),
        int(repetition or 1),
        int(component or 0),
        int(subcomponent or 0),
        parent or "",
        _choices(of_segments),
        _choices(of_repetitions),
    )


def _choices(text: str) -> tuple[Choice, ...]:
    return tuple(
        Choice((int(first), int(second or 0), int(third or 0)), compile_wildcard(value.strip().casefold()))
        for first, second, third, value in (found.groups() for found in _CHOICE.finditer(text))
    )


telemetry.count_entries("hl7-paths", path)
