"""Runs the queue in a test: a view of its jobs, and a dispatcher with scripted handlers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import select

from broker.model.lane import LaneKind
from broker.queue.dispatcher import Dispatcher
from broker.queue.feed import Feed
from broker.queue.retry_policy import RetryPolicy
from broker.store import jobs
from broker.store.db.database import Database
from broker.store.jobs import NewJob
from broker.store.schema import tables

QUICK = RetryPolicy(first=0.02, last=0.05, give_up=1000)
PACS = "deliver:pacs"
Work = Callable[[str, Feed], Awaitable[None]]


class Queue:
    """A view of the job table."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def put(self, *subjects: int, lane: str = PACS, kind: str = "deliver", at: float | None = None,
            priority: int = 5) -> None:  # fmt: skip
        new = [NewJob(kind=kind, lane=lane, subject=one, detail={}, priority=priority) for one in subjects]
        self.database.submit(jobs.enqueue, new, time.time() if at is None else at).result(10)

    def rows(self, lane: str = PACS) -> list[Any]:
        query = select(tables.job).where(tables.job.c.lane == lane).order_by(tables.job.c.subject)
        return self.database.read(lambda connection: list(connection.execute(query).mappings())).result(10)

    def states(self, lane: str = PACS) -> list[str]:
        return [row["state"] for row in self.rows(lane)]

    def errors(self, lane: str = PACS) -> list[str]:
        return [row["last_error"] for row in self.rows(lane)]

    def breaker(self, lane: str = PACS) -> tuple[int, float, str]:
        known = self.database.read(jobs.breakers).result(10).get(lane)
        return (known.failures, known.open_until, known.last_error) if known is not None else (0, 0.0, "")


@asynccontextmanager
async def dispatching(
    database: Database, handler: Work | dict[LaneKind, Work], *, policy: RetryPolicy = QUICK, owner: str = "host:1",
    concurrency: int | Callable[[], int] = 1, grace: float = 1,
    closed: Callable[[], dict[str, bool]] = dict,
) -> AsyncIterator[Dispatcher]:  # fmt: skip
    handlers = handler if isinstance(handler, dict) else {LaneKind.DELIVER: handler}
    dispatcher = Dispatcher(
        database,
        handlers,
        policy,
        owner,
        lambda _: concurrency() if callable(concurrency) else concurrency,
        closed=closed,
    )
    running = asyncio.ensure_future(dispatcher.run())
    try:
        yield dispatcher
    finally:
        await dispatcher.stop(grace)
        await running
