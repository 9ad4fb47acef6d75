"""Adjusts dates and times to the offset in which a device asks and reads (byte 4 of extended negotiation).

Orders hold the local wall clock of the site. Where the adjustment was agreed on and the request names an offset
(0008,0201), a step is looked at through that offset, dates and times alike, and the answer says so (PS3.4 K.4.1.1.3,
PS3.3 C.12.1.1.8). Dates without a time are calendar dates and stay. A step is looked at and answered in one way only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

from broker.dicom.dataset.read import BadElement
from broker.worklist.query.attributes import START_DATE, START_TIME, STEP_SEQUENCE, TIMEZONE

_OFFSET = re.compile(r"([+-])(\d\d)(\d\d)")
_FARTHEST = timedelta(hours=27)  # between two offsets of the world, and an hour of summer time
_PAIRS = (
    (START_DATE, START_TIME), ("ScheduledProcedureStepEndDate", "ScheduledProcedureStepEndTime"),
    ("StudyDate", "StudyTime"), ("IssueDateOfImagingServiceRequest", "IssueTimeOfImagingServiceRequest"),
    ("AdmittingDate", "AdmittingTime"),
)  # fmt: skip


def offset_minutes(text: str) -> int:
    """The offset of `+HHMM` or `-HHMM` in minutes. Raises BadElement for what is none (-1200 to +1400)."""
    parts = _OFFSET.fullmatch(text)
    minutes = int(parts[2]) * 60 + int(parts[3]) if parts and int(parts[3]) < 60 else -1
    if parts is None or minutes < 0 or text == "-0000":
        raise BadElement("bad offset: TimezoneOffsetFromUTC", TIMEZONE, code="bad-offset")
    minutes = -minutes if parts[1] == "-" else minutes
    if not -12 * 60 <= minutes <= 14 * 60:
        raise BadElement("bad offset: TimezoneOffsetFromUTC", TIMEZONE, code="bad-offset")
    return minutes


def offset_text(minutes: int) -> str:
    """The value of (0008,0201)."""
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02}{rest:02}"


def differs(minutes: int, zone: tzinfo) -> bool:
    """True when the site's clocks show another offset now."""
    return datetime.now(UTC).astimezone(zone).utcoffset() != timedelta(minutes=minutes)


def in_offset(document: Mapping[str, Any], zone: tzinfo, minutes: int | None) -> Mapping[str, Any]:
    """A document, its dates and times in the site's `zone`, as read in another offset; as it is without one."""
    if minutes is None:
        return document
    there = timezone(timedelta(minutes=minutes))
    moved = _pairs(document, zone, there)
    steps = document.get(STEP_SEQUENCE)
    if isinstance(steps, list):
        moved[STEP_SEQUENCE] = [_pairs(step, zone, there) if isinstance(step, Mapping) else step for step in steps]
    return moved


def _pairs(item: Mapping[str, Any], zone: tzinfo, there: tzinfo) -> dict[str, Any]:
    moved = dict(item)
    for day, clock in _PAIRS:
        moment = _moment(item.get(day), item.get(clock))
        if moment is None:
            continue
        try:
            local = moment.replace(tzinfo=zone).astimezone(there)
        except OverflowError:  # at the ends of the calendar
            continue
        moved[day] = local.date().isoformat().replace("-", "")
        fraction = str(item[clock]).partition(".")[2]
        moved[clock] = local.strftime("%H%M%S") + (f".{fraction}" if fraction else "")
    return moved


def _moment(day: object, clock: object) -> datetime | None:
    """Date and time of a stored pair; None unless both are there and are such."""
    date = str(day or "").strip(" \0").replace(".", "")
    time = str(clock or "").strip(" \0").replace(":", "").partition(".")[0]
    if len(date) != 8 or len(time) not in (2, 4, 6):
        return None
    time = time.ljust(6, "0")
    try:  # a leap second shows as the second before it
        return datetime(  # noqa: DTZ001 -- the wall clock of the site
            int(date[:4]), int(date[4:6]), int(date[6:]), int(time[:2]), int(time[2:4]), min(int(time[4:]), 59)
        )
    except ValueError:
        return None


def widened(bound: str | None, *, earlier: bool) -> str | None:
    """A bound of a search, `YYYYMMDDHHMMSS[.f]`, moved so far that no zone of the world is left out; None: no bound."""
    moment = _moment(bound[:8], bound[8:14]) if bound else None
    if moment is None or bound is None:
        return None
    try:
        moved = moment - _FARTHEST if earlier else moment + _FARTHEST
    except OverflowError:
        return None
    return moved.isoformat().replace("-", "").replace(":", "").replace("T", "") + bound[14:]
