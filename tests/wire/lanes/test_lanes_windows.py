"""Checks that a lane sends nothing while the send window of its node is closed, but what is STAT if that passes."""

from __future__ import annotations

import asyncio

import pytest
from support.loops import remains, run, until
from support.queue.lanes import PACS, Queue, dispatching

from broker.model.lane import STAT
from broker.queue.feed import Feed
from broker.store.claims import LAST
from broker.store.db.database import Database

CAD = "deliver:cad"


async def send_all(name: str, feed: Feed) -> None:
    while taken := await feed.take():
        for job in taken:
            feed.done(job)


@pytest.mark.parametrize("passes", [False, True])
def test_a_closed_lane_waits_until_it_opens(database: Database, queue: Queue, passes: bool) -> None:
    closed = {PACS: passes}

    async def work() -> None:
        queue.put(1, 2)
        queue.put(3, priority=STAT)
        queue.put(1, lane=CAD)
        async with dispatching(database, send_all, closed=lambda: closed) as lanes:
            stat = "done" if passes else "ready"
            await until(lambda: queue.states(CAD) == ["done"], "the other node has its object")
            await until(lambda: queue.states() == ["ready", "ready", stat], "only what may pass is sent")
            lanes.wake()
            await remains(lambda: queue.states() == ["ready", "ready", stat], 0.2)
            closed.clear()  # nobody rings
            await until(lambda: queue.states() == ["done"] * 3, "it is sent")

    run(work())
    assert [row["attempts"] for row in queue.rows()] == [1, 1, 1]


def test_a_lane_that_closes_ends_after_the_object_in_flight(database: Database, queue: Queue) -> None:
    closed: dict[str, bool] = {}
    begun: list[int] = []

    async def work() -> None:
        going = asyncio.Event()

        async def handler(name: str, feed: Feed) -> None:
            while taken := await feed.take(wait=30):
                for job in taken:
                    if feed.stopping:
                        return
                    begun.append(job.subject)
                    await going.wait()
                    feed.done(job)

        queue.put(*range(10))
        async with dispatching(database, handler, closed=lambda: closed, grace=5) as lanes:
            await until(lambda: begun, "the first is in flight")
            closed[PACS] = True
            queue.put(20, priority=STAT)
            lanes.wake()
            await asyncio.sleep(0)
            await until(lambda: lanes._closed == closed, "it knows")
            await until(lambda: not lanes.hand_over.names, "nothing is handed over")
            await until(lambda: all(feed.stopping or feed.stat_only for feed in lanes._work._feeds), "it is to end")
            going.set()
            await until(lambda: queue.states() == ["done"] + ["ready"] * 9 + ["done"], "only what is STAT goes on")
            await remains(lambda: begun == [0, 20], 0.1)
            closed.clear()
            await until(lambda: queue.states() == ["done"] * 11, "the rest is sent")

    run(work())


def test_what_is_in_doubt_waits_for_the_window(database: Database, queue: Queue) -> None:
    closed = {PACS: True}

    async def work() -> None:
        queue.put(1, priority=STAT + LAST)
        queue.put(2, priority=STAT)
        async with dispatching(database, send_all, closed=lambda: closed):
            await until(lambda: queue.states() == ["ready", "done"], "what is in no doubt is sent")
            closed.clear()
            await until(lambda: queue.states() == ["done", "done"], "it is sent")

    run(work())
