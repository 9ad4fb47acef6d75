"""Gives a handler the jobs of its lane and takes its reports. What a report does to a job: see `queue.dispatcher`."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import Any

from broker import telemetry
from broker.errors import PeerFault, StoreUnavailable, Unavailable
from broker.model.lane import JobState, Lane
from broker.queue.clock import QueueClock
from broker.queue.evidence import Evidence
from broker.queue.hand_over import LINGER, Handed, HandOver
from broker.queue.late_reports import LateReports
from broker.queue.retry_policy import RetryPolicy
from broker.store import jobs as store
from broker.store.db.database import Database
from broker.store.images.instances import StoredObject
from broker.store.jobs import Job
from broker.traces import spans
from broker.traces.spans import SpanKey

BATCH = 64  # jobs claimed at once
NO_NODE = "unknown-node"  # why jobs are held whose node was removed
UNRECORDED = 8  # transactions with reports that run: if there are more, the database is slower than the destination
REPORT_WITHIN = 0.05  # seconds; what was sent in them and not recorded is sent again after a crash


class Bell:
    """Wakes whoever waits for work. `stopping`: no work is to be begun any more."""

    def __init__(self) -> None:
        self.stopping = False
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake everybody who waits now."""
        self._rung.set()
        self._rung = asyncio.Event()

    def next(self) -> asyncio.Event:
        """The event that the next `ring` sets. Taken before a look at the queue, it misses no work that comes after."""
        return self._rung


