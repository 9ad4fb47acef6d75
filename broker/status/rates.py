"""Counts by the minute what goes through the broker, for the last hours, in bounded memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Generic, Protocol, TypeVar

MINUTE = 60
KEPT = 360  # minutes


@dataclass(slots=True)
class MinuteCount:
    """What happened in one minute; `t`: its begin in seconds since the epoch."""

    t: int
    orders: float = 0  # HL7 messages that were accepted
    refused: float = 0  # HL7 messages that were refused
    queries: float = 0
    objects_in: float = 0
    objects_out: float = 0  # delivered ones
    stalls: float = 0  # times in which one handler held the event loop


COUNTED = tuple(one.name for one in fields(MinuteCount) if one.name != "t")


class OneMinute(Protocol):
    """Something that is counted in one minute."""

    t: int


M = TypeVar("M", bound=OneMinute)


class MinuteBook(Generic[M]):
    """The minutes that have passed, and the one that runs: KEPT of them. Its users lock it."""

    def __init__(self, blank: Callable[[int], M]) -> None:
        """`blank` makes a minute without anything, of its begin."""
        self._blank = blank
        self._minutes: deque[M] = deque(maxlen=KEPT + 1)

    def current(self, now: float) -> M:
        """The minute that runs; those between it and the last one have nothing. A clock that was set begins anew."""
        minutes, start = self._minutes, int(now) // MINUTE * MINUTE
        if minutes and not 0 <= start - minutes[-1].t <= KEPT * MINUTE:
            minutes.clear()
        if not minutes:
            minutes.append(self._blank(start))
        while minutes[-1].t < start:
            minutes.append(self._blank(minutes[-1].t + MINUTE))
        return minutes[-1]

    def over(self) -> list[M]:
        """The minutes that are over, oldest first."""
        return list(self._minutes)[:-1]

    def last(self, minutes: int) -> Sequence[M]:
        """The last minutes, with the one that runs."""
        return list(self._minutes)[-minutes:]


class CounterGrowth:
    """Says by how much the counters of some processes grew. One that is lower has begun anew."""

    def __init__(self) -> None:
        self._last: dict[int, Mapping[str, float]] = {}

    def take(self, totals: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
        """The growth of all together, by name; of a process that is seen for the first time there is none yet."""
        grown: dict[str, float] = {}
        for process, counters in totals.items():
            before = self._last.get(process)
            for name, number in counters.items() if before is not None else ():
                earlier = (before or {}).get(name, 0.0)
                grown[name] = grown.get(name, 0.0) + (number - earlier if number >= earlier else number)
        self._last = {process: dict(counters) for process, counters in totals.items()}
        return grown


@dataclass(slots=True)
class Rates:
    """Counts all that goes through the broker. Fed with counters that only go up. For several threads."""

    _book: MinuteBook[MinuteCount] = field(default_factory=lambda: MinuteBook(MinuteCount))
    _growth: CounterGrowth = field(default_factory=CounterGrowth)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def feed(self, now: float, totals: Mapping[int, Mapping[str, float]]) -> None:
        """Take the counters of all processes, by its number and by name."""
        with self._lock:
            minute, grown = self._book.current(now), self._growth.take(totals)
            for name in COUNTED:
                setattr(minute, name, getattr(minute, name) + grown.get(name, 0.0))

    def since(self, moment: float) -> list[MinuteCount]:
        """The minutes that are over and began after a moment (s since the epoch), oldest first."""
        with self._lock:
            return [minute for minute in self._book.over() if minute.t > moment]

    def total(self, name: str, minutes: int) -> float:
        """The sum of the last minutes, with the one that runs."""
        with self._lock:
            return sum(float(getattr(minute, name)) for minute in self._book.last(minutes))
