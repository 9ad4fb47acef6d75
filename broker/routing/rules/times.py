"""Makes the fields `time.*` of the moment at which an object was received."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from broker.site.times.week_window import is_holiday

LOCAL_TIME = "time.local"  # the fact that all the others are made of: ISO 8601, in the site's time zone


def local_time(moment: datetime) -> str:
    """The fact of a moment in the site's time zone."""
    return moment.replace(tzinfo=None).isoformat(timespec="seconds")


def times_of(local: str, holidays: Collection[str]) -> dict[str, tuple[str | float, ...]]:
    """What rules may test of a local time. Raises ValueError for one that is none."""
    moment = datetime.fromisoformat(local)
    return {
        "time.hour": (float(moment.hour),),
        "time.weekday": (float(moment.isoweekday()),),
        "time.date": (f"{moment:%Y%m%d}",),
        "time.of_day": (f"{moment:%H%M%S}",),
        "time.holiday": ("yes" if is_holiday(moment.date(), holidays) else "no",),
        "time.window": (local,),
    }
