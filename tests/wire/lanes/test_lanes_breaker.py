"""Checks when the breaker of a lane opens, what it keeps closed and when it closes."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from typing import Any

import pytest
from sqlalchemy import Connection
from support.loops import remains, run, takes, until
from support.queue.lanes import Queue, dispatching

from broker.errors import PeerFault
from broker.queue.feed import Feed
from broker.queue.retry_policy import RetryPolicy
from broker.store import lanes
from broker.store.db.database import Database


def test_a_destination_that_is_away_opens_the_breaker_and_is_tried_again(database: Database, queue: Queue) -> None:
    tries: list[float] = []

    async def handler(name: str, feed: Feed) -> None:
        taken = await feed.take()
        tries.append(time.monotonic())
        if len(tries) < 4:
            raise PeerFault("away", code="connect-failed")
        for job in taken:
            feed.done(job)

    async def work() -> None:
        queue.put(1, 2)
        async with dispatching(database, handler):
            await until(lambda: queue.breaker()[0] == 2, "it failed twice")
            assert queue.breaker()[2] == "connect-failed"
            await until(lambda: queue.states() == ["done", "done"], "it is done")
            await until(lambda: queue.breaker() == (0, 0.0, ""), "the breaker is closed")

    run(work())
    rows = queue.rows()
    assert [row["failures"] for row in rows] == [0, 0]  # not the fault of the objects
    assert [row["attempts"] for row in rows] == [4, 4]
    assert all(later - earlier > 0.015 for earlier, later in itertools.pairwise(tries))


def test_a_breaker_keeps_the_lane_closed_and_no_other(database: Database, queue: Queue) -> None:
    tries = {"pacs": 0, "cad": 0}

    async def handler(name: str, feed: Feed) -> None:
        tries[name] += 1
        for job in await feed.take():
            if name == "pacs":
                raise PeerFault("away")
            feed.done(job)

    async def work() -> None:
        queue.put(1)
        queue.put(1, lane="deliver:cad")
        async with dispatching(database, handler, policy=RetryPolicy(30, 60, 1000)):
            await until(lambda: queue.breaker()[0] == 1, "the breaker is open")
            await until(lambda: queue.states("deliver:cad") == ["done"], "the other lane works")
            queue.put(2)
            queue.put(2, lane="deliver:cad")
            await until(lambda: queue.states("deliver:cad") == ["done"] * 2, "the other lane works on")
            await remains(lambda: tries["pacs"] == 1, 0.2)
        assert queue.states() == ["ready", "ready"]

    run(work())


def test_a_look_at_the_queue_from_before_a_breaker_opened_starts_nothing(
    database: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []
    looked, broken = threading.Event(), threading.Event()
    real = lanes.look

    def slow(connection: Connection, *given: Any) -> lanes.LanesLook:
        found = real(connection, *given)
        if tries and found[1] and not looked.is_set():  # the lane is at work, its jobs are ready again
            looked.set()
            broken.wait(20)
        return found

    async def handler(name: str, feed: Feed) -> None:
        tries.append(name)
        await until(lambda: looked.is_set(), "the dispatcher looks while the lane works")
        raise PeerFault("away")

    async def work() -> None:
        queue.put(1)
        async with dispatching(database, handler, policy=RetryPolicy(30, 60, 1000)) as dispatcher:
            await until(lambda: tries, "the lane is tried")
            dispatcher.wake()
            await until(lambda: queue.breaker()[0] == 1, "the breaker is open")
            await until(lambda: not dispatcher.busy, "the worker has ended")
            broken.set()
            await remains(lambda: len(tries) == 1, 0.2)

    monkeypatch.setattr(lanes, "look", slow)
    run(work())


def test_several_workers_that_fail_at_once_are_one_broken_lane(database: Database, queue: Queue) -> None:
    async def handler(name: str, feed: Feed) -> None:
        await feed.take()
        await takes(0.05)
        raise PeerFault("away")

    async def work() -> None:
        queue.put(*range(200))
        async with dispatching(database, handler, policy=RetryPolicy(30, 60, 1000), concurrency=3):
            await until(lambda: queue.breaker()[0] >= 1, "the breaker is open")
            await until(lambda: queue.states() == ["ready"] * 200, "all is ready again")

    run(work())


def test_the_lane_of_a_changed_node_is_tried_at_once(database: Database, queue: Queue) -> None:
    """Neither the breaker of the old address nor a job that was put off keeps the new address waiting."""
    away = [True]

    async def handler(name: str, feed: Feed) -> None:
        for job in await feed.take():
            if away[0]:
                feed.retry(job, "connection-lost", item_fault=True)
                raise PeerFault("away", code="connection-lost")
            feed.done(job)

    async def work() -> None:
        queue.put(1)
        queue.put(1, lane="deliver:cad")
        async with dispatching(database, handler, policy=RetryPolicy(600, 900, 10_000)) as dispatcher:
            await until(lambda: queue.breaker()[0] == 1 and queue.breaker("deliver:cad")[0] == 1, "both are closed")
            away[0] = False
            dispatcher.begin_afresh(["pacs"])
            await until(lambda: queue.states() == ["done"], "the changed node has it", 5)
        assert queue.breaker() == (0, 0.0, "")
        assert queue.states("deliver:cad") == ["ready"]
        assert queue.breaker("deliver:cad")[0] == 1

    run(work())


def test_a_failure_at_the_old_address_does_not_close_the_lane_to_the_new_one(database: Database, queue: Queue) -> None:
    began, changed = asyncio.Event(), asyncio.Event()

    async def handler(name: str, feed: Feed) -> None:
        taken = await feed.take()
        if not changed.is_set():
            began.set()
            await changed.wait()
            raise PeerFault("the old address", code="unreachable")
        for job in taken:
            feed.done(job)

    async def work() -> None:
        queue.put(1)
        async with dispatching(database, handler, policy=RetryPolicy(600, 900, 10_000)) as dispatcher:
            await began.wait()
            dispatcher.begin_afresh(["pacs"])
            await asyncio.sleep(0.2)
            changed.set()
            await until(lambda: queue.states() == ["done"], "it went to the new address", 5)

    run(work())


def test_a_sign_of_life_ends_the_wait_of_a_lane_but_not_again_and_again(database: Database, queue: Queue) -> None:
    tries = {"pacs": 0, "cad": 0}

    async def handler(name: str, feed: Feed) -> None:
        tries[name] += 1
        await feed.take()
        raise PeerFault("away", code="connect-failed")

    async def work() -> None:
        queue.put(1)
        queue.put(1, lane="deliver:cad")
        async with dispatching(database, handler, policy=RetryPolicy(600, 900, 10_000)) as dispatcher:
            await until(lambda: queue.breaker()[0] == 1 and queue.breaker("deliver:cad")[0] == 1, "both are closed")
            await asyncio.to_thread(dispatcher.alive, "pacs")
            await until(lambda: queue.breaker()[0] == 2, "it is tried at once, and its failures go on counting", 5)
            dispatcher.alive("pacs")
            dispatcher.alive("nobody")
            await remains(lambda: tries == {"pacs": 2, "cad": 1}, 0.2)

    run(work())
