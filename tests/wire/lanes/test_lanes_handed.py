"""What was just received goes to the worker of its lane in memory, and back when the lane is not ready."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from support.loops import remains, run, until
from support.queue.lanes import PACS, Queue, dispatching

from broker.errors import PeerFault
from broker.queue import dispatcher as queue_dispatcher
from broker.queue import hand_over, lane_work
from broker.queue.dispatcher import Dispatcher
from broker.queue.feed import Feed
from broker.queue.hand_over import Handed, Reservation
from broker.store import jobs
from broker.store.db.database import Database
from broker.store.images.instances import StoredObject
from broker.store.jobs import Job, NewJob
from broker.store.queued import pauses


@pytest.fixture(autouse=True)
def rare_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is handed over needs no look."""
    monkeypatch.setattr(queue_dispatcher, "POLL", 30)


def the_object(subject: int) -> StoredObject:
    return StoredObject(
        id=subject,
        sop_instance_uid="",
        sop_class_uid="",
        transfer_syntax_uid="",
        path="",
        data_offset=0,
        data_length=1,
        digest=b"",
        content=b"x",
    )


class Sender:
    """A handler that sends all it gets; what came with each job is kept."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.brought: list[int] = []  # subjects whose object came along
        self.faults: list[Exception] = []
        self.go: Callable[[], Any] | None = None  # called before each is sent; may wait

    async def __call__(self, name: str, feed: Feed) -> None:
        while batch := await feed.take():
            for job in batch:
                if self.faults:
                    raise self.faults.pop()
                if self.go is not None:
                    await self.go()
                if (item := feed.brought(job)) is not None:
                    assert item.id == job.subject
                    self.brought.append(job.subject)
                self.sent.append(job.subject)
                feed.done(job)


class Reception:
    """Commits as a reception does, in a thread of its own."""

    def __init__(self, database: Database, dispatcher: Dispatcher) -> None:
        self.database, self.dispatcher = database, dispatcher

    def reserve(self, lane: str = PACS) -> Reservation | None:
        return self.dispatcher.hand_over.reserve([lane])

    def commit(self, reservation: Reservation | None, subject: int, priority: int = 5) -> list[Handed]:
        """The transaction; what it leased."""
        new = NewJob(kind="deliver", lane=PACS, subject=subject, detail={}, priority=priority)
        job: Job | None = None
        if reservation is not None:
            owner, until_ = reservation.owner, reservation.until
            job = self.database.submit(jobs.enqueue_leased, new, time.time(), owner, until_).result(10)
        if job is None:
            self.database.submit(jobs.enqueue, [new], time.time()).result(10)
            return []
        return [Handed(job, the_object(subject), priority)]

    def take(self, *subjects: int, priority: int = 5) -> None:
        for subject in subjects:
            reservation = self.reserve()
            handed = self.commit(reservation, subject, priority)
            if reservation is not None:
                self.dispatcher.hand_over.hand(reservation, handed)
            if not handed:
                self.dispatcher.wake()

    async def takes(self, *subjects: int, priority: int = 5) -> None:
        await asyncio.to_thread(lambda: self.take(*subjects, priority=priority))


async def opened(queue: Queue, place: Reception, sender: Sender) -> None:
    """The lane has done something, and nothing is left for it."""
    await place.takes(1)
    await until(lambda: place.dispatcher.hand_over.names == [PACS], "the lane is open")
    assert (sender.sent, sender.brought) == ([1], [])


def test_what_comes_to_an_open_lane_is_never_ready_and_is_not_read(database: Database, queue: Queue) -> None:
    sender = Sender()

    async def work() -> None:
        async with dispatching(database, sender) as dispatcher:
            place = Reception(database, dispatcher)
            await opened(queue, place, sender)
            sender.go = lambda: until(lambda: "ready" not in queue.states(), "nothing is claimed")
            await place.takes(2, 3, 4)
            await until(lambda: queue.states() == ["done"] * 4, "all are done")
            assert sender.brought == [2, 3, 4]
            assert [row["attempts"] for row in queue.rows()] == [1] * 4

    run(work())


def test_the_next_object_is_taken_by_a_worker_that_has_ended_meanwhile(
    database: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = Sender()

    async def work() -> None:
        async with dispatching(database, sender) as dispatcher:
            place = Reception(database, dispatcher)
            await opened(queue, place, sender)
            for number in (2, 3):
                await until(lambda: not dispatcher.busy, "nobody waits any more")
                await place.takes(number)
                await until(lambda n=number: queue.states() == ["done"] * n, "it is done")
            assert sender.brought == [2, 3]

    monkeypatch.setattr("broker.queue.feed.LINGER", 0.05)
    run(work())


def test_what_is_urgent_goes_first(database: Database, queue: Queue) -> None:
    sender, go = Sender(), asyncio.Event

    async def work() -> None:
        async with dispatching(database, sender) as dispatcher:
            place, gate = Reception(database, dispatcher), go()
            await opened(queue, place, sender)
            sender.go = gate.wait
            await place.takes(2)
            await until(lambda: not dispatcher.hand_over.waits(PACS), "the first is in hand")
            await place.takes(3)
            await place.takes(4, priority=1)
            gate.set()
            await until(lambda: queue.states() == ["done"] * 4, "all are done")
            assert sender.sent == [1, 2, 4, 3]

    run(work())


def test_a_paused_node_is_handed_nothing(database: Database, queue: Queue) -> None:
    """Also if this process has not heard of the pause: the transaction of the reception sees it."""
    sender = Sender()

    async def work() -> None:
        async with dispatching(database, sender) as dispatcher:
            place = Reception(database, dispatcher)
            await opened(queue, place, sender)
            await asyncio.to_thread(
                lambda: database.submit(
                    lambda connection: pauses.pause(connection, "pacs", time.time(), "tests", "", drain=False)
                ).result(10)
            )
            reservation = place.reserve()
            assert reservation is not None
            assert place.commit(reservation, 2) == []
            dispatcher.hand_over.hand(reservation, [])
            assert queue.states() == ["done", "ready"]
            dispatcher.wake()
            await until(lambda: not dispatcher.hand_over.names, "the lane is closed")
            await remains(lambda: queue.states() == ["done", "ready"])

    run(work())


@pytest.mark.parametrize("many", [1, 5])
def test_a_lane_that_fails_gives_all_back(
    database: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr(queue_dispatcher, "POLL", 0.03)
    sender = Sender()
    numbers = list(range(2, 2 + many))

    async def work() -> None:
        async with dispatching(database, sender) as dispatcher:
            place = Reception(database, dispatcher)
            await opened(queue, place, sender)
            gate = asyncio.Event()

            async def fail() -> None:
                await gate.wait()
                sender.go = None
                raise PeerFault("away", code="refused")

            sender.go = fail
            await place.takes(*numbers)
            gate.set()
            await until(lambda: queue.breaker()[0] == 1, "the breaker is open")
            assert dispatcher.hand_over.names == []
            assert set(queue.states()[1:]) <= {"ready", "leased", "done"}
            dispatcher.wake()
            await until(lambda: queue.states() == ["done"] * (many + 1), "all are done")
            assert [row["attempts"] for row in queue.rows()] == [1] + [2] * many
            assert sender.sent == [1, *numbers]

    run(work())


def test_what_comes_to_a_lane_that_closed_meanwhile_goes_back(database: Database, queue: Queue) -> None:
    sender = Sender()

    async def work() -> None:
        async with dispatching(database, sender) as dispatcher:
            place = Reception(database, dispatcher)
            await opened(queue, place, sender)
            reservation = place.reserve()
            handed = await asyncio.to_thread(place.commit, reservation, 2)
            assert reservation is not None
            assert queue.states() == ["done", "leased"]
            dispatcher.hand_over.close_all([PACS])
            dispatcher.hand_over.hand(reservation, handed)
            await until(lambda: queue.states() == ["done", "done"], "it is done")
            assert sender.brought == []
            assert [row["attempts"] for row in queue.rows()] == [1, 2]

    run(work())


def test_a_lane_holds_so_many_and_no_more(database: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand_over, "ROOM", 3)
    sender = Sender()

    async def work() -> None:
        async with dispatching(database, sender) as dispatcher:
            place, gate = Reception(database, dispatcher), asyncio.Event()
            await opened(queue, place, sender)
            sender.go = gate.wait
            await place.takes(2)
            await until(lambda: not dispatcher.hand_over.waits(PACS), "the first is in hand")
            failed = place.reserve()
            assert failed is not None
            dispatcher.hand_over.hand(failed, [])  # its transaction failed: its room is free again
            await place.takes(3, 4, 5)
            assert place.reserve() is None
            await place.takes(6, 7)
            assert queue.states() == ["done", *["leased"] * 4, "ready", "ready"]
            gate.set()
            await until(lambda: queue.states() == ["done"] * 7, "all are done")
            assert sorted(sender.sent) == [1, 2, 3, 4, 5, 6, 7]

    run(work())


def test_work_that_waits_in_the_database_is_not_left_lying_while_objects_come(database: Database, queue: Queue) -> None:
    sender = Sender()

    async def work() -> None:
        async with dispatching(database, sender) as dispatcher:
            place, stop = Reception(database, dispatcher), threading.Event()
            await opened(queue, place, sender)

            def flood() -> None:
                number = 100
                while not stop.is_set():
                    place.take(number)
                    number += 1

            flooding = asyncio.get_running_loop().run_in_executor(None, flood)
            try:
                await until(lambda: len(sender.brought) > 5, "they come")
                queue.put(50)
                dispatcher.wake()
                await until(lambda: 50 in sender.sent, "it is sent")
            finally:
                stop.set()
                await flooding
            await until(lambda: set(queue.states()) == {"done"}, "all are done")
            assert len(sender.sent) == len(set(sender.sent))

    run(work())


def test_a_lane_that_rests_gives_all_back(database: Database, queue: Queue) -> None:
    sender, workers = Sender(), 1

    async def work() -> None:
        nonlocal workers
        async with dispatching(database, sender, concurrency=lambda: workers) as dispatcher:
            place = Reception(database, dispatcher)
            await opened(queue, place, sender)
            await until(lambda: not dispatcher.busy, "nobody waits any more")
            workers = 0
            await place.takes(2)
            await until(lambda: queue.states() == ["done", "ready"], "it waits")
            assert dispatcher.hand_over.names == []
            workers = 1
            dispatcher.begin_afresh(["pacs"])
            await until(lambda: queue.states() == ["done", "done"], "it is done")

    run(work())


def test_what_is_handed_over_while_the_broker_stops_waits_for_the_next_start(database: Database, queue: Queue) -> None:
    sender = Sender()
    held: Sequence[Handed] = []

    async def work() -> None:
        nonlocal held
        async with dispatching(database, sender, grace=0.05) as dispatcher:
            place = Reception(database, dispatcher)
            await opened(queue, place, sender)
            sender.go = asyncio.Event().wait
            await place.takes(2, 3)
            late = place.reserve()
            held = await asyncio.to_thread(place.commit, late, 4)
        assert late is not None
        assert queue.states() == ["done", "ready", "ready", "leased"]
        dispatcher.hand_over.hand(late, held)  # nobody looks any more
        assert place.reserve() is None

    run(work())
    assert queue.states() == ["done", "ready", "ready", "leased"]
    assert database.submit(lambda c: jobs.free_leases(c, owner_prefix="host:")).result(10) == 1
    assert queue.states() == ["done", "ready", "ready", "ready"]


def test_leases_are_renewed_of_what_is_not_yet_in_hand(
    database: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_work, "LEASE", 0.4)
    monkeypatch.setattr(queue_dispatcher, "POLL", 0.03)
    sender = Sender()

    async def work() -> None:
        async with dispatching(database, sender) as dispatcher:
            place, gate = Reception(database, dispatcher), asyncio.Event()
            await opened(queue, place, sender)
            sender.go = gate.wait
            await place.takes(2)
            await until(lambda: not dispatcher.hand_over.waits(PACS), "the first is in hand")
            await place.takes(3)
            first = queue.rows()[2]["lease_until"]
            await until(lambda: queue.rows()[2]["lease_until"] > first + 0.6, "the lease was renewed")
            gate.set()
            await until(lambda: queue.states() == ["done"] * 3, "all are done")
            assert [row["attempts"] for row in queue.rows()] == [1, 1, 1]

    run(work())
