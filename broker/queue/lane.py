"""Lanes: one worker per destination, so that a dead or slow one never delays the others.

The dispatcher looks for lanes with due work (woken by whoever commits a job, else once a second) and runs a handler
on each. The handler takes jobs from its `Feed` and reports each one. What it raises decides about the rest:
PeerFault means the destination is away: its jobs stay ready and the breaker keeps the lane closed for a while.
Anything else counts as a fault of the jobs it held.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from broker import telemetry
from broker.errors import PeerFault, StoreUnavailable, Unavailable
from broker.model.lane import JobState, Lane, LaneKind
from broker.queue.policy import RetryPolicy
from broker.store import jobs as store
from broker.store.db.database import Database
from broker.store.jobs import Job

LEASE = 60.0
BATCH = 64
POLL = 1.0
REPORT_WITHIN = 0.05  # seconds; what was sent in them and not recorded is sent again after a crash

Handler = Callable[[str, "Feed"], Awaitable[None]]


class Feed:
    """A handler's view of its lane: take jobs, report their outcome."""

    def __init__(self, dispatcher: Dispatcher, lane: Lane) -> None:
        self._dispatcher = dispatcher
        self._lane = lane
        self._open: dict[int, Job] = {}
        self._reports: list[store.Report] = []
        self._submitted: list[Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._claim: asyncio.Future[list[Job]] | None = None
        self.more = False  # the last `take` got as many as there may be
        self.progressed = False  # something was done: the destination is not away

    async def take(self, wait: float = 0) -> list[Job]:
        """Claim the next jobs, waiting up to `wait` seconds for some; empty when there are none or the broker stops."""
        await self._flush()
        deadline = time.monotonic() + wait
        while not self._dispatcher.stopping:
            woken = self._dispatcher.woken
            # who asked may be cancelled while it waits: the leases are ours all the same, and `settle` gives them back
            self._claim = asyncio.ensure_future(self._dispatcher.claim(self._lane))
            jobs = await asyncio.shield(self._claim)
            self._claim = None
            left = deadline - time.monotonic()
            if jobs or left <= 0:
                self._open.update((job.id, job) for job in jobs)
                self.more = len(jobs) == BATCH
                return jobs
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await woken.wait()
        return []

    @property
    def stopping(self) -> bool:
        """No work is to be begun any more; what is left goes back by itself."""
        return self._dispatcher.stopping

    def done(self, job: Job, note: str = "") -> None:
        """The work is done. Recorded in the background within REPORT_WITHIN, at the latest with the next `take`."""
        self.progressed = True
        self._report(job, store.finish, JobState.DONE, time.time(), note)
        telemetry.child(telemetry.DELIVERIES, self._lane.name, "done").inc()

    def hold(self, job: Job, reason: str) -> None:
        """A person must look; `reason` is a code without patient data."""
        telemetry.logger().warning("job.held", lane=self._lane.name, kind=job.kind, job=job.id, reason=reason)
        self._report(job, store.finish, JobState.HELD, time.time(), reason)
        telemetry.child(telemetry.DELIVERIES, self._lane.name, "held").inc()

    def retry(self, job: Job, reason: str, *, item_fault: bool) -> None:
        """Try again later; a fault of the item itself counts, and the last one holds it."""
        policy = self._dispatcher.policy
        now = time.time()
        if policy.expired(job.created_at, now) or (item_fault and policy.exhausted(job.failures + 1)):
            self.hold(job, reason)
            return
        due = now + policy.delay(max(job.failures + 1, min(job.attempts, 8)), random.random())  # noqa: S311
        self._report(job, store.put_back, due, reason, item_fault=item_fault)
        telemetry.child(telemetry.DELIVERIES, self._lane.name, "retry").inc()

    def _report(self, job: Job, unit: Callable[..., bool], *args: Any, **kwargs: Any) -> None:
        del self._open[job.id]
        self._reports.append(lambda connection: unit(connection, job, *args, **kwargs))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(REPORT_WITHIN, self._submit)

    def _submit(self) -> None:
        """Many reports are one transaction: a commit for each would slow down what arrives meanwhile."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._reports:
            reports, self._reports = self._reports, []
            self._submitted.append(self._dispatcher.database.submit(store.report, reports))

    async def _flush(self) -> None:
        """Wait until the reports are committed. A lost lease is no error: the new owner decides."""
        self._submit()
        while self._submitted:
            recorded = asyncio.wrap_future(self._submitted[0])
            await asyncio.wait({recorded})  # if we are cancelled here it goes on, and `settle` waits for it
            self._submitted.pop(0)
            recorded.result()

    async def settle(self, error: BaseException | None) -> None:
        """After the handler: put back what it did not report."""
        if self._claim is not None:
            with contextlib.suppress(StoreUnavailable):
                self._open.update((job.id, job) for job in await self._claim)
        now = time.time()
        passing = error is None or isinstance(error, asyncio.CancelledError) or getattr(error, "retryable", False)
        for job in list(self._open.values()):
            if passing:
                code = getattr(error, "code", "") if error else ""
                if self._dispatcher.policy.expired(job.created_at, now):
                    self.hold(job, "gave-up")
                else:
                    self._report(job, store.put_back, now, code, item_fault=False)
            else:
                self.retry(job, "handler-defect", item_fault=True)
        await self._flush()

    def outstanding(self) -> list[int]:
        """Ids of the jobs this feed holds a lease on."""
        return list(self._open)


class Dispatcher:
    """Runs the handlers of all lanes of this process."""

    def __init__(
        self,
        database: Database,
        handlers: Mapping[LaneKind, Handler],
        policy: RetryPolicy,
        owner: str,
        concurrency: Callable[[Lane], int] = lambda lane: 1,
    ) -> None:
        """`owner` names this process in leases; `concurrency` is how many workers a lane may have."""
        self.database = database
        self.policy = policy
        self.stopping = False
        self.woken = asyncio.Event()
        self._handlers = handlers
        self._owner = owner
        self._concurrency = concurrency
        self._running: dict[Lane, set[asyncio.Task[None]]] = {}
        self._passed_over: set[Lane] = set()  # lanes with work that had their workers already
        self._broken: set[Lane] = set()
        self._swept = 0.0
        self._loop = asyncio.get_running_loop()

    def wake(self) -> None:
        """There may be new work. Callable from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the work waits for the next start
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self.woken.set()
        self.woken = asyncio.Event()

    async def run(self) -> None:
        """Look for due lanes until `stop`."""
        while not self.stopping:
            woken = self.woken
            try:
                await self._start_lanes()
            except StoreUnavailable as error:
                telemetry.logger().warning("queue.unavailable", error=telemetry.describe(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await woken.wait()

    async def stop(self, grace: float) -> None:
        """Let running handlers end within `grace` seconds, then cancel them; their jobs are ready again."""
        self.stopping = True
        self._wake()
        tasks = [task for running in self._running.values() for task in running]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _start_lanes(self) -> None:
        now = time.time()
        if now - self._swept > LEASE / 4:
            self._swept = now
            await asyncio.wrap_future(self.database.submit(store.free_leases, now))
        before = {lane: frozenset(running) for lane, running in self._running.items()}
        due = await asyncio.wrap_future(self.database.read(store.due_lanes, now))
        for lane in [] if self.stopping else _known(due):  # `stop` does not see what begins after it
            running = self._running.setdefault(lane, set())
            if (
                before.get(lane, frozenset()) - running
            ):  # a worker ended meanwhile, perhaps to close its lane: look again
                self._wake()
                continue
            # one worker first; more only once the lane has proved to work
            wanted = 1 if lane in self._broken else self._concurrency(lane)
            if len(running) >= wanted:
                self._passed_over.add(lane)
            while len(running) < wanted:
                task = self._loop.create_task(self._run_lane(lane))
                running.add(task)
                task.add_done_callback(partial(self._ended, lane))

    def _ended(self, lane: Lane, task: asyncio.Task[None]) -> None:
        """Work that came after a worker's last look, when it still counted as one, is looked for again."""
        self._running[lane].discard(task)
        if lane in self._passed_over:
            self._passed_over.discard(lane)
            self._wake()

    async def claim(self, lane: Lane) -> list[Job]:
        """Lease the next jobs of a lane."""
        now = time.time()
        return await asyncio.wrap_future(self.database.submit(store.claim, lane.name, self._owner, now, LEASE, BATCH))

    async def _run_lane(self, lane: Lane) -> None:
        feed = Feed(self, lane)
        heart = self._loop.create_task(self._beat(feed))
        error: BaseException | None = None
        try:
            await self._handlers[lane.kind](lane.node, feed)
        except (Exception, asyncio.CancelledError) as raised:
            error = raised
        finally:
            heart.cancel()
        try:
            await feed.settle(error)
            await self._judge(lane, error, feed.progressed)
            if error is None and feed.progressed:
                self._wake()  # work that came after the last `take` found this lane still busy
        except StoreUnavailable as trouble:
            telemetry.logger().warning("queue.unavailable", lane=lane.name, error=telemetry.describe(trouble))

    async def _judge(self, lane: Lane, error: BaseException | None, progressed: bool) -> None:
        """Open or close the breaker; a lane that got something done waits as after a first failure."""
        if isinstance(error, PeerFault):
            now = time.time()
            failures = 1 if progressed else 1 + await self._failures(lane)
            delay = self.policy.delay(failures, random.random())  # noqa: S311 - spreading retries, not a secret
            await asyncio.wrap_future(
                self.database.submit(store.open_breaker, lane.name, failures, now + delay, error.code)
            )
            self._broken.add(lane)
            telemetry.LANES_BROKEN.labels(lane.name).set(1)
            telemetry.logger().warning(
                "lane.broken", lane=lane.name, reason=error.code, attempt=failures, delay=round(delay, 1)
            )
        elif isinstance(error, Unavailable):
            telemetry.logger().warning("queue.unavailable", lane=lane.name, error=telemetry.describe(error))
        elif error is not None and not isinstance(error, asyncio.CancelledError):
            telemetry.logger().error("lane.defect", lane=lane.name, error=telemetry.describe(error))
        elif error is None:
            await self.mended(lane)

    async def mended(self, lane: Lane) -> None:
        """The destination works: close its breaker if it was open."""
        if lane in self._broken or await self._failures(lane):
            await asyncio.wrap_future(self.database.submit(store.close_breaker, lane.name))
            self._broken.discard(lane)
            telemetry.LANES_BROKEN.labels(lane.name).set(0)
            telemetry.logger().info("lane.mended", lane=lane.name)

    async def _failures(self, lane: Lane) -> int:
        return await asyncio.wrap_future(self.database.read(store.breaker_failures, lane.name))

    async def _beat(self, feed: Feed) -> None:
        """Extend the leases of what a handler works on."""
        while True:
            await asyncio.sleep(LEASE / 4)
            ids: Sequence[int] = feed.outstanding()
            if ids:
                with contextlib.suppress(StoreUnavailable):  # the next beat tries again, three fit into a lease
                    await asyncio.wrap_future(self.database.submit(store.renew, ids, self._owner, time.time() + LEASE))


def _known(names: Sequence[str]) -> Iterator[Lane]:
    """The lanes with these stored names, but those of a kind that this version does not know."""
    for name in names:
        try:
            yield Lane.parse(name)
        except ValueError as error:
            telemetry.logger().error("lane.defect", lane=name, error=telemetry.describe(error))
