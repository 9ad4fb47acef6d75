"""Remembers claims that the database may have made without this process hearing of it, until their jobs are given back.

A claim whose answer did not come in time, for example of a PostgreSQL that was stopped, has an unknown outcome. If it
was committed, its jobs are leased to this process and in no hand of it: without this they would wait for the end of
their lease and the sweep, 75 s. The end of its lease names a claim: no other claim of the lane has the same, and a job
in hand has another one as soon as its lease was renewed. Whoever gets a job next has a new fence, as ever.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from broker import telemetry
from broker.errors import StoreUnavailable
from broker.store import claims, jobs
from broker.store.claims import LostClaim
from broker.store.db.database import Database
from broker.store.jobs import Job


class LostClaims:
    """The claims of one process with an unknown outcome.

    A claim is looked for until its lease is over: a database that wakes up may commit it after it was asked first.
    """

    def __init__(self) -> None:
        self._over: dict[LostClaim, float] = {}  # when the lease is over, by time.monotonic()

    async def claim(
        self,
        database: Database,
        lane: str,
        owner: str,
        now: float,
        lease: float,
        limit: int,
        longest: float,
        *,
        stat: bool = False,
    ) -> Sequence[Job]:
        """Claim as `store.jobs.claim` does. Raises StoreUnavailable; what it may have got is looked for then."""
        try:
            claim = database.submit(jobs.claim, lane, owner, now, lease, limit, longest, stat=stat)
            return await asyncio.wrap_future(claim)
        except StoreUnavailable:
            self._over[LostClaim(lane, owner, now + lease)] = time.monotonic() + lease
            raise

    async def free(self, database: Database) -> int:
        """Give back what was claimed for us without our hearing of it; how much. Raises StoreUnavailable."""
        if not (lost := list(self._over)):
            return 0
        counts = await asyncio.wrap_future(database.submit(claims.free_claims, lost))
        if freed := self._looked_for(lost, counts):
            telemetry.logger().info("queue.claims_freed", count=freed)
        return freed

    def _looked_for(self, lost: Sequence[LostClaim], counts: Sequence[int]) -> int:
        """So many jobs of these claims were given back; all together."""
        for claim, count in zip(lost, counts, strict=True):
            if count or time.monotonic() >= self._over[claim]:
                del self._over[claim]
        return sum(counts)
