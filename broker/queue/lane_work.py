"""Runs the handler of a lane once and concludes from how it ended, as the table of `queue.dispatcher` says."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from broker import telemetry
from broker.errors import PeerDoubtful, PeerFault, StoreUnavailable, Unavailable
from broker.model.lane import Lane, LaneKind
from broker.queue.breakers import Breakers
from broker.queue.clock import STEP, QueueClock
from broker.queue.evidence import Evidence
from broker.queue.feed import Bell, Feed
from broker.queue.hand_over import HandOver
from broker.queue.late_reports import LateReports
from broker.queue.lost_claims import LostClaims
from broker.queue.retry_policy import RetryPolicy
from broker.store import jobs as store
from broker.store.db.database import Database
from broker.store.jobs import Job

LEASE = 60.0  # seconds
# seconds until a job of these lanes is too old at the latest. No person could do what those of audit are for; a result
# of storage commitment that nobody takes for a day needs one
GIVE_UP = {LaneKind.AUDIT: math.inf, LaneKind.COMMITMENT: 86_400.0}

Handler = Callable[[str, Feed], Awaitable[None]]  # the name of the lane's node, and its jobs


@dataclass(frozen=True, slots=True)
class QueueTools:
    """What the workers of one process share with its dispatcher. `owner` names the process in leases."""

    database: Database
    policy: RetryPolicy
    owner: str
    bell: Bell
    clock: QueueClock
    breakers: Breakers
    lost: LostClaims
    late: LateReports
    hand_over: HandOver


class LaneWork:
    """Runs handlers with the jobs of their lanes."""

    def __init__(
        self, tools: QueueTools, handlers: Mapping[LaneKind, Handler], heard: Callable[[Lane, str], None]
    ) -> None:
        """`heard`: see `Dispatcher`."""
        self._tools = tools
        self._handlers = handlers
        self._heard = heard
        self._evidence: dict[Lane, Evidence] = {}
        self._feeds: set[Feed] = set()
        self._outdated: set[asyncio.Task[None]] = set()  # workers that began before their node changed

    def pause(self, nodes: Collection[str]) -> bool:
        """Persons have paused these nodes: nothing more is begun for them. False if that was known."""
        return bool([feed for feed in self._feeds if feed.node in nodes and feed.pause()])

    def close(self, closed: Mapping[str, bool]) -> bool:
        """Begin nothing more in these lanes (stored names), but what is STAT where that passes. False: it was so.

        A worker for STAT alone ends once its lane is open.
        """
        way = {False: None, True: True}  # of a worker: what its lane must be
        return bool([one for one in self._feeds if closed.get(one.lane.name) is not way[one.stat_only] and one.pause()])

    def outdate(self, workers: Collection[asyncio.Task[None]]) -> None:
        """The node of these workers has changed: what they say of it may be about the old address."""
        self._outdated.update(workers)

    def ended(self, worker: asyncio.Task[None]) -> None:
        """A worker is over."""
        self._outdated.discard(worker)

    def forget(self, lanes: Collection[Lane]) -> None:
        """Their nodes have changed: what was seen of them is about others."""
        for lane in lanes:
            self._evidence.pop(lane, None)

    async def run(self, lane: Lane, *, stat_only: bool = False) -> None:
        """Run the handler of a lane once, and conclude from how it ended. `stat_only`: with what is STAT alone."""
        tools = self._tools
        policy = tools.policy
        if (give_up := GIVE_UP.get(lane.kind)) is not None:
            policy = replace(policy, give_up=give_up if math.isinf(give_up) else min(give_up, policy.give_up))
        seen = self._evidence.setdefault(lane, Evidence())
        handed = tools.hand_over if lane.kind is LaneKind.DELIVER and not stat_only else None
        shared = (
            tools.bell,
            partial(self.claim, stat_only=stat_only),
            tools.clock,
            self._heard,
            tools.late,
            seen,
            handed,
        )
        feed = Feed(lane, tools.database, policy, *shared)
        feed.stat_only = stat_only
        self._feeds.add(feed)
        heart = asyncio.get_running_loop().create_task(self._beat(feed))
        error: BaseException | None = None
        try:
            await self._handlers[lane.kind](lane.node, feed)
        except (Exception, asyncio.CancelledError) as raised:
            error = raised
        finally:
            heart.cancel()
            self._feeds.discard(feed)
        try:
            if error is None and feed.doubtful and not feed.progressed:
                error = PeerDoubtful("it answered, and took nothing", code=feed.doubtful)
            failing = isinstance(error, PeerFault) and not feed.progressed
            failures = 1 + await tools.breakers.failures(lane) if failing else 1
            await feed.settle(error, failures)
            await self._conclude(lane, error, failures, feed)
        except StoreUnavailable as trouble:
            telemetry.logger().warning("queue.unavailable", lane=lane.name, error=telemetry.describe(trouble))

    async def claim(self, lane: Lane, limit: int, *, stat_only: bool = False) -> Sequence[Job]:
        """Lease the next jobs of a lane, at most `limit`."""
        tools = self._tools
        now, longest = tools.clock.now(), tools.policy.longest + STEP
        values = (lane.name, tools.owner, now, LEASE, limit, longest)
        return await tools.lost.claim(tools.database, *values, stat=stat_only)

    async def _beat(self, feed: Feed) -> None:
        """Extend the leases of what a handler works on."""
        while True:
            await asyncio.sleep(LEASE / 4)
            with contextlib.suppress(StoreUnavailable):  # the next beat tries again, three fit into a lease
                await self._renew(feed)

    async def renew(self) -> None:
        """Extend the leases of all that is worked on. Raises StoreUnavailable."""
        for feed in list(self._feeds):
            await self._renew(feed)

    async def _renew(self, feed: Feed) -> None:
        if ids := feed.outstanding():
            tools = self._tools
            until = tools.clock.now() + LEASE
            await asyncio.wrap_future(tools.database.submit(store.renew, ids, tools.owner, until))

    async def _conclude(self, lane: Lane, error: BaseException | None, failures: int, feed: Feed) -> None:
        """Decide on a lane by what its handler raised, after `failures` in a row."""
        breakers, bell = self._tools.breakers, self._tools.bell
        match error:
            case None:
                await breakers.close(lane, gone=feed.homeless)
                if feed.progressed:
                    bell.ring()  # work that came after the last `take` found this lane still busy
            case PeerFault():
                self._heard(lane, error.code)
                if asyncio.current_task() in self._outdated:
                    return bell.ring()  # it may speak of the old address
                if feed.progressed and not error.after:
                    await breakers.close(lane)
                    return bell.ring()
                doubtful = isinstance(error, PeerDoubtful)
                await breakers.open(lane, error, failures, tried=doubtful and not feed.troubled)
                if not doubtful:
                    self._evidence[lane].away()
                bell.ring()
            case Unavailable():
                telemetry.logger().warning("queue.unavailable", lane=lane.name, error=telemetry.describe(error))
            case asyncio.CancelledError():
                pass
            case _:
                telemetry.logger().error("lane.defect", lane=lane.name, error=telemetry.describe(error))
