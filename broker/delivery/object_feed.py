"""Takes the jobs of a lane with their objects: the next ones are claimed and read while those before are sent."""

from __future__ import annotations

import asyncio

from broker.queue.feed import Feed
from broker.store.db.database import Database
from broker.store.images import instances
from broker.store.images.instances import StoredObject
from broker.store.jobs import Job

Batch = list[tuple[Job, StoredObject | None]]


class ObjectFeed:
    """Jobs with their objects. The next ones are claimed and read while the last ones of a full batch are sent."""

    def __init__(self, database: Database, feed: Feed) -> None:
        self._database = database
        self._feed = feed
        self._coming: asyncio.Task[Batch] | None = None

    def ahead(self) -> None:
        """Few are left of what was taken: begin to take more, if there is more."""
        if self._coming is None and self._feed.more:
            self._coming = asyncio.get_running_loop().create_task(self._take())

    async def take(self) -> Batch:
        """The next jobs; empty when there are none or the broker stops. Those before are reported."""
        coming, self._coming = self._coming, None
        batch = await coming if coming is not None else []
        if self._feed.stopping:
            return []
        # nothing came ahead: perhaps because jobs waited for one of their group that is done by now
        return batch or await self._take()

    async def _take(self) -> Batch:
        jobs = await self._feed.take()
        if not jobs:
            return []
        batch: Batch = [(job, self._feed.brought(job)) for job in jobs]
        if not (ids := [job.subject for job, item in batch if item is None]):
            return batch
        objects = await asyncio.wrap_future(self._database.read(instances.stored, ids))
        return [(job, item or objects.get(job.subject)) for job, item in batch]

    async def close(self) -> None:
        """Nobody takes any more; the feed gives back what came ahead."""
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.gather(self._coming, return_exceptions=True)
