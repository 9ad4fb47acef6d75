"""Counts by the minute what goes through the broker, for the last hours, in bounded memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

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


@dataclass(slots=True)
class Rates:
    """The minutes that have passed, and the one that runs. Fed with counters that only go up. For several threads."""

    _minutes: deque[MinuteCount] = field(default_factory=lambda: deque(maxlen=KEPT + 1))
    _last: dict[int, Mapping[str, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def feed(self, now: float, totals: Mapping[int, Mapping[str, float]]) -> None:
        """Take the counters of all processes, by its number and by name. One that is lower has begun anew."""
        with self._lock:
            minute = self._minute(now)
            for process, counters in totals.items():
                before = self._last.get(process)
                for name in COUNTED if before is not None else ():
                    number, earlier = counters.get(name, 0.0), (before or {}).get(name, 0.0)
                    setattr(minute, name, getattr(minute, name) + (number - earlier if number >= earlier else number))
            self._last = {process: dict(counters) for process, counters in totals.items()}

    def _minute(self, now: float) -> MinuteCount:
        """The minute that runs; those between it and the last one have nothing. A clock that was set begins anew."""
        start = int(now) // MINUTE * MINUTE
        if self._minutes and not 0 <= start - self._minutes[-1].t <= KEPT * MINUTE:
            self._minutes.clear()
        if not self._minutes:
            self._minutes.append(MinuteCount(start))
        while self._minutes[-1].t < start:
            self._minutes.append(MinuteCount(self._minutes[-1].t + MINUTE))
        return self._minutes[-1]

    def since(self, moment: float) -> list[MinuteCount]:
        """The minutes that are over and began after a moment (s since the epoch), oldest first."""
        with self._lock:
            return [minute for minute in list(self._minutes)[:-1] if minute.t > moment]

    def total(self, name: str, minutes: int) -> float:
        """The sum of the last minutes, with the one that runs."""
        with self._lock:
            return sum(float(getattr(minute, name)) for minute in list(self._minutes)[-minutes:])
