"""Ends steps whose devices do not say so: walks the open ones now and then, one small transaction per order.

What is decided stands in `orders.core.closing` and is decided again in the transaction, so that a message that comes at
the same moment wins, and a second process that does the same does no harm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TypeVar
from uuid import uuid4

from broker import telemetry
from broker.errors import StoreUnavailable
from broker.mpps import comparing, overdue
from broker.orders.core import closing, lifecycle
from broker.orders.core.story import Context
from broker.orders.stories import ending
from broker.settings import Settings
from broker.site.closing import Closings, Rules
from broker.site.directory import Directory
from broker.site.nodes import MPPS_NOTIFICATION
from broker.store.db.database import Database
from broker.store.mpps import mpps_objects
from broker.store.mpps import mpps_overdue as mpps_store
from broker.store.mpps.mpps_objects import ToCompare
from broker.store.mpps.mpps_overdue import Overdue
from broker.store.orders import closing as store
from broker.store.orders.closing import Candidate, Place

PAGE = 500
ACTOR = "broker"
_PAST, _AHEAD = 30 * 24, 48  # hours from a step's start: between them its images are expected
_TIMES_EVERY = 300.0  # seconds; hours need no closer look
T = TypeVar("T")
_Look = Callable[[Place], list[Candidate]]
_Seen = tuple[float, int]  # when an MPPS was last heard of, and its row


def closings_of(settings: Settings, directory: Directory) -> Closings:
    """The rules that site and settings make."""
    hours = settings.worklist
    default = Rules(
        no_show_after=hours.no_show_after,
        expire_after=hours.expire_after,
        mpps_after=hours.mpps_after,
        mpps_overdue=hours.mpps_overdue,
    )
    return Closings(directory.nodes, default)


class Closer:
    """Work of `service.housekeeping`, in a thread of the first process."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        directory: Directory,
        wake: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`wake` is called when the RIS is to be told; `clock` gives seconds since the epoch."""
        self._database = database
        self._zone = settings.zone()
        self._default_station = settings.worklist.default_station
        self._settings = settings
        self._directory = directory
        self._closings = closings_of(settings, directory)
        self._wake = wake
        self._clock = clock
        self._times_due = 0.0
        self._stopping = False

    def stop(self) -> None:
        """Begin nothing new: who waits for `run` need not wait for all that is left. Callable from any thread."""
        self._stopping = True

    def run(self) -> int:
        """Look once, by the nodes now in force; how many steps changed. Raises StoreUnavailable."""
        self._closings = closings_of(self._settings, self._directory)
        changed = self.by_images()
        now = self._clock()
        if now >= self._times_due:
            self._times_due = now + _TIMES_EVERY
            changed += self.by_time() + self.overdue()
            self.compare()
        return changed

    def by_images(self) -> int:
        """Steps of devices whose images say that they are at work, or done."""
        now, changed = self._now(), 0
        since, until = closing.before(_PAST, now), closing.before(-_AHEAD, now)
        for rules in self._closings.devices():
            if rules.images:
                for title in sorted(rules.titles):

                    def look(after: Place, title: str = title) -> list[Candidate]:
                        return self._database.read(
                            store.with_images, title, lifecycle.OPEN, until, after, PAGE
                        ).result()

                    changed += self._close(self._pages(look, (since, 0)))
        return changed

    def by_time(self) -> int:
        """Steps whose start is long past."""
        hours = [hour for rules in self._closings.devices() for hour in rules.hours]
        if not hours:
            return 0
        now, changed = self._now(), 0
        until = closing.before(min(hours), now)
        timed = any(rules.over_after for rules in self._closings.devices())
        # without hours of the site's own, all that is on other devices stays for ever: never looked at
        titles = None if self._closings.default.hours else self._titles()
        for status in lifecycle.OPEN if timed else lifecycle.WAITING:

            def look(after: Place, status: str = status) -> list[Candidate]:
                return self._database.read(store.by_start, status, until, titles, after, PAGE).result()

            late = (one for one in self._pages(look, ("", 0)) if self._late(one, now))
            changed += self._close(late)
        return changed

    def overdue(self) -> int:
        """MPPS that stay IN PROGRESS; how many were noted or ended."""
        hours = [rules.mpps_after for rules in self._closings.devices() if rules.mpps_after]
        before, after, changed = self._clock() - min(hours, default=0) * 3600, 0, 0
        while (
            hours
            and not self._stopping
            and (page := self._database.read(mpps_store.silent, before, after, PAGE).result())
        ):
            after = page[-1].row
            changed += sum(self._guarded(self._end_mpps, one) for one in page)
        return changed

    def compare(self) -> int:
        """Completed MPPS whose objects should be here by now; of how many there is news for a person."""
        hours = self._settings.worklist.mpps_compare_after
        before = self._clock() - hours * 3600

        def fresh(after: _Seen) -> list[ToCompare]:
            return self._database.read(mpps_objects.to_compare, before, after, PAGE).result()

        def again(after: _Seen) -> list[ToCompare]:
            return self._database.read(mpps_objects.lacking, after, PAGE).result()

        if not hours:
            return 0
        return self._compared(again, self._compare_again) + self._compared(fresh, self._compare)

    def _compared(self, look: Callable[[_Seen], list[ToCompare]], compare: Callable[[ToCompare], int]) -> int:
        news, after = 0, (0.0, 0)
        while not self._stopping and (page := look(after)):
            after = page[-1].updated_at, page[-1].row
            news += sum(self._guarded(compare, one) for one in page)
        return news

    def _compare_again(self, one: ToCompare) -> int:
        """What lacks objects still is no work for the writer."""
        return 0 if self._database.read(comparing.lacking, one.row).result() else self._compare(one)

    def _compare(self, one: ToCompare) -> int:
        news = self._database.execute(comparing.compare, one.row, self._context())
        if news:
            log = telemetry.logger().warning if news == "missing" else telemetry.logger().info
            log("mpps.images", calling_ae=one.calling_ae, state=news)
        return int(bool(news))

    def _end_mpps(self, one: Overdue) -> int:
        rules = self._closings.of((one.station, one.calling_ae))
        before = self._clock() - rules.mpps_after * 3600
        ends = rules.mpps_overdue == "discontinue"
        if not rules.mpps_after or one.updated_at > before or (one.noted and not ends):
            return 0
        context = self._context()
        if ends:
            notified = self._directory.having(MPPS_NOTIFICATION)
            done = self._database.execute(overdue.discontinue, one.row, before, notified, context)
        else:
            done = self._database.execute(overdue.note, one.row, before, context)
        if done:
            telemetry.child(telemetry.STEPS_CLOSED, overdue.CAUSE).inc()
            telemetry.logger().warning("mpps.overdue", calling_ae=one.calling_ae, state=rules.mpps_overdue)
            self._wake()
        return int(done)

    def _titles(self) -> list[str]:
        """Of the devices to whose steps something may happen by time."""
        return sorted({title for rules in self._closings.devices() if rules.hours for title in rules.titles})

    def _late(self, one: Candidate, now: datetime) -> bool:
        hours = self._closings.of(one.stations).hours
        return bool(hours) and closing.over(one.start_at, min(hours), now)

    def _pages(self, look: _Look, after: Place) -> Iterator[Candidate]:
        while page := look(after):
            yield from page
            after = page[-1].start_at, page[-1].step

    def _close(self, found: Iterator[Candidate]) -> int:
        """Do what is to be done with their orders. One that fails does not keep the others."""
        seen: set[int] = set()
        changed = 0
        for one in found:
            if self._stopping:
                break
            if one.order in seen:
                continue
            seen.add(one.order)
            changed += self._guarded(self._order, one.order)
        return changed

    def _guarded(self, work: Callable[[T], int], one: T) -> int:
        try:
            return work(one)
        except StoreUnavailable:
            raise
        except Exception as error:
            telemetry.logger().error("closing.failed", error=telemetry.describe(error))
            return 0

    def _order(self, order: int) -> int:
        context = self._context()
        if not self._database.read(ending.plan, order, self._closings, context).result():
            return 0
        done = self._database.execute(ending.end, order, self._closings, context)
        for end in done.values():
            telemetry.child(telemetry.STEPS_CLOSED, end.cause.value).inc()
            telemetry.logger().info("step.closed", reason=end.cause.value)
        if done:
            self._wake()
        return len(done)

    def _context(self) -> Context:
        nodes = self._directory.subscribers()
        return Context(uuid4(), self._now(), self._default_station, ACTOR, subscribers=nodes)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), self._zone)
