"""Decides when a step ends if its modality sends no MPPS: by its images, by time, by nobody coming.

No step moves backwards. A step of which an MPPS is IN PROGRESS is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from broker.model.order import StepStatus
from broker.orders.core import lifecycle
from broker.orders.core.lifecycle import Action
from broker.site.closings import ClosingRules


class Cause(StrEnum):
    """Why, as in the event log."""

    IMAGES = "images"
    TIME = "time"
    NO_SHOW = "no-show"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of a step. `start_at` is the site's wall clock `YYYYMMDDHHMMSS`, other times s since the epoch.

    `images` are those that are surely of this step, `last_image` is when the last of them came. `signs`: images of the
    study or an MPPS that means the step, whosever. `at_work`: an MPPS of it is IN PROGRESS.
    """

    status: str
    status_at: float
    start_at: str
    held: bool = False
    images: int = 0
    last_image: float = 0
    signs: bool = False
    at_work: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """What is to be done: an action of the life cycle, or none for a step that only leaves the worklist."""

    action: Action | None
    cause: Cause


def decide(seen: Seen, rules: ClosingRules, now: datetime) -> End | None:
    """What becomes of an open step `now` (aware, on the site's clock); None: it stays as it is."""
    if seen.status not in lifecycle.OPEN or seen.at_work:
        return None
    waits = seen.status in lifecycle.WAITING
    since_image = now.timestamp() - seen.last_image if seen.images else None
    if rules.images and since_image is not None and seen.images >= rules.images_minimum:
        if since_image >= rules.images_quiet:
            return End(Action.COMPLETE, Cause.IMAGES)
        return End(Action.START, Cause.IMAGES) if waits else None
    if seen.held or (since_image is not None and since_image < rules.images_quiet):
        return None
    return _by_time(seen, rules, now, waits=waits)


def _by_time(seen: Seen, rules: ClosingRules, now: datetime, *, waits: bool) -> End | None:
    if rules.over_after and over(seen.start_at, rules.over_after, now):
        if not waits:
            stale = now.timestamp() - seen.status_at >= rules.over_after * 3600
            return End(Action.COMPLETE, Cause.TIME) if stale else None
        if seen.signs or seen.status != StepStatus.SCHEDULED or rules.unseen == "completed":
            return End(Action.COMPLETE, Cause.TIME)
        return End(Action.DISCONTINUE, Cause.NO_SHOW)
    came = seen.signs or seen.status != StepStatus.SCHEDULED
    if not came and rules.no_show_after and over(seen.start_at, rules.no_show_after, now):
        return End(Action.DISCONTINUE, Cause.NO_SHOW)
    if waits and rules.expire_after and over(seen.start_at, rules.expire_after, now):
        return End(None, Cause.EXPIRED)
    return None


def over(start_at: str, hours: float, now: datetime) -> bool:
    """A start (wall clock of the site) is `hours` or more ago; never for a step without one."""
    return bool(start_at) and start_at <= before(hours, now)


def before(hours: float, now: datetime) -> str:
    """The wall clock `YYYYMMDDHHMMSS` that many hours ago; hours pass also while clocks are changed."""
    return (now.astimezone(UTC) - timedelta(hours=hours)).astimezone(now.tzinfo).strftime("%Y%m%d%H%M%S")