class Feed:
    """A handler's view of its lane: take jobs, report what became of each."""

    def __init__(
        self,
        lane: Lane,
        database: Database,
        policy: RetryPolicy,
        bell: Bell,
        claim: Callable[[Lane, int], Awaitable[Sequence[Job]]],
        clock: QueueClock,
        heard: Callable[[Lane, str], None] = lambda lane, error: None,
        late: LateReports | None = None,
        evidence: Evidence | None = None,
        hand_over: HandOver | None = None,
    ) -> None:
        """`claim` leases the next jobs of a lane, at most so many. `heard`: see `Dispatcher`.

        `late` keeps the reports that the database does not take. `evidence` is what the lane has seen before.
        `hand_over` has what was just received.
        """
        self._clock = clock
        self._lane = lane
        self._name = lane.name
        self._database = database
        self._policy = policy
        self._bell = bell
        self._claim = claim
        self._heard = heard
        self._claiming: asyncio.Future[Sequence[Job]] | None = None
        self._open: dict[int, Job] = {}
        self._reports: list[store.Report] = []
        self._submitted: list[tuple[Future[int], Sequence[store.Report]]] = []
        self._late = late or LateReports(database)
        self._timer: asyncio.TimerHandle | None = None
        self._evidence = evidence or Evidence()
        self._hand_over = hand_over
        self._brought: dict[int, StoredObject] = {}  # by job: the object that came with it
        self.stat_only = False  # its lane is closed but for what is STAT
        self.paused = False  # a person has paused the node: not even the next of what was taken is sent
        self.homeless = False  # the node of this lane is no longer there
        self.doubtful = ""  # why an item failed last, if nothing says whose fault it was
        self.more = False  # the last `take` got as many as there may be
        self.progressed = False  # a job was done: the peer is not away

    @property
    def stopping(self) -> bool:
        """No work is to be begun any more; jobs without a report go back by themselves."""
        return self._bell.stopping or self.paused

    @property
    def lane(self) -> Lane:
        """Whose jobs these are."""
        return self._lane

    @property
    def node(self) -> str:
        """The node of this lane."""
        return self._lane.node

    def pause(self) -> bool:
        """A person has paused the node: what is in flight ends, and nothing more is begun. False if it was so."""
        before, self.paused = self.paused, True
        return not before

    def outstanding(self) -> list[int]:
        """Ids of the jobs of this lane that are leased and not reported."""
        handed = self._hand_over.outstanding(self._name) if self._hand_over is not None else ()
        return [*self._open, *handed]

    def brought(self, job: Job) -> StoredObject | None:
        """The object of a job that was handed over with it, once; None for a job that was claimed."""
        return self._brought.pop(job.id, None)

    # --- jobs --------------------------------------------------------------------------------------------

    async def take(self, wait: float = 0) -> Sequence[Job]:
        """Claim the next jobs, waiting up to `wait` seconds for some; empty when there are none or the broker stops."""
        if jobs := await self._handed():
            return jobs
        await self._flush()
        deadline = time.monotonic() + wait
        while not self.stopping:
            woken = self._bell.next()
            # a handler may be cancelled while it waits: the leases are ours all the same, and `settle` gives them back
            self._claiming = asyncio.ensure_future(self._claim(self._lane, BATCH))
            jobs = await asyncio.shield(self._claiming)
            self._claiming = None
            left = deadline - time.monotonic()
            if jobs or left <= 0:
                self._open.update((job.id, job) for job in jobs)
                self._say("job.claimed", *jobs)
                self.more = len(jobs) >= BATCH - 1  # a place may be kept for one in doubt
                # those in doubt go last
                done = not self.more and not any(job.last for job in jobs)  # of those only some come at once
                return [*self._hand(open_lane=done), *sorted(jobs, key=self.doubts)]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await woken.wait()
        return []

    async def _handed(self) -> Sequence[Job]:
        """What was just received, after a short wait for it. Reports are recorded meanwhile."""
        if self._hand_over is None or self.stopping or len(self._submitted) > UNRECORDED:
            return ()
        handed = await self._hand_over.take(self._name, LINGER if self.progressed else 0)
        self._submitted = [one for one in self._submitted if not self._is_recorded(*one)]
        return self._adopt(handed)

    def _hand(self, *, open_lane: bool) -> Sequence[Job]:
        """What an open lane holds. Jobs were claimed: as the last ones that were due, or more is due."""
        if self._hand_over is None:
            return ()
        if not open_lane:
            return self._adopt(self._hand_over.close(self._name))
        if self.progressed and not self.stopping:
            self._hand_over.open(self._name)
        return self._adopt(self._hand_over.held(self._name))

    def _adopt(self, handed: Sequence[Handed]) -> Sequence[Job]:
        self._open.update((one.job.id, one.job) for one in handed)
        self._brought.update((one.job.id, one.item) for one in handed)
        self._say("job.handed_over", *(one.job for one in handed))
        return [one.job for one in handed]

    def doubts(self, job: Job) -> bool:
        """This job failed before, perhaps by its own fault."""
        return job.last or job.failures > 0 or self._evidence.doubts(job.id)

    def cuts(self, job: Job) -> bool:
        """An association ended with this job in flight: it needs one of its own, to show whose fault it is."""
        return job.failures > 0 or self._evidence.cuts(job.id)

    @property
    def troubled(self) -> bool:
        """Several items failed and nothing passed since: it is the destination."""
        return self._evidence.troubled

    # --- reports: the first half of the table ------------------------------------------------------------

    def done(self, job: Job, note: str = "") -> None:
        """The work is done. Recorded in the background within REPORT_WITHIN, at the latest with the next `take`."""
        self.progressed = True
        self._evidence.passed(job.id)
        self._heard(self._lane, "")
        self._say("job.done", job)
        self._report(job, store.finish, JobState.DONE, self._clock.now(), note)
        self._count("done")

    def hold(self, job: Job, reason: str) -> None:
        """A person must look; `reason` is a code without patient data."""
        self._evidence.ended(job.id)
        self.homeless = self.homeless or reason == NO_NODE
        names = {"lane": self._name, "kind": job.kind, "job": job.id, "correlation": job.correlation or None}
        telemetry.logger().warning("job.held", reason=reason, **names)
        spans.note(SpanKey.REASON, reason)
        self._report(job, store.finish, JobState.HELD, self._clock.now(), reason)
        self._count("held")

    def retry(self, job: Job, reason: str, *, item_fault: bool, after: float = 0) -> None:
        """Try again later; a fault of the item itself counts, and the last one holds it.

        `after`: for so many seconds the peer wants to be left alone. The longest wait of the policy is the most.
        """
        if self._expired(job, job.attempts) or (item_fault and self._policy.exhausted(job.failures + 1)):
            self.hold(job, reason)
            return
        wait = self._policy.wait(job.failures + 1, job.attempts, random.random())  # noqa: S311 - no secret
        wait = max(wait, min(after, self._policy.longest))
        due = self._clock.now() + wait
        self._say("job.put_back", job, reason=reason, delay=round(wait, 1))
        spans.note(SpanKey.REASON, reason)
        self._report(job, store.put_back, due, reason, item_fault=item_fault, last=self.doubts(job))
        self._count("retry")

    def suspect(self, job: Job) -> None:
        """The association ended with this job in flight, after it had done others. It goes back, to be tried alone."""
        self._evidence.suspect(job.id)

    def doubt(self, job: Job, reason: str, *, cut: bool = False, after: float = 0) -> None:
        """It failed by its own fault or the destination's: evidence decides whether it counts (`queue.evidence`).

        `cut`: the association ended with it in flight, and had done nothing before. `after`: see `retry`.
        """
        if self._evidence.failed(job.id, cut=cut):
            self.retry(job, reason, item_fault=True, after=after)
        elif self._evidence.alone_too_long(job.id, self._policy):
            self.hold(job, reason)
        else:
            self.doubtful = reason
            self.retry(job, reason, item_fault=False, after=after)

    # --- the end of the handler: the second half of the table --------------------------------------------

    async def settle(self, error: BaseException | None, failures: int) -> None:
        """Decide on the jobs that a handler left open, by what it raised, and record all reports.

        `failures`: of the lane in a row, this one included.
        """
        if self._claiming is not None:
            with contextlib.suppress(StoreUnavailable):
                self._open.update((job.id, job) for job in await self._claiming)
        if self._hand_over is not None and (error is not None or self._open or self.stopping or self.homeless):
            self._adopt(self._hand_over.close(self._name))
        for job in list(self._open.values()):
            match error:
                case None | asyncio.CancelledError():
                    self._return(job, "", failures)
                case PeerFault() | Unavailable():
                    self._return(job, error.code, failures)
                case _:
                    self.retry(job, "handler-defect", item_fault=True)
        await self._flush()

    def _return(self, job: Job, code: str, failures: int) -> None:
        """Make a job ready at once, unless it is too old."""
        if self._expired(job, max(job.attempts, failures)):
            self.hold(job, "gave-up")
        else:
            self._report(job, store.put_back, self._clock.now(), code, item_fault=False, last=self.doubts(job))

    def _expired(self, job: Job, tries: int) -> bool:
        return self._policy.expired(job.created_at, self._clock.unhurried(), tries)

    # --- recording ---------------------------------------------------------------------------------------

    def _say(self, event: str, *jobs: Job, **more: object) -> None:
        """A line for each job, at level debug only."""
        if telemetry.debugging():
            for job in jobs:
                names = {"lane": self._name, "job": job.id, "attempt": job.attempts, "correlation": job.correlation}
                telemetry.logger().debug(event, **names, **more)

    def _count(self, outcome: str) -> None:
        spans.note(SpanKey.OUTCOME, outcome)
        telemetry.child(telemetry.DELIVERIES, self._lane.node, self._lane.kind, outcome).inc()

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
            self._submitted.append((self._database.submit(store.report, reports), reports))

    def _is_recorded(self, future: Future[int], reports: Sequence[store.Report]) -> bool:
        """Reports are committed, or kept because the database did not take them."""
        if not future.done():
            return False
        if isinstance(future.exception(), StoreUnavailable):
            return False  # `_flush` says so
        future.result()
        return True

    async def _flush(self) -> None:
        """Wait until the reports are committed. A lost lease is no error: the new owner decides.

        Raises StoreUnavailable when the database does not take them; they are kept then.
        """
        self._submit()
        trouble: StoreUnavailable | None = None
        while self._submitted:
            future, reports = self._submitted[0]
            recorded = asyncio.wrap_future(future)
            await asyncio.wait({recorded})  # if we are cancelled here it goes on, and `settle` waits for it
            self._submitted.pop(0)
            try:
                recorded.result()
            except StoreUnavailable as error:
                self._late.keep(reports)
                trouble = error
        if trouble is not None:
            raise trouble
