"""Draws Code 128 (ISO/IEC 15417) as the path of an SVG, which a template puts in place: nothing is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from barcode.codex import Code128
from barcode.errors import IllegalCharacterError

QUIET = 10  # modules of white at each side (ISO/IEC 15417 §4.4)


@dataclass(frozen=True, slots=True)
class Barcode:
    """A bar code one module high: its width with both quiet zones, in modules, and the bars as a path."""

    width: int
    path: str


def code_128(text: str) -> Barcode | None:
    """The code of a text; None for an empty one, and for characters that Code 128 does not have."""
    try:
        modules = str(Code128(text).build()[0]) if text else ""
    except IllegalCharacterError:
        return None
    place, bars = QUIET, []
    for kind, run in groupby(modules):
        length = len(list(run))
        if kind == "1":
            bars.append(f"M{place} 0h{length}v1h-{length}z")
        place += length
    return Barcode(place + QUIET, "".join(bars)) if bars else None
