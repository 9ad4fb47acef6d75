"""Shows that each job is done once, in order and at once, by one worker or several, and how work stops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from support.loops import SOON, remains, run, until
from support.queue.lanes import QUICK, Queue, dispatching

from broker.model.lane import Lane, LaneKind
from broker.queue import dispatcher as queue_dispatcher
from broker.queue.dispatcher import Dispatcher
from broker.queue.feed import BATCH, Feed
from broker.queue.lane_work import LaneWork
from broker.store import jobs, lanes
from broker.store.db.database import Database


def test_work_is_done_in_order_and_each_once(database: Database, queue: Queue) -> None:
    seen: list[int] = []

    async def handler(name: str, feed: Feed) -> None:
        assert name == "pacs"
        while jobs_ := await feed.take():
            for job in jobs_:
                seen.append(job.subject)
                feed.done(job, "fine")

    async def work() -> None:
        queue.put(*range(150))
        async with dispatching(database, handler):
            await until(lambda: queue.states() == ["done"] * 150, "all is done")

    run(work())
    assert seen == list(range(150))
    assert set(queue.errors()) == {"fine"}


def test_the_jobs_of_a_lane_that_rests_wait_until_it_works_again(database: Database, queue: Queue) -> None:
    workers = 0

    async def handler(name: str, feed: Feed) -> None:
        for job in await feed.take():
            feed.done(job)

    async def work() -> None:
        nonlocal workers
        queue.put(1, 2)
        async with dispatching(database, handler, concurrency=lambda: workers) as dispatcher:
            await remains(lambda: queue.states() == ["ready", "ready"])
            assert [row["attempts"] for row in queue.rows()] == [0, 0]
            workers = 1
            dispatcher.begin_afresh(["pacs"])
            await until(lambda: queue.states() == ["done", "done"], "both are done")

    run(work())


def test_new_work_is_seen_at_once_when_woken(database: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_dispatcher, "POLL", 30)

    async def handler(name: str, feed: Feed) -> None:
        for job in await feed.take():
            feed.done(job)

    async def work() -> None:
        async with dispatching(database, handler) as dispatcher:
            await remains(lambda: True)
            for number in range(3):
                queue.put(number)
                await asyncio.to_thread(dispatcher.wake)
                await until(lambda n=number: queue.states() == ["done"] * (n + 1), "it is done", 2)

    run(work())


def test_work_that_comes_while_a_worker_ends_is_not_left_lying(
    database: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has taken its last look and still counts as running when the wake comes."""
    monkeypatch.setattr(queue_dispatcher, "POLL", 30)

    async def work() -> None:
        leaving = asyncio.Event()

        async def handler(name: str, feed: Feed) -> None:
            for job in await feed.take():
                feed.done(job)
            await leaving.wait()

        async with dispatching(database, handler) as dispatcher:
            queue.put(0)
            await asyncio.to_thread(dispatcher.wake)
            await until(lambda: queue.states() == ["done"], "the first is done")
            queue.put(1)
            await asyncio.to_thread(dispatcher.wake)
            await remains(lambda: queue.states() == ["done", "ready"], 0.2)
            leaving.set()
            await until(lambda: queue.states() == ["done", "done"], "the second is done")

    run(work())


