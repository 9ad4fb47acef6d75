"""Adapts a query to the profile of its device: what it asks, what it sees, how that is written. Pure.

The result is a `Query` again. Matcher, search criteria and explanation read it alike: they cannot disagree on a
profile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone

from broker.site.device import DEFAULT, Device
from broker.wildcard import Wildcard, compile_wildcard
from broker.worklist.query.attributes import START_DATE, STATIONS, STEP_SEQUENCE
from broker.worklist.query.date_ranges import Interval
from broker.worklist.query.keys import ANY_CASE, EmptyKey, IntervalKey, Key, Query, SequenceKey, StartKey, TextKey, View
from broker.worklist.query.names import FuzzyKey, NameKey


def adapt(query: Query, device: Device, calling_ae: str, now: datetime) -> Query:
    """The query as this device is served; `now` is the site's wall clock."""
    if device is DEFAULT:
        return query
    keys = tuple(_adapted(key, device, calling_ae) for key in query.keys)
    if device.station == "calling":
        own = TextKey(STATIONS, "AE", frozenset(device.stations or (calling_ae,)))
        keys = _in_step(keys, own, lambda key: getattr(key, "keyword", "") != STATIONS)
    universal = not query.named
    there = now if query.offset is None else now.astimezone(timezone(timedelta(minutes=query.offset)))
    if universal and (window := _window(device, there)) is not None:
        keys = _in_step(keys, StartKey(window))
    if device.ignore_case:
        keys = tuple(_any_case(key) for key in keys)
    view = View(
        shown=tuple(dict.fromkeys(device.show)),
        hidden=frozenset(device.hide),
        labels=frozenset(device.labels) if device.labels else None,
        only_labelled=device.only_labelled,
        empty=universal and device.empty_on_no_keys,
    )
    return replace(query, keys=keys, view=view)


def _adapted(key: Key, device: Device, calling_ae: str) -> Key:
    """One key with tolerances and aliases."""
    if isinstance(key, SequenceKey):
        return replace(key, keys=tuple(_adapted(inner, device, calling_ae) for inner in key.keys))
    if isinstance(key, EmptyKey) and key.otherwise is not None:
        otherwise = _adapted(key.otherwise, device, calling_ae)
        assert isinstance(otherwise, TextKey | NameKey | FuzzyKey | IntervalKey)
        return replace(key, otherwise=otherwise)
    if isinstance(key, FuzzyKey) and device.prefix_names:
        literal = _adapted(key.literal, device, calling_ae)
        assert isinstance(literal, NameKey)
        return replace(key, literal=literal)
    if isinstance(key, NameKey) and device.prefix_names:
        return replace(key, names=tuple(tuple(_beginning(group) for group in name) for name in key.names))
    if isinstance(key, TextKey) and key.keyword == STATIONS and _own(key, device, calling_ae):
        return replace(key, exact=key.exact | frozenset(device.stations))
    if isinstance(key, StartKey):
        return StartKey(_wider(key.interval, device))
    if isinstance(key, IntervalKey) and key.keyword == START_DATE:
        return replace(key, intervals=tuple(_wider(interval, device) for interval in key.intervals))
    return key


def _own(key: TextKey, device: Device, calling_ae: str) -> bool:
    """It asks for its own AE title, or for one of its stations: they stand for each other."""
    own = {calling_ae, *device.stations}
    if device.ignore_case:
        return bool({title.lower() for title in key.exact} & {title.lower() for title in own})
    return bool(key.exact & own)


def _beginning(group: Wildcard | None) -> Wildcard | None:
    """A name as the beginning of one; what has wild cards says itself where it is open."""
    return compile_wildcard(group.prefix + "*") if group is not None and group.literal else group


def _wider(interval: Interval, device: Device) -> Interval:
    low = interval.low and _moved(interval.low, -device.days_before)
    high = interval.high and _moved(interval.high, device.days_after)
    return Interval(low, high, interval.single and low == high)


def _moved(moment: str, days: int) -> str:
    """A date, perhaps with a time behind it, by some days; not beyond the calendar."""
    if not days:
        return moment
    day = date(int(moment[:4]), int(moment[4:6]), int(moment[6:8]))
    try:
        day += timedelta(days)
    except OverflowError:
        day = date.min if days < 0 else date.max
    return f"{day.year:04}{day.month:02}{day.day:02}{moment[8:]}"


def _window(device: Device, now: datetime) -> Interval | None:
    before, after = device.window_hours_before, device.window_hours_after
    if before is None and after is None:
        return None
    low = (now - timedelta(hours=before)).strftime("%Y%m%d%H%M%S000000") if before is not None else None
    high = (now + timedelta(hours=after)).strftime("%Y%m%d%H%M%S999999") if after is not None else None
    return Interval(low, high)


def _in_step(keys: Iterable[Key], more: Key, keep: Callable[[Key], bool] = lambda key: True) -> tuple[Key, ...]:
    """The keys with one more of the step, beside those of its keys that are kept."""
    others: list[Key] = []
    inner: tuple[Key, ...] = ()
    for key in keys:
        if isinstance(key, SequenceKey) and key.keyword == STEP_SEQUENCE:
            inner = tuple(step_key for step_key in key.keys if keep(step_key))
        else:
            others.append(key)
    return (*others, SequenceKey(STEP_SEQUENCE, (*inner, more)))


def _any_case(key: Key) -> Key:
    """AE titles and code strings in any case: the key in small letters."""
    if isinstance(key, SequenceKey):
        return replace(key, keys=tuple(_any_case(inner) for inner in key.keys))
    if isinstance(key, EmptyKey) and isinstance(key.otherwise, TextKey):
        otherwise = _any_case(key.otherwise)
        assert isinstance(otherwise, TextKey)
        return replace(key, otherwise=otherwise)
    if not isinstance(key, TextKey) or key.vr not in ANY_CASE:
        return key
    exact = frozenset(value.lower() for value in key.exact)
    return replace(key, exact=exact, patterns=tuple(_small(pattern) for pattern in key.patterns), any_case=True)


def _small(pattern: Wildcard) -> Wildcard:
    accepts: dict[str, int] = {}
    for char, bits in pattern.accepts.items():
        accepts[char.lower()] = accepts.get(char.lower(), 0) | bits
    return replace(pattern, prefix=pattern.prefix.lower(), accepts=accepts)
