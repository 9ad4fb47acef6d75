"""Reads dates and times of queries: single values, ranges, legacy forms (PS3.4 C.2.2.2.5, PS3.5 6.2).

A date is compared as `YYYYMMDD`, a time as `HHMMSSffffff`: digits only, so text order is time order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from broker.dicom.dataset.read import BadElement

_LAST = "235959999999"
_MIDNIGHT = re.compile(r"24(:?00(:?00(\.0{0,6})?)?)?")


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval with both ends included; an open end is None. `single`: asked as one value, not as a range."""

    low: str | None
    high: str | None
    single: bool = False

    def holds(self, value: str) -> bool:
        """True when the value lies within."""
        return (self.low is None or self.low <= value) and (self.high is None or value <= self.high)

    def form(self) -> str:
        """`single`, `from`, `until` or `closed`: only ranges of one form are combined to date-times."""
        if self.single:
            return "single"
        return "closed" if self.low and self.high else "from" if self.low else "until"


def date_interval(text: str, keyword: str) -> Interval:
    """The interval of a DA key. Raises BadElement for an impossible date."""
    low, dash, high = (part.strip() for part in text.partition("-"))
    if not dash:
        day = _day(low, keyword)
        return Interval(day, day, single=True)
    if not low and not high:
        raise _bad("date", keyword)
    return Interval(_day(low, keyword) if low else None, _day(high, keyword) if high else None)


def time_interval(text: str, keyword: str) -> Interval:
    """The interval of a TM key, partial bounds padded to their precision. Raises BadElement for an impossible time.

    24:00, which TM does not have, is midnight: where a range begins the first moment of the day, else its last second.
    """
    low, dash, high = (part.strip() for part in text.partition("-"))
    if not dash:
        first, last = _clock(low, keyword)
        return Interval(first, last, single=True)
    if not low and not high:
        raise _bad("time", keyword)
    begin = "00" if _MIDNIGHT.fullmatch(low) else low
    return Interval(_clock(begin, keyword)[0] if begin else None, _clock(high, keyword)[1] if high else None)


def stored_date(value: str) -> str:
    """A stored DA for comparison."""
    return value.strip(" \0").replace(".", "")


def stored_time(value: str) -> str:
    """A stored TM for comparison, missing parts as zeros; empty stays empty."""
    digits = value.strip(" \0").replace(":", "").replace(".", "")
    return _within_minute(digits).ljust(12, "0")[:12] if digits else ""


def _within_minute(digits: str) -> str:
    """A leap second is the second before it, as in the wall clocks that orders are written by."""
    return f"{digits[:4]}59{digits[6:]}" if digits[4:6] == "60" else digits


def _bad(kind: str, keyword: str) -> BadElement:
    return BadElement(f"bad {kind}: {keyword}", keyword, code=f"bad-{kind}")


def _day(text: str, keyword: str) -> str:
    """`YYYYMMDD` or the old `YYYY.MM.DD`."""
    digits = text.replace(".", "") if len(text) == 10 and text[4] == text[7] == "." else text
    if len(digits) != 8 or not (digits.isascii() and digits.isdigit()):
        raise _bad("date", keyword)
    try:
        date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        raise _bad("date", keyword) from None
    return digits


def _clock(text: str, keyword: str) -> tuple[str, str]:
    """First and last moment of `HH`, `HHMM`, `HHMMSS`, `HHMMSS.F…` or the old forms with colons."""
    if _MIDNIGHT.fullmatch(text):
        text = _LAST[:6]
    whole, point, fraction = text.partition(".")
    parts = whole.split(":") if ":" in whole else [whole[i : i + 2] for i in range(0, len(whole), 2)]
    digits = "".join(parts)
    if not 1 <= len(parts) <= 3 or any(len(part) != 2 for part in parts) or len(fraction) > 6:
        raise _bad("time", keyword)
    if not (digits + fraction).isascii() or not (digits + fraction).isdigit() or (point and len(parts) != 3):
        raise _bad("time", keyword)
    # a leap second is allowed
    if any(int(part) > top for part, top in zip(parts, (23, 59, 60), strict=False)):
        raise _bad("time", keyword)
    given = _within_minute(digits + fraction)
    return given.ljust(12, "0"), given + _LAST[len(given) :]
