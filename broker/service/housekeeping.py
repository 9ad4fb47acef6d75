"""Schedules work that nobody waits for, in threads of APScheduler: sweeps, purges, ends of steps, a recovery probe."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.background import BackgroundScheduler

from broker import telemetry
from broker.errors import StoreUnavailable
from broker.mpps.mpps_walk import compare_objects, end_overdue
from broker.orders.core import lifecycle
from broker.orders.step_walk import StepWalk, end_by_images, end_by_time
from broker.routing import sweep
from broker.service.foundation import Foundation
from broker.store import idempotency, jobs
from broker.store.orders import waiting
from broker.store.worklist import outage
from broker.store.worklist.outage_keeper import CopyKeeper

DAY, HOUR = 86_400.0, 3600.0  # seconds
KEEP_APPOINTMENTS = 30  # days
BY_TIME_EVERY = 300.0  # seconds between two walks that look at hours: they need no closer look
COPY_EVERY = 30.0  # seconds between two refreshes of the worklist's copy
COPY_SHARE = 20  # times as long as a refresh of the worklist's copy took is the least time to the next one


class Housekeeping:
    """Runs periodic jobs, scheduled in UTC: a daily job at a local hour would run twice when the clocks go back."""

    def __init__(self, foundation: Foundation, write_behind: Callable[[], None]) -> None:
        """Schedule what every process does for itself. `write_behind` writes down what callers did."""
        self._foundation = foundation
        self._settings = foundation.settings
        self._database = foundation.database
        self._scheduler = BackgroundScheduler(timezone=UTC)
        self._stopping = ExitStack()  # ends long jobs
        self._closing = ExitStack()
        self._add("resolve", foundation.directory.resolve, 60)
        self._add("probe", self._probe, 15)
        self._add("callers", write_behind, 3)

    def serve_all(self, wake: Callable[[], None]) -> None:
        """Schedule what one process does for all. Call it before anything writes into the spool.

        `wake` is called when the RIS is to be told.
        """
        self._keep_spool()
        self._add("idempotency", self._forget_keys, HOUR)
        self._add("cancels", self._forget_cancels, DAY, at_once=True)
        self._add("appointments", self._forget_appointments, DAY, at_once=True)
        self._end_steps(wake)
        self._keep_copy()

    def _keep_spool(self) -> None:
        """Sweep and purge the spool."""
        started, database, spool = time.time(), self._database, self._foundation.spool

        def sweep_spool() -> None:
            sweep.set_aside_unclaimed(database, spool, before=max(started, time.time() - sweep.YOUNG))

        def purge() -> None:
            sweep.purge_delivered(database, spool, self._settings.delivery.keep_days)

        self._add("sweep", sweep_spool, DAY, at_once=True)
        self._add("purge", purge, HOUR)

    def _forget_keys(self) -> None:
        self._database.submit(idempotency.forget, time.time()).result()

    def _forget_cancels(self) -> None:
        """Forget cancels whose orders never came."""
        before = time.time() - self._settings.orders.keep_cancels_days * DAY
        self._database.submit(waiting.expire_cancels, before).result()

    def _forget_appointments(self) -> None:
        """Forget appointments whose orders never came, and those long over."""
        now = datetime.now(self._settings.zone())
        before = now - timedelta(days=KEEP_APPOINTMENTS)
        self._database.submit(waiting.expire_appointments, before.timestamp(), now.strftime("%Y%m%d%H%M%S")).result()

    def _end_steps(self, wake: Callable[[], None]) -> None:
        """End steps and MPPS whose modality does not say that they are done."""
        walk = StepWalk(
            database=self._database, settings=self._settings, directory=self._foundation.directory, wake=wake
        )
        due = 0.0

        def end() -> None:
            nonlocal due
            end_by_images(walk)
            now = walk.clock()
            if now >= due:
                due = now + BY_TIME_EVERY
                end_by_time(walk)
                end_overdue(walk)
                compare_objects(walk)

        self._stopping.callback(walk.stopping.set)
        self._add("closing", end, self._settings.worklist.closing_every, at_once=True)

    def _keep_copy(self) -> None:
        """Refresh the copy of the worklist for outages of the database."""
        path, age = self._foundation.worklist_copy, self._settings.worklist.outage_copy_age
        if not age:
            outage.discard(path)  # no file with patients stays behind
            return
        keeper = CopyKeeper(self._database, path, lifecycle.OPEN)
        self._closing.callback(keeper.close)
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

        self._add("worklist-copy", refresh, min(COPY_EVERY, age / 10), at_once=True)

    def _probe(self) -> None:
        """After a failed write, try to write again: health recovers without traffic."""
        if not self._database.writable:
            self._database.submit(jobs.probe_write, time.time()).result()

    def start(self) -> None:
        """Start the scheduler."""
        self._scheduler.start()

    def stop(self) -> None:
        """Stop the scheduler; waits for running jobs."""
        self._stopping.close()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)

    def close(self) -> None:
        """Give back what the jobs held open."""
        self._closing.close()

    def _add(self, name: str, work: Callable[[], None], seconds: float, *, at_once: bool = False) -> None:
        """Schedule a job every so many seconds, first after them or at once. One that fails is logged and goes on."""

        def guarded() -> None:
            try:
                work()
            except Exception as error:
                telemetry.logger().warning("housekeeping.failed", kind=name, error=telemetry.describe(error))

        first = {"next_run_time": datetime.now(UTC)} if at_once else {}
        self._scheduler.add_job(guarded, "interval", seconds=seconds, coalesce=True, misfire_grace_time=None, **first)
