"""Wild cards: `*` any run of characters, `?` exactly one; no escape (PS3.4 C.2.2.2.4). In queries and in mappings.

All positions of the pattern are followed at once as bits of one integer, so the time is bounded by
value length times pattern length / 64, whatever the pattern.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from broker.errors import BadContent

MAX_BITS = 1 << 20  # of a pattern's table: each distinct character costs as many as the pattern is long


@dataclass(frozen=True, slots=True)
class Wildcard:
    """A compiled pattern."""

    prefix: str  # literal text before the first wild card
    literal: bool  # no wild card at all
    fewest: int  # shortest value that can match
    loops: int  # positions that a `*` lets stay
    any_character: int  # positions of `?`
    accepts: Mapping[str, int]  # positions that take a character

    def matches(self, value: str) -> bool:
        """True when the whole value fits the pattern."""
        if len(value) < self.fewest or not value.startswith(self.prefix):
            return False
        state, accepts, loops, default = 1, self.accepts, self.loops, self.any_character
        for char in value:
            state = (state & accepts.get(char, default)) << 1 | state & loops
            if not state:
                return False
        return bool(state >> self.fewest & 1)


def has_wildcard(text: str) -> bool:
    """True when the text holds `*` or `?`."""
    return "*" in text or "?" in text


def compile_wildcard(text: str) -> Wildcard:
    """Compile a pattern; a text without wild cards matches itself. Raises BadContent for one beyond all reason."""
    if len(set(text)) * len(text) > MAX_BITS:
        raise BadContent("pattern too long", code="pattern-too-long")
    accepts: dict[str, int] = {}
    loops = any_character = length = 0
    for char in text:
        if char == "*":
            loops |= 1 << length
            continue
        if char == "?":
            any_character |= 1 << length
        else:
            accepts[char] = accepts.get(char, 0) | 1 << length
        length += 1
    ends = [text.find(c) for c in "*?" if c in text]
    return Wildcard(
        text[: min(ends, default=len(text))],
        not ends,
        length,
        loops,
        any_character,
        {char: bits | any_character for char, bits in accepts.items()},
    )
