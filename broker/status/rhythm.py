"""Decides whether a sender is silent: by how many messages it would usually have sent since its last one.

A fixed limit would call every night a failure, or miss one at noon. So the usual number of messages is kept for each
hour of the week (168 numbers), on the clock of the site, and newer weeks count more than older ones. The usual numbers
of the hours since the last message add up to what is missing: ten messages are ten minutes of a busy morning, and a
whole night. A sender without a known rhythm is never called silent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, tzinfo

HOUR = 3600.0  # seconds
HOURS = 168  # of a week
NEWEST = 0.3  # weight of the newest week
MISSED = 10.0  # messages that would usually have come: fewer may be chance, as messages come in groups
LEAST = 900.0  # seconds that a silence lasts at least
KNOWN = 24  # hours of the week whose usual number must be known before anybody is called silent
LONGEST = HOURS  # hours without a message that are counted as such; beyond, it says nothing about the sender


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How many messages usually come in each hour of the week, and the hour that is being counted.

    `usual`: by hour of the week from Monday 00:00, None where nothing is known. `hour`: hours since the epoch, -1 for
    none; `count`: its messages so far.
    """

    usual: tuple[float | None, ...] = (None,) * HOURS
    hour: int = -1
    count: int = 0


@dataclass(frozen=True, slots=True)
class Silence:
    """`expected`: messages that would usually have come since the last one; None while the rhythm is not known."""

    expected: float | None
    silent: bool


def counted(rhythm: Rhythm, hour: int, count: int, zone: tzinfo) -> Rhythm:
    """The rhythm after `count` more messages in an hour (hours since the epoch)."""
    settled = _settled(rhythm, hour, zone)
    if hour < settled.hour:  # the clock was set back: what is counted stays
        return replace(settled, count=settled.count + count)
    return replace(settled, hour=hour, count=count if settled.hour != hour else settled.count + count)


def _settled(rhythm: Rhythm, hour: int, zone: tzinfo) -> Rhythm:
    """The rhythm once all hours before `hour` are over: what came in them is part of what is usual."""
    if rhythm.hour < 0 or hour <= rhythm.hour:
        return rhythm
    usual = list(rhythm.usual)
    for passed in range(rhythm.hour, min(hour, rhythm.hour + LONGEST)):
        place = hour_of_week(passed, zone)
        number, before = (rhythm.count if passed == rhythm.hour else 0), usual[place]
        usual[place] = float(number) if before is None else round(before + NEWEST * (number - before), 2)
    return Rhythm(tuple(usual), hour, 0)


def hour_of_week(hour: int, zone: tzinfo) -> int:
    """Which hour of the week an hour (hours since the epoch) is on the clock of the site."""
    local = datetime.fromtimestamp(hour * HOUR, zone)
    return local.weekday() * 24 + local.hour


def silence(rhythm: Rhythm, last: float, now: float, zone: tzinfo) -> Silence:
    """Whether a sender whose last message came at `last` (s since the epoch) is silent now."""
    if sum(number is not None for number in rhythm.usual) < KNOWN:
        return Silence(None, silent=False)
    expected, at = 0.0, max(last, now - HOURS * HOUR)
    while at < now:
        hour = int(at // HOUR)
        end = min(now, (hour + 1) * HOUR)
        expected += _usual(rhythm, hour_of_week(hour, zone)) * (end - at) / HOUR
        at = end
    return Silence(expected, silent=expected >= MISSED and now - last >= LEAST)


def _usual(rhythm: Rhythm, place: int) -> float:
    """The usual number of an hour of the week; of one that is not known yet, that of the same hour of like days."""
    number = rhythm.usual[place]
    if number is not None:
        return number
    day, hour = divmod(place, 24)
    days = range(5) if day < 5 else range(5, 7)
    known = [number for other in days if (number := rhythm.usual[other * 24 + hour]) is not None]
    return sum(known) / len(known) if known else 0.0
