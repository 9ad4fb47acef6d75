"""Checks that a lane whose node is paused sends nothing, in all processes and over restarts, and gives nothing up."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from support.delivery.hospital import Hospital, pacs
from support.loops import remains, run, until
from support.queue.lanes import Queue, dispatching

from broker.errors import PeerFault
from broker.queue import lane_work
from broker.queue.feed import Feed
from broker.queue.retry_policy import RetryPolicy
from broker.queue.steering import QueueSteering, Steering
from broker.store import jobs
from broker.store.db.database import Database
from broker.store.queued import pauses


def who() -> Steering:
    return Steering(actor="user:anna", at=time.time(), reason="new disks")


async def send_all(name: str, feed: Feed) -> None:
    while taken := await feed.take():
        for job in taken:
            feed.done(job)


def test_a_paused_node_gets_nothing_until_it_is_resumed(database: Database, queue: Queue) -> None:
    steering = QueueSteering(database, lambda: None)
    steering.pause("pacs", who())

    async def work() -> None:
        queue.put(1, 2)
        queue.put(1, lane="deliver:cad")
        async with dispatching(database, send_all):
            await until(lambda: queue.states("deliver:cad") == ["done"], "the other node has its object")
        async with dispatching(database, send_all, owner="host:2"):  # the broker started again
            await remains(lambda: queue.states() == ["ready", "ready"], 0.2)
            steering.resume("pacs", who())  # by another process: nobody rings
            await until(lambda: queue.states() == ["done", "done"], "it is sent")

    run(work())
    assert [row["attempts"] for row in queue.rows()] == [1, 1]


def test_a_pause_stops_a_lane_after_the_object_in_flight(database: Database, queue: Queue) -> None:
    steering = QueueSteering(database, lambda: None)  # in another process: nobody rings
    begun: list[int] = []

    async def work() -> None:
        going = asyncio.Event()

        async def handler(name: str, feed: Feed) -> None:
            while taken := await feed.take(wait=30):
                for job in taken:
                    if feed.paused:
                        return
                    if name == "cad":
                        feed.done(job)
                        continue
                    begun.append(job.subject)
                    await going.wait()
                    if len(begun) == 2:
                        steering.pause("pacs", who())
                        await until(lambda: feed.stopping, "the lane knows of it")
                    feed.done(job)

        queue.put(*range(64))
        queue.put(1, lane="deliver:cad")
        async with dispatching(database, handler, grace=5):
            await until(lambda: begun, "the first is in flight")
            going.set()
            await until(lambda: queue.states() == ["done"] * 2 + ["ready"] * 62, "the others are given back")
            assert queue.states("deliver:cad") == ["done"]
            await remains(lambda: begun.count(2) == 0, 0.1)
            steering.resume("pacs", who())
            await until(lambda: queue.states() == ["done"] * 64, "the rest is sent")

    run(work())


def test_a_paused_destination_gets_no_more_of_what_was_taken(hospital: Hospital) -> None:
    hospital.slices(40)
    steering = QueueSteering(hospital.database, lambda: None)
    taken: list[Any] = []

    async def work() -> None:
        delivery = hospital.delivery()
        async with dispatching(hospital.database, delivery) as lanes:
            await until(lambda: len(taken) > 3, "it is at work")
            await asyncio.to_thread(steering.pause, "pacs", who())
            lanes.wake()
            await until(lambda: set(hospital.states()) == {"done", "ready"}, "the others are given back")
            sent = len(taken)
            assert hospital.states().count("done") == sent < 40
            await remains(lambda: len(taken) == sent, 0.2)
            await asyncio.to_thread(steering.resume, "pacs", who())
            await until(lambda: hospital.states() == ["done"] * 40, "the rest is sent")
        await delivery.close()

    def answer(event: Any) -> int:
        taken.append(event.request.AffectedSOPInstanceUID)
        threading.Event().wait(0.02)  # it is as slow as that
        return 0

    with pacs(hospital, answer):
        run(work())
    assert len(set(taken)) == len(taken)


def test_a_node_drains_while_new_work_waits(database: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_work, "LEASE", 0.4)
    steering = QueueSteering(database, lambda: None)
    queue.put(1, 2)
    steering.pause("pacs", who(), drain=True)
    queue.put(3)

    async def work() -> None:
        async with dispatching(database, send_all) as lanes:
            await until(lambda: not database.read(pauses.find).result(10)[0].draining, "it is drained")
            assert queue.states() == ["done", "done", "ready"]
            await remains(lambda: queue.states() == ["done", "done", "ready"], 0.2)
            steering.resume("pacs", who())
            lanes.wake()
            await until(lambda: queue.states() == ["done"] * 3, "the rest is sent")

    run(work())


def test_nothing_is_given_up_in_a_pause_or_just_after_it(database: Database, queue: Queue) -> None:
    """It was tried for nearly as long as anything is, and then waits for long."""
    steering = QueueSteering(database, lambda: None)
    policy = RetryPolicy(first=0.01, last=0.01, give_up=0.4)
    tries = 0

    async def away(name: str, feed: Feed) -> None:
        nonlocal tries
        await feed.take()
        tries += 1
        raise PeerFault("away")

    async def work() -> None:
        queue.put(1)
        async with dispatching(database, away, policy=policy):
            await until(lambda: tries > 2, "it was tried")
            steering.pause("pacs", who())
            await until(lambda: queue.states() == ["ready"], "nobody has it")
            await remains(lambda: queue.states() == ["ready"], 0.5)
            before = tries
            steering.resume("pacs", who())
            await until(lambda: tries > before, "it is tried again")
            assert queue.states() != ["held"]
            await until(lambda: queue.states() == ["held"], "it was tried for too long")
            assert queue.errors() == ["gave-up"]

    run(work())


def test_retry_sends_at_once_what_waits_behind_a_breaker(database: Database, queue: Queue) -> None:
    steering = QueueSteering(database, lambda: None)
    database.execute(jobs.open_breaker, "deliver:pacs", 3, time.time() + 600, "aborted")

    async def work() -> None:
        queue.put(1, at=time.time() - 5)
        async with dispatching(database, send_all, policy=RetryPolicy(600, 600, 9000)):
            await remains(lambda: queue.states() == ["ready"], 0.1)
            assert steering.retry([row["id"] for row in queue.rows()], who()).lanes == {"deliver:pacs": 1}
            await until(lambda: queue.states() == ["done"], "it is sent")

    run(work())
