"""A claim that is committed although its answer never came: its jobs do not wait for the end of their lease."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from support.peers.tools import wait_until
from support.queue.lanes import PACS, Queue, dispatching

from broker.errors import StoreUnavailable
from broker.queue.feed import Feed
from broker.queue.retry_policy import RetryPolicy
from broker.store import claims, jobs
from broker.store.db.database import Database


class Silent:
    """A database whose first claims are not answered: `commit` says what becomes of each."""

    def __init__(self, database: Database, claims: int, commit: Callable[[Callable[[], object]], None]) -> None:
        self._database, self.claims, self._commit = database, claims, commit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def submit(self, unit: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        """As a database, but for the claims."""
        if unit is not jobs.claim or not self.claims:
            return self._database.submit(unit, *args, **kwargs)
        self.claims -= 1
        self._commit(lambda: self._database.submit(unit, *args, **kwargs).result(10))
        lost: Future[Any] = Future()
        lost.set_exception(StoreUnavailable("the database does not answer", code="store-silent"))
        return lost


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something, far less than a lease lasts."""
    await asyncio.to_thread(wait_until, condition, 15, what)


def handler(seen: list[int]) -> Callable[[str, Feed], Any]:
    async def work(_: str, feed: Feed) -> None:
        for job in await feed.take():
            seen.append(job.subject)
            feed.done(job)

    return work


def test_the_jobs_of_a_claim_without_an_answer_come_soon_and_once(database: Database) -> None:
    rows, seen = Queue(database), list[int]()
    rows.put(1, 2, 3)

    async def scenario() -> None:
        silent: Any = Silent(database, 1, lambda claim: claim())
        async with dispatching(silent, handler(seen)):
            await until(lambda: set(rows.states()) == {"done"}, "all are done")

    asyncio.run(scenario())
    assert seen == [1, 2, 3]
    assert [row["fence"] for row in rows.rows()] == [2, 2, 2]


def test_a_claim_that_is_committed_after_the_database_answers_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not there when it was looked for first."""
    rows, seen, kept, looks = Queue(database), list[int](), list[Callable[[], object]](), list[int]()
    rows.put(1)
    real = claims.free_claims

    def free(*args: Any) -> list[int]:
        counts = real(*args)
        looks.extend(counts)
        return counts

    monkeypatch.setattr(claims, "free_claims", free)

    def keep(claim: Callable[[], object]) -> None:
        kept.append(claim)
        database.submit(jobs.open_breaker, PACS, 1, time.time() + 60, "x").result(10)  # no other claim

    async def late() -> None:
        silent: Any = Silent(database, 1, keep)
        async with dispatching(silent, handler(seen), policy=RetryPolicy(first=60, last=600, give_up=1000)) as running:
            await until(lambda: running.wake() or len(looks) > 1, "it was looked for")
            assert (seen, looks[:2]) == ([], [0, 0])
            kept[0]()
            database.submit(jobs.close_breaker, PACS).result(10)
            await until(lambda: set(rows.states()) == {"done"}, "it is done")

    asyncio.run(late())
    assert seen == [1]
    assert rows.rows()[0]["fence"] == 2


def test_a_job_in_hand_is_not_given_back(database: Database) -> None:
    """Of the same lane and process, claimed by another worker."""
    rows, seen = Queue(database), list[int]()
    rows.put(1)

    async def scenario() -> None:
        silent: Any = Silent(database, 0, lambda claim: claim())
        going = asyncio.Event()

        async def slow(_: str, feed: Feed) -> None:
            for job in await feed.take():
                seen.append(job.subject)
                if job.subject == 1:
                    silent.claims = 1
                    await asyncio.to_thread(rows.put, 2)
                    await going.wait()
                feed.done(job)

        async with dispatching(silent, slow, concurrency=2) as running:
            await until(lambda: running.wake() or rows.states()[1:] == ["done"], "the second one is done")
            assert rows.states() == ["leased", "done"]
            going.set()
            await until(lambda: set(rows.states()) == {"done"}, "both are done")

    asyncio.run(scenario())
    assert seen == [1, 2]
    assert [row["fence"] for row in rows.rows()] == [1, 2]
