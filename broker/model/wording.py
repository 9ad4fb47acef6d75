"""Sentences for people that can be translated: an English text with places for values, and the values.

The page looks the text up in its language, commands and REST fill in the English one. Times are values of their own, so
that each reader sees them on the clock of the site.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment in seconds since the epoch."""

    at: float


@dataclass(frozen=True, slots=True)
class Lasting:
    """A length of time in seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence for people: English text with places like `%(name)s`, and the values that fill them.

    It is translated where it is shown. `many` is its plural, where it depends on the value `n`.
    """

    text: str
    values: Mapping[str, object] = field(default_factory=dict)
    many: str = ""

    def english(self, zone: tzinfo, now: float) -> str:
        """The sentence in English; times on the clock of `zone`, with the date unless it is that of `now`."""
        text = self.many if self.many and self.values.get("n") != 1 else self.text
        return text % {name: _english(value, zone, now) for name, value in self.values.items()}


def _english(value: object, zone: tzinfo, now: float) -> str:
    match value:
        case Instant():
            return clock_time(value.at, zone, now)
        case Lasting():
            return duration(value.seconds)
        case Sentence():
            return value.english(zone, now)
        case _:
            return str(value)


def pack(sentence: Sentence) -> list[object]:
    """A sentence as JSON takes it; `unpack` is its way back."""
    return [sentence.text, {name: _packed(value) for name, value in sentence.values.items()}, sentence.many]


def unpack(packed: object) -> Sentence:
    """A sentence of what `pack` made. Raises ValueError for anything else."""
    match packed:
        case [str(text), dict(values), str(many)]:
            return Sentence(text, {str(name): _unpacked(value) for name, value in values.items()}, many)
    raise ValueError("not a sentence")


def _packed(value: object) -> object:
    match value:
        case Sentence():
            return pack(value)
        case Instant():
            return {"at": float(value.at)}
        case Lasting():
            return {"seconds": float(value.seconds)}
    return value


def _unpacked(value: object) -> object:
    match value:
        case list():
            return unpack(value)
        case {"at": float(at)}:
            return Instant(at)
        case {"seconds": float(seconds)}:
            return Lasting(seconds)
        case str() | int() | float():
            return value
    raise ValueError("not a value of a sentence")


def clock_time(at: float, zone: tzinfo, now: float) -> str:
    """`02:14`; with its date if that is another one than that of `now`: `2026-03-12 02:14`."""
    then, today = datetime.fromtimestamp(at, zone), datetime.fromtimestamp(now, zone)
    return then.strftime("%H:%M" if then.date() == today.date() else "%Y-%m-%d %H:%M")


def units(seconds: float) -> list[tuple[int, str]]:
    """A length of time in its largest unit (d, h, min, s), with the next one while there are few hours or days."""
    rest = max(0, round(seconds))
    parts = []
    for length, unit in _UNITS:
        number, rest = divmod(rest, length)
        parts.append((number, unit))
    first = next((place for place, (number, _) in enumerate(parts) if number), len(parts) - 1)
    one = parts[first][0] >= 10 or parts[first][1] in ("min", "s")
    return parts[first : first + (1 if one or not parts[first + 1][0] else 2)]


def duration(seconds: float) -> str:
    """A length of time in English: `38 min`, `2 h 5 min`, `12 d`."""
    return " ".join(f"{number} {unit}" for number, unit in units(seconds))


def in_english(sentence: Sentence) -> str:
    """A sentence in English, for REST and commands; so are the sentences within it."""
    text = sentence.many if sentence.many and sentence.values.get("n") != 1 else sentence.text
    values = sentence.values.items()
    return text % {name: in_english(value) if isinstance(value, Sentence) else value for name, value in values}
