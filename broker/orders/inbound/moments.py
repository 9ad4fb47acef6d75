"""Moments that a TS/DTM without seconds or offset can mean, and wall clock times that a day has twice or never."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone, tzinfo

from broker.orders.core.values import Span
from broker.orders.profile.convert import DTM


def span(text: str, zone: tzinfo) -> Span | None:
    """All moments that a TS/DTM can mean: those of its last given unit, in both hours where a local hour comes twice.

    None for less than a date, and for what is none.
    """
    found = DTM.fullmatch(text.strip())
    if not found or not found[3]:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    offset = found[7]
    length = 1 if found[6] else 60 if found[5] else 3600 if found[4] else 86_400
    try:
        if offset:
            away = timedelta(hours=int(offset[1:3]), minutes=int(offset[3:]))
            zones: tuple[tzinfo, ...] = (timezone(-away if offset[0] == "-" else away),)
        else:
            zones = (zone,)
        moments = [
            datetime(year, month, day, hour, minute, second, tzinfo=where, fold=fold).timestamp()
            for where in zones
            for fold in (0, 1)
        ]
    except (ValueError, OverflowError):
        return None
    return Span(min(moments), max(moments) + length)


def oddity(date: str, time: str, zone: tzinfo) -> str:
    """`skipped` or `repeated` for a wall clock time (DA, TM) in the hour a change of summer time removes or repeats."""
    wall = datetime.strptime(f"{date}{time[:6]:0<6}", "%Y%m%d%H%M%S")  # noqa: DTZ007 - wall clock of the site
    first, second = (wall.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    if first is None or second is None or first == second:
        return ""
    return "repeated" if first > second else "skipped"
