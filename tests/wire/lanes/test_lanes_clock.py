"""A step of the clock neither doubles nor delays work, and gives none up. TM-01."""

from __future__ import annotations

from collections import Counter

import pytest
from support.loops import run, until
from support.queue.lanes import PACS, Queue, dispatching

from broker.model.lane import Lane, LaneKind
from broker.queue.feed import Feed
from broker.queue.retry_policy import RetryPolicy
from broker.store import lanes
from broker.store.db import clock
from broker.store.db.database import Database

HOUR, YEAR = 3600.0, 365 * 86_400.0
SLOW = RetryPolicy(first=300, last=600, give_up=1000)
OTHER = Lane(LaneKind.DELIVER, "other").name


@pytest.fixture
def queue(database: Database) -> Queue:
    return Queue(database)


@pytest.mark.parametrize("step", [HOUR, -HOUR, YEAR, -YEAR])
def test_tm_01_a_step_during_leases_and_retries(
    database: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    real, ahead = clock.now, [0.0]
    monkeypatch.setattr(clock, "now", lambda connection: real(connection) + ahead[0])
    runs: Counter[str] = Counter()
    looks: list[object] = []
    look = lanes.look
    monkeypatch.setattr(lanes, "look", lambda *args: looks.append(1) or look(*args))

    async def handler(name: str, feed: Feed) -> None:
        for job in await feed.take():
            runs[name] += 1
            if name == "other":  # works all the while
                await until(lambda: queue.states() == ["done"], "the clock was set, and the other job is done")
                looks.clear()
                await until(lambda: len(looks) > 1, "looks by the new time")
                feed.done(job)
            elif runs[name] == 1:
                feed.retry(job, "busy", item_fault=False)
            else:
                feed.done(job)

    async def work() -> None:
        queue.put(1)
        queue.put(2, lane=OTHER)
        async with dispatching(database, handler, policy=SLOW):
            await until(lambda: queue.errors() == ["busy"] and queue.states(OTHER) == ["leased"], "they are at work")
            assert queue.states() == ["ready"]
            ahead[0] = step
            await until(lambda: queue.states(OTHER) == ["done"], "all is done")

    run(work())
    assert runs == {"pacs": 2, "other": 1}
    assert PACS == "deliver:pacs"
