"""Schedules work that nobody waits for, in threads of APScheduler: sweeps, purges, ends of steps, a recovery probe."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo

from apscheduler.schedulers.background import BackgroundScheduler

from broker import telemetry
from broker.errors import StoreUnavailable
from broker.mpps.mpps_walk import compare_objects, end_overdue
from broker.orders.step_walk import Walk, end_by_images, end_by_time
from broker.routing import sweep
from broker.site.directory import Directory
from broker.store import idempotency, jobs
from broker.store.db.database import Database
from broker.store.images.spool import Spool
from broker.store.orders import waiting
from broker.store.worklist.outage_keeper import CopyKeeper

KEEP_APPOINTMENTS = 30  # days
BY_TIME_EVERY = 300.0  # seconds between two walks that look at hours: they need no closer look
COPY_SHARE = 20  # times as long as a refresh of the worklist's copy took is the least time to the next one


class Housekeeping:
    """Runs periodic jobs, scheduled in UTC: a daily job at a local hour would run twice when the clocks go back."""

    def __init__(self, database: Database, directory: Directory) -> None:
        """Schedule what every process needs: addresses of host names, and the probe after a failed write."""
        self._database = database
        self._scheduler = BackgroundScheduler(timezone=UTC)
        self._stopping: list[threading.Event] = []  # of long jobs: set at the stop
        self._add("resolve", directory.resolve, 60)
        self._add("probe", self._probe, 15)

    def keep_spool(self, spool: Spool, keep_days: float) -> None:
        """Sweep and purge the spool, in one process for all. Call it before anything writes into the spool."""
        started = time.time()

        def unclaimed() -> None:
            sweep.set_aside_unclaimed(self._database, spool, before=max(started, time.time() - sweep.YOUNG))

        def purge() -> None:
            sweep.purge_delivered(self._database, spool, keep_days)

        self._add("sweep", unclaimed, 86_400, first=datetime.now(UTC))
        self._add("purge", purge, 3600)
        self._add("idempotency", self._forget, 3600)

    def forget_cancels(self, keep_days: float) -> None:
        """Forget cancels whose orders never came, in one process for all."""

        def expire() -> None:
            before = time.time() - keep_days * 86_400
            self._database.submit(waiting.expire_cancels, before).result()

        self._add("cancels", expire, 86_400, first=datetime.now(UTC))

    def keep_callers(self, write: Callable[[], None]) -> None:
        """What every process does: write down what callers did."""
        self._add("callers", write, 3)

    def forget_appointments(self, zone: tzinfo) -> None:
        """Forget appointments whose orders never came and those long over, in one process for all."""

        def expire() -> None:
            now = datetime.now(zone)
            before = now - timedelta(days=KEEP_APPOINTMENTS)
            self._database.submit(
                waiting.expire_appointments, before.timestamp(), now.strftime("%Y%m%d%H%M%S")
            ).result()

        self._add("appointments", expire, 86_400, first=datetime.now(UTC))

    def close_steps(self, walk: Walk, every: float) -> None:
        """End steps whose modality does not say that they are done, in one process for all. `every`: seconds."""
        due = 0.0

        def work() -> None:
            nonlocal due
            end_by_images(walk)
            now = walk.clock()
            if now >= due:
                due = now + BY_TIME_EVERY
                end_by_time(walk)
                end_overdue(walk)
                compare_objects(walk)

        self._stopping.append(walk.stopping)
        self._add("closing", work, every, first=datetime.now(UTC))

    def keep_copy(self, keeper: CopyKeeper, seconds: float) -> None:
        """Refresh the copy of the worklist for outages of the database, in one process for all."""
        state = {"made": time.monotonic(), "away": False, "next": 0.0}

        def refresh() -> None:
            began = time.monotonic()
            if began < state["next"]:
                return
            try:
                keeper.refresh()
            except StoreUnavailable:
                if not state["away"]:
                    telemetry.logger().warning("worklist.copy_not_refreshed", duration=round(began - state["made"], 1))
                state["away"] = True
            else:
                state["made"], state["away"] = began, False
                state["next"] = began + COPY_SHARE * (time.monotonic() - began)
            telemetry.WORKLIST_COPY_AGE.set(time.monotonic() - state["made"])

        self._add("worklist-copy", refresh, seconds, first=datetime.now(UTC))

    def start(self) -> None:
        """Start the scheduler."""
        self._scheduler.start()

    def stop(self) -> None:
        """Stop the scheduler; waits for running jobs."""
        for stopping in self._stopping:
            stopping.set()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)

    def _add(self, name: str, work: Callable[[], None], seconds: float, first: datetime | None = None) -> None:
        def guarded() -> None:
            try:
                work()
            except Exception as error:
                telemetry.logger().warning("housekeeping.failed", kind=name, error=telemetry.describe(error))

        when = {"next_run_time": first} if first else {}
        self._scheduler.add_job(guarded, "interval", seconds=seconds, coalesce=True, misfire_grace_time=None, **when)

    def _forget(self) -> None:
        self._database.submit(idempotency.forget, time.time()).result()

    def _probe(self) -> None:
        """After a failed write, try to write again: health recovers without traffic."""
        if not self._database.writable:
            self._database.submit(jobs.probe_write, time.time()).result()
