"""Opens and closes the breakers of lanes, as the table of `queue.dispatcher` says. They are kept in the database."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Collection, Iterator, Sequence

from broker import telemetry
from broker.errors import PeerDoubtful, PeerFault
from broker.model.lane import Lane, LaneKind
from broker.queue.clock import QueueClock
from broker.queue.retry_policy import RetryPolicy
from broker.store import jobs as store
from broker.store import lanes
from broker.store.db.database import Database


class Breakers:
    """The breakers of the lanes of one process. All of it raises StoreUnavailable."""

    def __init__(self, database: Database, policy: RetryPolicy, clock: QueueClock) -> None:
        self._database, self._policy, self._clock = database, policy, clock
        self._open: set[Lane] = set()
        self._alive: set[str] = set()  # stored names of lanes
        self._hurried: dict[str, float] = {}  # by node: when its lanes were last tried for a sign of life

    def is_open(self, lane: Lane) -> bool:
        """The breaker of this lane was opened by this process, and nothing has worked since."""
        return lane in self._open

    async def failures(self, lane: Lane) -> int:
        """Failures of a lane in a row."""
        return await asyncio.wrap_future(self._database.read(store.breaker_failures, lane.name))

    async def open(self, lane: Lane, fault: PeerFault, failures: int, *, tried: bool = False) -> None:
        """Keep a lane closed; `failures` in a row, the last one by `fault`. `tried`: it only shows that it fails."""
        wait = self._policy.pause if isinstance(fault, PeerDoubtful) else self._policy.delay
        delay = 0.0 if tried else wait(failures, random.random())  # noqa: S311
        delay = max(delay, min(fault.after, self._policy.longest))
        if tried:
            failures = max(failures - 1, 1)
        until, code = self._clock.now() + delay, fault.code
        await asyncio.wrap_future(self._database.submit(store.open_breaker, lane.name, failures, until, code))
        self._open.add(lane)
        telemetry.LANES_BROKEN.labels(lane.node, lane.kind).set(1)
        telemetry.logger().warning("lane.broken", lane=lane.name, reason=code, attempt=failures, delay=round(delay, 1))

    async def close(self, lane: Lane, *, gone: bool = False) -> None:
        """The peer works, or is `gone`: close the breaker if it was open, here or in the process before this one."""
        if lane in self._open or await self.failures(lane):
            await asyncio.wrap_future(self._database.submit(store.close_breaker, lane.name))
            self._closed(lane)
            if not gone:
                telemetry.logger().info("lane.mended", lane=lane.name)

    def alive(self, node: str) -> None:
        """A node has shown that it is alive: `hurry` tries its lanes at once, though not again and again."""
        now = time.monotonic()
        if now - self._hurried.get(node, -math.inf) >= self._policy.first:
            self._hurried[node] = now
            self._alive |= {Lane(kind, node).name for kind in LaneKind}

    async def hurry(self) -> None:
        """Try the lanes at once of nodes that are alive."""
        if self._alive:
            names = list(self._alive)
            await asyncio.wrap_future(self._database.submit(lanes.try_now, names))
            self._alive.difference_update(names)

    async def forget(self, changed: Collection[Lane]) -> None:
        """Close the breakers of lanes whose node has changed."""
        stored = [lane.name for lane in changed]
        await asyncio.wrap_future(self._database.submit(lanes.close_breakers, stored))
        for lane in self._open.intersection(changed):
            self._closed(lane)

    def _closed(self, lane: Lane) -> None:
        self._open.discard(lane)
        telemetry.LANES_BROKEN.labels(lane.node, lane.kind).set(0)


def known(names: Sequence[str]) -> Iterator[Lane]:
    """The lanes with these stored names, without those of a kind that this version does not know."""
    for name in names:
        try:
            yield Lane.parse(name)
        except ValueError as error:
            telemetry.logger().error("lane.defect", lane=name, error=telemetry.describe(error))
