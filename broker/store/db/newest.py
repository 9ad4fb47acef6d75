"""Walks rows newest first, a page at a time and in bounded time, through one source of keys or several at once.

A source gives keys in the order of an index. Conditions that the index does not know are told with each key, LOOK keys
at a time and FAR in all for one page, so that no page takes long, however rare what is looked for. A page may be short
or empty and yet not be the last one: `after` says where the next one begins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LOOK, FAR = 2_000, 20_000
Place = tuple[float, int]  # time and number, where a page ended
PLACE = r"\d{1,12}(?:\.\d{1,20})?:\d{1,18}"
_PLACE = re.compile(r"(\d{1,12}(?:\.\d{1,20})?):(\d{1,18})")


@dataclass(frozen=True, slots=True)
class RowKey:
    """The place of a row, and whether it meets the conditions that the index does not know."""

    place: Place
    fits: bool


Source = Callable[[Place | None, int], Sequence[RowKey]]  # older than a place, newest first, at most so many


@dataclass(frozen=True, slots=True)
class NewestPage:
    """Places of rows that fit, newest first. `after`: where the next page begins, None behind the last one."""

    places: list[Place]
    after: Place | None


def page(sources: Sequence[Source], after: Place | None, limit: int, size: int, far: int | None = None) -> NewestPage:
    """At most `limit` rows of all sources, older than the place `after`; `size` keys are read of each at a time.

    `far`: how many keys are looked at, if not FAR.
    """
    most = FAR if far is None else far
    found: list[Place] = []
    looked = 0
    while sources:
        parts = [source(after, size) for source in sources]
        ends = [part[-1].place for part in parts if len(part) == size]
        last = max(ends, default=None)  # older keys may still come between those that were read
        for key in sorted((key for part in parts for key in part), key=lambda key: key.place, reverse=True):
            if last is not None and key.place < last:
                break
            looked += 1
            if key.fits:
                found.append(key.place)
            if len(found) == limit:
                return NewestPage(found, key.place)
        if last is None:
            break
        after = last
        if looked >= most:
            return NewestPage(found, after)
    return NewestPage(found, None)


def place_text(place: Place) -> str:
    """A place as it stands in addresses and answers."""
    return f"{place[0]!r}:{place[1]}"


def place_of(text: str) -> Place | None:
    """The place of a text; None for a text that is none."""
    match = _PLACE.fullmatch(text)
    return (float(match[1]), int(match[2])) if match else None