def test_many_reports_are_few_commits(database: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit for each delivery would slow down what arrives meanwhile."""
    for number in range(40):
        queue.put(number)
    units: list[str] = []
    real = database.submit

    def counted(unit: Any, *args: Any, **kwargs: Any) -> Any:
        units.append(unit.__name__)
        return real(unit, *args, **kwargs)

    monkeypatch.setattr(database, "submit", counted)

    async def handler(name: str, feed: Feed) -> None:
        while batch := await feed.take():
            for job in batch:
                feed.done(job)

    async def work() -> None:
        async with dispatching(database, handler):
            await until(lambda: queue.states() == ["done"] * 40, "all are done")

    run(work())
    assert units.count("report") == 1


def test_a_report_does_not_wait_for_the_next_take(database: Database, queue: Queue) -> None:
    queue.put(0)

    async def work() -> None:
        sent = asyncio.Event()

        async def handler(name: str, feed: Feed) -> None:
            for job in await feed.take():
                feed.done(job)
            await sent.wait()

        async with dispatching(database, handler):
            await until(lambda: queue.states() == ["done"], "it is recorded while the worker works on")
            sent.set()

    run(work())


def test_a_handler_that_waits_is_woken_too(database: Database, queue: Queue) -> None:
    took: list[float] = []

    async def handler(name: str, feed: Feed) -> None:
        batch = await feed.take()
        while batch:
            for job in batch:
                feed.done(job)
            started = time.monotonic()
            batch = await feed.take(wait=20)
            took.append(time.monotonic() - started)

    async def work() -> None:
        async with dispatching(database, handler) as dispatcher:
            queue.put(1)
            dispatcher.wake()
            await until(lambda: queue.states() == ["done"], "the first is done")
            queue.put(2)
            dispatcher.wake()
            await until(lambda: queue.states() == ["done", "done"], "the second is done", 3)

    run(work())
    assert took[0] < SOON
    assert took[-1] < SOON  # the stop woke it


def test_waking_after_the_end_harms_nobody(database: Database) -> None:
    async def work() -> Dispatcher:
        async with dispatching(database, {}) as dispatcher:
            pass
        return dispatcher

    asyncio.run(work()).wake()


def test_a_lane_may_have_several_workers_that_share_no_job(database: Database, queue: Queue) -> None:
    seen: list[int] = []
    together = asyncio.Event()
    inside = most = 0

    async def handler(name: str, feed: Feed) -> None:
        nonlocal inside, most
        while batch := await feed.take():
            inside += 1
            most = max(most, inside)
            if most == 3:
                together.set()
            await asyncio.wait_for(together.wait(), 10)
            for job in batch:
                seen.append(job.subject)
                feed.done(job)
            inside -= 1

    async def work() -> None:
        queue.put(*range(BATCH * 3))
        async with dispatching(database, handler, concurrency=3):
            await until(lambda: queue.states() == ["done"] * BATCH * 3, "all is done")

    run(work())
    assert sorted(seen) == list(range(BATCH * 3))
    assert most == 3


# --- stopping --------------------------------------------------------------------------------------------


def test_stopping_returns_the_leases(database: Database, queue: Queue) -> None:
    entered = asyncio.Event()

    async def handler(name: str, feed: Feed) -> None:
        await feed.take()
        entered.set()
        await asyncio.Event().wait()

    async def work() -> None:
        queue.put(1, 2)
        async with dispatching(database, handler, grace=0.1):
            await entered.wait()
            started = time.monotonic()
        assert time.monotonic() - started < SOON

    run(work())
    assert queue.states() == ["ready", "ready"]
    assert [row["failures"] for row in queue.rows()] == [0, 0]
    assert queue.breaker()[0] == 0


def test_stopping_returns_what_is_just_being_claimed(
    database: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim is committed, and the handler that asked for it is cancelled before it has it."""
    claimed, go = asyncio.Event(), asyncio.Event()
    real = LaneWork.claim

    async def claim(self: LaneWork, lane: Lane, limit: int, *, stat_only: bool = False) -> Sequence[jobs.Job]:
        leased = await real(self, lane, limit, stat_only=stat_only)
        claimed.set()
        await go.wait()
        return leased

    monkeypatch.setattr(LaneWork, "claim", claim)

    async def handler(name: str, feed: Feed) -> None:
        try:
            await feed.take()
        finally:
            go.set()

    async def work() -> None:
        queue.put(1, 2)
        async with dispatching(database, handler, grace=0.1):
            await claimed.wait()

    run(work())
    assert queue.states() == ["ready", "ready"]


def test_stopping_lets_a_handler_finish_its_job_and_gives_it_no_new_one(database: Database, queue: Queue) -> None:
    go, entered = asyncio.Event(), asyncio.Event()

    async def handler(name: str, feed: Feed) -> None:
        while batch := await feed.take():
            entered.set()
            await go.wait()
            for job in batch:
                feed.done(job)
            queue.put(99)

    async def work() -> None:
        queue.put(1)
        async with dispatching(database, handler, grace=10) as dispatcher:
            await entered.wait()
            stopping = asyncio.ensure_future(dispatcher.stop(10))
            await remains(lambda: not stopping.done())
            go.set()
            await stopping

    run(work())
    assert queue.states() == ["done", "ready"]


def test_stopping_starts_nothing_new(database: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dispatcher was just asking for due lanes when the stop came."""
    started: list[str] = []
    asked = asyncio.Event()

    async def handler(name: str, feed: Feed) -> None:
        started.append(name)

    async def work() -> None:
        dispatcher = Dispatcher(database, {LaneKind.DELIVER: handler}, QUICK, "host:1")
        real = database.read

        def read(query: Any, *args: Any) -> Any:
            future = real(query, *args)
            if query is lanes.look:
                asked.set()
            return future

        monkeypatch.setattr(database, "read", read)
        queue.put(1)
        running = asyncio.ensure_future(dispatcher.run())
        await asked.wait()
        await dispatcher.stop(1)
        await running

    run(work())
    assert started == []
    assert queue.states() == ["ready"]
