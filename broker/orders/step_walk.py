"""Walks the open steps and ends those whose modality does not say that they are done, one small transaction per order.

Traffic goes first (`store.db.pace`). `orders.core.closing` decides, and decides again in the transaction that writes: a
message that comes at the same moment wins, and a second process that walks too does no harm. `service` says how often
to walk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import uuid4

from broker import telemetry
from broker.errors import StoreUnavailable
from broker.orders.core import closing, lifecycle
from broker.orders.core.context import StoryContext
from broker.orders.stories import ending
from broker.settings import Settings
from broker.site.closings import Closings, closings_of
from broker.site.directory import Directory
from broker.store.db.pace import Pace
from broker.store.orders import closing as store
from broker.store.orders.closing import OpenStep, Place

PAGE = 500  # rows read at once
ACTOR = "broker"  # who ends steps, in the audit trail
_PAST, _AHEAD = 30 * 24, 48  # hours from a step's start: between them its images are expected
Item = TypeVar("Item")
_Look = Callable[[Place], list[OpenStep]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepWalk:
    """What a walk works on. `wake` is called when the RIS is to be told; `clock` gives seconds since the epoch.

    Once the pace has stopped a walk begins nothing new.
    """

    pace: Pace
    settings: Settings
    directory: Directory
    wake: Callable[[], None]
    clock: Callable[[], float] = time.time

    @property
    def closings(self) -> Closings:
        """The rules of the nodes in force now."""
        return closings_of(self.settings, self.directory.nodes)

    @property
    def now(self) -> datetime:
        """The time on the site's clock."""
        return datetime.fromtimestamp(self.clock(), self.settings.zone())

    def context(self) -> StoryContext:
        """The context of one change."""
        station, subscribers = self.settings.worklist.default_station, self.directory.subscribers()
        return StoryContext(uuid4(), self.now, station, ACTOR, subscribers=subscribers)

    def guarded(self, work: Callable[[Item], int], item: Item) -> int:
        """What `work` returns; 0 if it fails, so that one item does not keep the others. Raises StoreUnavailable."""
        try:
            return work(item)
        except StoreUnavailable:
            raise
        except Exception as error:
            telemetry.logger().error("closing.failed", error=telemetry.describe(error))
            return 0


def end_by_images(walk: StepWalk) -> int:
    """Start or end steps whose images say that they are at work or done; how many changed. Raises StoreUnavailable."""
    changed = 0
    since, until = closing.before(_PAST, walk.now), closing.before(-_AHEAD, walk.now)
    closings = walk.closings
    for rules in closings.devices():
        if rules.images:
            for title in sorted(rules.titles):

                def look(after: Place, title: str = title) -> list[OpenStep]:
                    return walk.pace.read(store.with_images, title, lifecycle.OPEN, until, after, PAGE)

                changed += _end(walk, closings, _pages(look, (since, 0)))
    return changed


def end_by_time(walk: StepWalk) -> int:
    """End steps whose start is long past; how many changed. Raises StoreUnavailable."""
    closings = walk.closings
    hours = [hour for rules in closings.devices() for hour in rules.hours]
    if not hours:
        return 0
    now, changed = walk.now, 0
    until = closing.before(min(hours), now)
    timed = any(rules.over_after for rules in closings.devices())
    # without hours of the site's own, all that is on other devices stays for ever: never looked at
    titles = None if closings.default.hours else _titles(closings)
    for status in lifecycle.OPEN if timed else lifecycle.WAITING:

        def look(after: Place, status: str = status) -> list[OpenStep]:
            return walk.pace.read(store.by_start, status, until, titles, after, PAGE)

        late = (candidate for candidate in _pages(look, ("", 0)) if _is_late(candidate, closings, now))
        changed += _end(walk, closings, late)
    return changed


def _titles(closings: Closings) -> list[str]:
    """AE titles of the devices to whose steps something may happen by time."""
    return sorted({title for rules in closings.devices() if rules.hours for title in rules.titles})


def _is_late(candidate: OpenStep, closings: Closings, now: datetime) -> bool:
    hours = closings.of(candidate.stations).hours
    return bool(hours) and closing.over(candidate.start_at, min(hours), now)


def _pages(look: _Look, after: Place) -> Iterator[OpenStep]:
    while page := look(after):
        yield from page
        after = page[-1].start_at, page[-1].step


def _end(walk: StepWalk, closings: Closings, candidates: Iterator[OpenStep]) -> int:
    """End what is to be ended of the orders of the candidates, each order once."""
    seen: set[int] = set()
    changed = 0

    def end(order: int) -> int:
        return _end_order(walk, closings, order)

    for candidate in candidates:
        if walk.pace.stopped:
            break
        if candidate.order not in seen:
            seen.add(candidate.order)
            changed += walk.guarded(end, candidate.order)
    return changed


def _end_order(walk: StepWalk, closings: Closings, order: int) -> int:
    context = walk.context()
    if not walk.pace.read(ending.plan, order, closings, context):
        return 0
    ends = walk.pace.alone(ending.end, order, closings, context) or {}
    for end in ends.values():
        telemetry.child(telemetry.STEPS_CLOSED, end.cause.value).inc()
        telemetry.logger().info("step.closed", reason=end.cause.value)
    if ends:
        walk.wake()
    return len(ends)
