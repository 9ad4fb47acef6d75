"""A report that the database does not take, or does not answer: its job is not done again, and does not wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.peers.tools import wait_until
from support.queue.lanes import Queue, dispatching

from broker.errors import StoreFull, StoreUnavailable
from broker.queue.feed import Feed
from broker.store import jobs
from broker.store.db.database import Database


class Deaf:
    """A database that does not take reports while `away`; `committed`: it takes them and does not say so."""

    def __init__(self, database: Database, error: StoreUnavailable, *, committed: bool) -> None:
        self._database, self._error, self._committed = database, error, committed
        self.away, self.refused = True, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def submit(self, unit: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        """As a database, but for the reports."""
        if unit is not jobs.report or not self.away:
            return self._database.submit(unit, *args, **kwargs)
        self.refused += 1
        if self._committed:
            self._database.submit(unit, *args, **kwargs).result(10)
        lost: Future[Any] = Future()
        lost.set_exception(self._error)
        return lost


def handler(seen: list[int]) -> Callable[[str, Feed], Any]:
    async def work(_: str, feed: Feed) -> None:
        while found := await feed.take():
            for job in found:
                seen.append(job.subject)
                feed.done(job)

    return work


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("error", [StoreUnavailable("away"), StoreFull()])
def test_what_was_done_is_not_done_again(database: Database, error: StoreUnavailable, *, committed: bool) -> None:
    """And it is known as done as soon as the database takes it, long before the lease is over."""
    rows, seen = Queue(database), list[int]()
    deaf: Any = Deaf(database, error, committed=committed)
    rows.put(1, 2, 3)

    async def scenario() -> None:
        async with dispatching(deaf, handler(seen)) as running:
            await asyncio.to_thread(wait_until, lambda: running.wake() or deaf.refused > 2, 15, "it is asked again")
            rows.put(4)
            assert seen == [1, 2, 3]  # no lane works while nothing can be recorded
            deaf.away = False
            await asyncio.to_thread(wait_until, lambda: set(rows.states()) == {"done"}, 15, "all are done")

    asyncio.run(scenario())
    assert seen == [1, 2, 3, 4]
    assert [row["fence"] for row in rows.rows()] == [1, 1, 1, 1]


def test_what_was_done_is_recorded_when_the_broker_stops(database: Database) -> None:
    rows, seen = Queue(database), list[int]()
    deaf: Any = Deaf(database, StoreUnavailable("away"), committed=False)
    rows.put(1)

    async def scenario() -> None:
        async with dispatching(deaf, handler(seen)):
            await asyncio.to_thread(wait_until, lambda: deaf.refused > 0, 15, "a report was refused")
            deaf.away = False

    asyncio.run(scenario())
    assert (seen, rows.states()) == ([1], ["done"])


def test_a_report_of_a_claim_that_another_one_has_now_changes_nothing(database: Database) -> None:
    rows, seen = Queue(database), list[int]()
    deaf: Any = Deaf(database, StoreUnavailable("away"), committed=False)
    rows.put(1)

    async def scenario() -> None:
        async with dispatching(deaf, handler(seen)):
            await asyncio.to_thread(wait_until, lambda: deaf.refused > 0, 15, "a report was refused")
            database.submit(jobs.free_leases, None, owner_prefix="host:1").result(10)
            taken = database.submit(jobs.claim, "deliver:pacs", "other:1", 1e12, 60.0, 10).result(10)
            with capture_logs() as logged:
                deaf.away = False
                await asyncio.to_thread(wait_until, lambda: logged, 15, "it was reported")
            assert [job.subject for job in taken] == [1]
            assert [(line["event"], line["count"]) for line in logged] == [("queue.reports_taken", 0)]

    asyncio.run(scenario())
    assert (rows.states(), rows.rows()[0]["lease_owner"]) == (["leased"], "other:1")
