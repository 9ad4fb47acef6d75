"""Times of the week that rules and nodes name: `Mon-Fri 18:00-06:00`, `Sat,Sun`, `holiday`, `22:00-24:00`.

Several stand with `;` between them.
A window over midnight belongs to the day it began: `Fri 18:00-06:00` holds on Saturday at 5 o'clock. A day that is a
holiday is the day `holiday` and also its day of the week.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HOLIDAY = "holiday"
_MINUTES = 24 * 60
_AHEAD = 366  # days that are looked at for the next begin: a window may hold on holidays alone
_HOURS = re.compile(r"([0-9]{1,2}):([0-9]{2})-([0-9]{1,2}):([0-9]{2})")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DAY_OF_YEAR = re.compile(r"[0-9]{2}-[0-9]{2}")


class NoWindow(ValueError):
    """A text that names no time of the week; it says why."""


@dataclass(frozen=True, slots=True)
class _Span:
    """Days of the week (0 is Monday), holidays if `on_holidays`, and minutes of the day from `start` up to `end`."""

    days: frozenset[int]
    on_holidays: bool
    start: int
    end: int

    def begins_on(self, day: date, holidays: Collection[str]) -> bool:
        return day.weekday() in self.days or (self.on_holidays and is_holiday(day, holidays))

    def holds(self, moment: datetime, holidays: Collection[str]) -> bool:
        minute, day = moment.hour * 60 + moment.minute, moment.date()
        if self.start < self.end:
            return self.start <= minute < self.end and self.begins_on(day, holidays)
        if minute >= self.start:
            return self.begins_on(day, holidays)
        return minute < self.end and self.begins_on(day - timedelta(days=1), holidays)


@dataclass(frozen=True, slots=True)
class WeekWindow:
    """Times of the week."""

    spans: tuple[_Span, ...]

    def holds(self, moment: datetime, holidays: Collection[str]) -> bool:
        """A local time lies in it. `holidays` as `RuleSet` has them."""
        return any(span.holds(moment, holidays) for span in self.spans)

    def next_begin(self, moment: datetime, holidays: Collection[str]) -> datetime | None:
        """When it holds next, after a local time (without a zone) at which it does not; None if not within a year."""
        for ahead in range(_AHEAD + 1):
            day = moment.date() + timedelta(days=ahead)
            begins = [
                datetime.combine(day, time(span.start // 60, span.start % 60))
                for span in self.spans
                if span.begins_on(day, holidays)
            ]
            if later := [begin for begin in begins if begin > moment]:
                return min(later)
        return None


def window(text: str) -> WeekWindow:
    """Read a window. Raises NoWindow."""
    parts = [part.strip().lower() for part in text.split(";")]
    if not all(parts) or len(parts) > 20:
        raise NoWindow("a window looks like Mon-Fri 18:00-06:00")
    return WeekWindow(tuple(_span(part) for part in parts))


def _span(text: str) -> _Span:
    days, on_holidays, hours = frozenset(range(7)), True, (0, _MINUTES)
    words = text.split()
    if words and _HOURS.fullmatch(words[-1]):
        hours = _hours(words.pop())
    if words:
        days, on_holidays = _days(" ".join(words))
    return _Span(days, on_holidays, *hours)


def _hours(text: str) -> tuple[int, int]:
    match = _HOURS.fullmatch(text)
    numbers = [int(number) for number in match.groups()] if match else []
    if len(numbers) != 4 or numbers[1] > 59 or numbers[3] > 59:
        raise NoWindow("hours look like 18:00-06:00")
    start, end = numbers[0] * 60 + numbers[1], numbers[2] * 60 + numbers[3]
    if start >= _MINUTES or end > _MINUTES or start == end:
        raise NoWindow("hours lie between 00:00 and 24:00 and differ")
    return start, end


def _days(text: str) -> tuple[frozenset[int], bool]:
    days: set[int] = set()
    on_holidays = False
    for part in text.replace(" ", "").split(","):
        if part in (HOLIDAY, "holidays"):
            on_holidays = True
            continue
        first, dash, last = part.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise NoWindow(f"days are {', '.join(day.capitalize() for day in DAYS)} and holiday")
        start = DAYS.index(first)
        end = DAYS.index(last) if dash else start
        days.update(number % 7 for number in range(start, end + 1 if end >= start else end + 8))
    return frozenset(days), on_holidays


def is_holiday(day: date, holidays: Collection[str]) -> bool:
    """A day is one of the holidays, by its date or as a day of each year."""
    return day.isoformat() in holidays or f"{day:%m-%d}" in holidays


def check_holiday(text: str) -> None:
    """Raises NoWindow for what is neither a date nor a day of each year."""
    try:
        if _DATE.fullmatch(text):
            date.fromisoformat(text)
            return
        if _DAY_OF_YEAR.fullmatch(text):
            date.fromisoformat(f"2024-{text}")  # a leap year
            return
    except ValueError:
        pass
    raise NoWindow("a holiday is a date (2026-04-03) or a day of each year (12-25)")
