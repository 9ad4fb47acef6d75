"""Lanes with scripted handlers, and deliveries to real destinations that behave, refuse, break off or fall silent."""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pynetdicom import AE, evt
from sqlalchemy import Connection, select, update
from structlog.testing import capture_logs
from support.dicom.objects import Encoded, ct_slice
from support.loops import remains, run, takes, until
from support.peers.peers import received, storescp
from support.peers.tools import wait_until
from support.store.spool import spool_files

from broker.delivery import lane as delivery
from broker.delivery.lane import DicomDelivery
from broker.dicom import uids
from broker.dicom.dimse.message import Peer
from broker.dicom.wire import negotiation as neg
from broker.errors import PeerFault, StoreUnavailable
from broker.model.lane import Lane, LaneKind
from broker.queue import lane as module
from broker.queue.lane import Dispatcher, Feed
from broker.queue.policy import RetryPolicy
from broker.routing.reception import Arrival, Reception
from broker.routing.rules import parse_rules
from broker.site import remotes
from broker.site.nodes import Node, parse_nodes
from broker.site.remotes import Remotes
from broker.store import jobs
from broker.store.db.database import Database
from broker.store.images.spool import Spool
from broker.store.jobs import NewJob
from broker.store.schema import tables

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
QUICK = RetryPolicy(first=0.02, last=0.05, give_up=1000)
PACS = "deliver:pacs"
Work = Callable[[str, Feed], Awaitable[None]]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'broker.db'}")
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL", 0.03)


class Queue:
    """A view of the job table."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def put(self, *subjects: int, lane: str = PACS, kind: str = "deliver", at: float | None = None) -> None:
        new = [NewJob(kind, lane, subject, {}) for subject in subjects]
        self.database.submit(jobs.enqueue, new, time.time() if at is None else at).result(10)

    def rows(self, lane: str = PACS) -> list[Any]:
        query = select(tables.job).where(tables.job.c.lane == lane).order_by(tables.job.c.subject)
        return self.database.read(lambda connection: list(connection.execute(query).mappings())).result(10)

    def states(self, lane: str = PACS) -> list[str]:
        return [row["state"] for row in self.rows(lane)]

    def errors(self, lane: str = PACS) -> list[str]:
        return [row["last_error"] for row in self.rows(lane)]

    def breaker(self, lane: str = PACS) -> tuple[int, float, str]:
        return self.database.read(jobs.breakers).result(10).get(lane, (0, 0.0, ""))


@pytest.fixture
def queue(database: Database) -> Queue:
    return Queue(database)


@asynccontextmanager
async def dispatching(
    database: Database, handler: Work | dict[LaneKind, Work], *, policy: RetryPolicy = QUICK, owner: str = "host:1",
    concurrency: int = 1, grace: float = 1,
) -> AsyncIterator[Dispatcher]:  # fmt: skip
    handlers = handler if isinstance(handler, dict) else {LaneKind.DELIVER: handler}
    dispatcher = Dispatcher(database, handlers, policy, owner, lambda _: concurrency)
    running = asyncio.ensure_future(dispatcher.run())
    try:
        yield dispatcher
    finally:
        await dispatcher.stop(grace)
        await running


# --- the good case ---------------------------------------------------------------------------------------


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


def test_new_work_is_seen_at_once_when_woken(database: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL", 30)

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
    monkeypatch.setattr(module, "POLL", 30)

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
    assert took[0] < 3
    assert took[-1] < 3  # the stop woke it


def test_waking_after_the_end_harms_nobody(database: Database) -> None:
    async def work() -> Dispatcher:
        async with dispatching(database, {}) as dispatcher:
            pass
        return dispatcher

    asyncio.run(work()).wake()


# --- faults ----------------------------------------------------------------------------------------------


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
    real = jobs.due_lanes

    def slow(connection: Connection, now: float) -> list[str]:
        found = real(connection, now)
        if tries and found and not looked.is_set():  # the lane is at work, its jobs are ready again
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
            await until(lambda: not any(dispatcher._running.values()), "the worker has ended")
            broken.set()
            await remains(lambda: len(tries) == 1, 0.2)

    monkeypatch.setattr(jobs, "due_lanes", slow)
    run(work())


def test_a_lane_that_got_something_done_waits_as_after_a_first_failure(database: Database, queue: Queue) -> None:
    async def handler(name: str, feed: Feed) -> None:
        taken = await feed.take()
        feed.done(taken[0])
        raise PeerFault("broke off")

    async def work() -> None:
        queue.put(*range(6))
        async with dispatching(database, handler):
            await until(lambda: queue.states() == ["done"] * 6, "all is done")
            assert queue.breaker()[0] == 1

    run(work())


def test_a_fault_of_the_item_holds_it_after_five_tries(database: Database, queue: Queue) -> None:
    async def handler(name: str, feed: Feed) -> None:
        for job in await feed.take():
            if job.subject == 1:
                feed.retry(job, "odd", item_fault=True)
            else:
                feed.done(job)

    async def work() -> None:
        queue.put(1, 2)
        async with dispatching(database, handler):
            await until(lambda: queue.states() == ["held", "done"], "one is held, one done")

    run(work())
    held = queue.rows()[0]
    assert (held["attempts"], held["last_error"]) == (5, "odd")
    assert queue.breaker()[0] == 0


def test_a_busy_destination_never_holds_an_item(database: Database, queue: Queue) -> None:
    async def handler(name: str, feed: Feed) -> None:
        for job in await feed.take():
            if job.attempts < 12:
                feed.retry(job, "status-A700", item_fault=False)
            else:
                feed.done(job)

    async def work() -> None:
        queue.put(1)
        async with dispatching(database, handler):
            await until(lambda: queue.states() == ["done"], "it is done")

    run(work())
    assert queue.rows()[0]["failures"] == 0


def test_a_defect_counts_against_what_the_handler_held(database: Database, queue: Queue) -> None:
    async def handler(name: str, feed: Feed) -> None:
        for job in await feed.take():
            if job.subject == 1:
                raise KeyError("Canary^Carl")
            feed.done(job)

    async def work() -> None:
        queue.put(1)
        queue.put(5, lane="deliver:cad")
        async with dispatching(database, handler):
            await until(lambda: queue.states() == ["held"], "it is held")
            await until(lambda: queue.states("deliver:cad") == ["done"], "the other lane works")

    with capture_logs() as logs:
        run(work())
    assert queue.errors() == ["handler-defect"]
    assert "Canary" not in str(logs)
    assert [line for line in logs if line["event"] == "lane.defect"]


def test_trouble_of_our_own_store_counts_against_nobody(database: Database, queue: Queue) -> None:
    """The database was away while a handler worked: neither the objects nor the destination are to blame."""
    failed: list[int] = []

    async def handler(name: str, feed: Feed) -> None:
        taken = await feed.take()
        if len(failed) < 8:
            failed.append(1)
            raise StoreUnavailable
        for job in taken:
            feed.done(job)

    async def work() -> None:
        queue.put(1)
        async with dispatching(database, handler):
            await until(lambda: queue.states() == ["done"], "it is done")

    run(work())
    assert queue.rows()[0]["failures"] == 0
    assert queue.breaker()[0] == 0


def test_a_database_that_is_away_does_not_end_the_dispatcher(
    database: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, away = database.read, [5]

    def read(query: Any, *args: Any) -> Any:
        if query is jobs.due_lanes and away[0]:
            away[0] -= 1
            return real(broken)
        return real(query, *args)

    def broken(connection: Connection) -> None:
        raise OSError

    async def handler(name: str, feed: Feed) -> None:
        for job in await feed.take():
            feed.done(job)

    monkeypatch.setattr(database, "read", read)

    async def work() -> None:
        queue.put(1)
        async with dispatching(database, handler):
            await until(lambda: queue.states() == ["done"], "it is done")

    run(work())
    assert away == [0]


def test_what_a_handler_does_not_report_is_put_back(database: Database, queue: Queue) -> None:
    calls: list[int] = []

    async def handler(name: str, feed: Feed) -> None:
        taken = await feed.take()
        calls.append(len(taken))
        if len(calls) > 1:
            for job in taken:
                feed.done(job)

    async def work() -> None:
        queue.put(1, 2)
        async with dispatching(database, handler):
            await until(lambda: queue.states() == ["done", "done"], "all is done")

    run(work())
    assert calls[:2] == [2, 2]
    assert [row["failures"] for row in queue.rows()] == [0, 0]


def test_a_lane_of_unknown_kind_disturbs_nobody(database: Database, queue: Queue) -> None:
    async def handler(name: str, feed: Feed) -> None:
        for job in await feed.take():
            feed.done(job)

    async def work() -> None:
        queue.put(1, lane="commit:pacs", kind="commit")
        queue.put(1)
        async with dispatching(database, handler):
            await until(lambda: queue.states() == ["done"], "the known one is done")
            assert queue.states("commit:pacs") == ["ready"]

    run(work())


# --- giving up -------------------------------------------------------------------------------------------


def test_jobs_are_given_up_after_their_time(database: Database, queue: Queue) -> None:
    async def handler(name: str, feed: Feed) -> None:
        for job in await feed.take():
            if job.subject == 1:
                feed.retry(job, "status-A700", item_fault=False)
        raise PeerFault("away")

    async def work() -> None:
        queue.put(1, 2, at=time.time() - 5000)
        queue.put(3)
        async with dispatching(database, handler):
            await until(lambda: queue.states() == ["held", "held", "ready"], "the old ones are held")

    run(work())
    assert queue.errors()[:2] == ["status-A700", "gave-up"]


# --- leases ----------------------------------------------------------------------------------------------


def test_leases_of_the_dead_are_taken_over(database: Database, queue: Queue) -> None:
    async def handler(name: str, feed: Feed) -> None:
        for job in await feed.take():
            feed.done(job)

    async def work() -> None:
        queue.put(1)
        database.submit(jobs.claim, PACS, "dead:1", time.time(), -1.0, 10).result(10)
        assert queue.states() == ["leased"]
        async with dispatching(database, handler):
            await until(lambda: queue.states() == ["done"], "it is done")

    run(work())
    assert queue.rows()[0]["attempts"] == 2


def test_leases_are_renewed_while_a_handler_works(
    database: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEASE", 0.4)
    runs: list[int] = []

    async def handler(name: str, feed: Feed) -> None:
        for job in await feed.take():
            runs.append(job.fence)
            await takes(1.2)
            feed.done(job)

    async def work() -> None:
        queue.put(1)
        async with dispatching(database, handler), dispatching(database, handler, owner="host:2"):
            await until(lambda: queue.states() == ["done"], "it is done")

    run(work())
    assert runs == [1]


def test_a_report_after_a_lost_lease_is_ignored(database: Database, queue: Queue) -> None:
    async def handler(name: str, feed: Feed) -> None:
        (job,) = await feed.take()
        database.submit(jobs.free_leases, time.time(), owner_prefix="").result(10)
        (other,) = database.submit(jobs.claim, PACS, "other", time.time(), 60.0, 1).result(10)
        assert other.fence == job.fence + 1
        feed.done(job)

    async def work() -> None:
        queue.put(1)
        async with dispatching(database, handler):
            await until(lambda: queue.rows()[0]["fence"] == 2, "the other has it")
        assert queue.states() == ["leased"]

    run(work())


# --- more workers ----------------------------------------------------------------------------------------


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
        queue.put(*range(module.BATCH * 3))
        async with dispatching(database, handler, concurrency=3):
            await until(lambda: queue.states() == ["done"] * module.BATCH * 3, "all is done")

    run(work())
    assert sorted(seen) == list(range(module.BATCH * 3))
    assert most == 3


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
        assert time.monotonic() - started < 2

    run(work())
    assert queue.states() == ["ready", "ready"]
    assert [row["failures"] for row in queue.rows()] == [0, 0]
    assert queue.breaker()[0] == 0


def test_stopping_returns_what_is_just_being_claimed(
    database: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim is committed, and the handler that asked for it is cancelled before it has it."""
    claimed, go = asyncio.Event(), asyncio.Event()
    real = Dispatcher.claim

    async def claim(self: Dispatcher, lane: Lane) -> list[jobs.Job]:
        found = await real(self, lane)
        claimed.set()
        await go.wait()
        return found

    monkeypatch.setattr(Dispatcher, "claim", claim)

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
        real = dispatcher.database.read

        def read(query: Any, *args: Any) -> Any:
            future = real(query, *args)
            if query is jobs.due_lanes:
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


# --- deliveries ------------------------------------------------------------------------------------------


class Hospital:
    """Objects received for node `pacs`, and a delivery that sends them."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.queue = Queue(database)
        self.spool = Spool(folder / "spool")
        rules = parse_rules({"default": {"action": "send", "send": ["pacs"]}}, {"pacs"})
        self.reception = Reception(database, self.spool, rules, ZoneInfo("UTC"), lambda: None, small=0)
        self.nodes: dict[str, Node] = {}

    def take(self, item: Encoded) -> Encoded:
        arrival = Arrival(item.sop_class, item.sop_instance, item.transfer_syntax, Peer("CT01", "BROKER", "::1"))
        self.reception.whole(arrival, item.data)
        return item

    def slices(self, count: int, **attributes: str) -> list[Encoded]:
        return [self.take(ct_slice(1000, **attributes)) for _ in range(count)]

    def destination(self, port: int) -> None:
        table = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": port,
                 "roles": ["destination"]}  # fmt: skip
        self.nodes = {node.name: node for node in parse_nodes([table])}

    def delivery(self) -> DicomDelivery:
        return DicomDelivery(self.database, self.spool, self.nodes.get, Remotes("BROKER", (), None, Path()))

    def states(self) -> list[str]:
        return self.queue.states()

    def until_settled(self, *states: str, policy: RetryPolicy = QUICK) -> None:
        """Run the lane until the jobs, by subject, are in these states."""

        async def work() -> None:
            delivery = self.delivery()
            async with dispatching(self.database, delivery, policy=policy):
                await until(lambda: self.states() == list(states), f"{states}, at last {self.states()}", 15)
            await delivery.close()

        run(work())


@pytest.fixture
def hospital(database: Database, tmp_path: Path) -> Iterator[Hospital]:
    made = Hospital(database, tmp_path)
    yield made
    made.spool.close()


@contextmanager
def pacs(
    hospital: Hospital, answer: Callable[[Any], int], *classes: str,
    released: Callable[[Any], None] = lambda event: None,
) -> Iterator[list[Any]]:  # fmt: skip
    """A pynetdicom destination; the list fills with its associations."""
    accepted: list[Any] = []
    ae = AE(ae_title="PACS")
    for abstract in classes or (CT,):
        ae.add_supported_context(abstract, [uids.EXPLICIT_LE])
    events = [(evt.EVT_C_STORE, answer), (evt.EVT_ACCEPTED, accepted.append), (evt.EVT_RELEASED, released)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=events)
    hospital.destination(server.server_address[1])
    try:
        yield accepted
    finally:
        server.shutdown()


def test_objects_reach_storescp_byte_by_byte(hospital: Hospital, tmp_path: Path) -> None:
    items = [*hospital.slices(5), hospital.take(ct_slice(2_500_000))]
    with storescp(tmp_path / "pacs") as port:
        hospital.destination(port)
        hospital.until_settled(*["done"] * 6)
        assert received(tmp_path / "pacs") == {item.sop_instance: item.data for item in items}


def test_many_objects_share_one_association(hospital: Hospital) -> None:
    hospital.slices(150)
    with pacs(hospital, lambda event: 0) as associations:
        hospital.until_settled(*["done"] * 150)
        assert len(associations) == 1


def test_an_association_stays_for_the_next_object_and_is_released_at_the_end(hospital: Hospital) -> None:
    hospital.slices(1)
    released: list[Any] = []
    with pacs(hospital, lambda event: 0, released=released.append) as associations:

        async def work() -> None:
            delivery = hospital.delivery()
            async with dispatching(hospital.database, delivery) as dispatcher:
                for count in range(1, 6):
                    await until(lambda n=count: hospital.states() == ["done"] * n, "it is done")
                    await until(lambda: not any(dispatcher._running.values()), "the lane has ended")
                    await asyncio.to_thread(hospital.slices, 1)
                    dispatcher.wake()
                await until(lambda: hospital.states() == ["done"] * 6, "all are done")
                assert released == []
            await delivery.close()
            await until(lambda: len(released) == 1, "it is released")

        run(work())
        assert len(associations) == 1


@pytest.mark.parametrize("how", ["while it is idle", "when it is used again"])
def test_an_association_that_the_destination_ended_is_no_fault_of_the_object(hospital: Hospital, how: str) -> None:
    hospital.slices(1)
    stored: list[Any] = []

    def answer(event: Any) -> int:
        first = all(event.assoc is not assoc for assoc in stored)
        stored.append(event.assoc)
        if how == "when it is used again" and not first and len(set(stored)) == 1:
            event.assoc.abort()
        return 0

    with pacs(hospital, answer) as associations:

        async def work() -> None:
            delivery = hospital.delivery()
            async with dispatching(hospital.database, delivery) as dispatcher:
                await until(lambda: hospital.states() == ["done"], "the first is done")
                if how == "while it is idle":
                    await asyncio.to_thread(stored[0].abort)
                await asyncio.to_thread(hospital.slices, 1)
                dispatcher.wake()
                await until(lambda: hospital.states() == ["done", "done"], "the second is done")
            await delivery.close()

        run(work())
        assert len(associations) == 2
    assert [(row["attempts"], row["failures"]) for row in hospital.queue.rows()] == [(1, 0), (1, 0)]
    assert hospital.queue.breaker()[0] == 0


def test_a_destination_that_moves_is_found_at_its_new_address(hospital: Hospital) -> None:
    hospital.slices(1)
    with pacs(hospital, lambda event: 0) as old:
        before = hospital.nodes
        with pacs(hospital, lambda event: 0) as new:
            after, hospital.nodes = hospital.nodes, before

            async def work() -> None:
                delivery = DicomDelivery(
                    hospital.database, hospital.spool, lambda name: hospital.nodes.get(name),
                    Remotes("BROKER", (), None, Path()),
                )  # fmt: skip
                async with dispatching(hospital.database, delivery) as dispatcher:
                    await until(lambda: hospital.states() == ["done"], "the first is done")
                    hospital.nodes = after
                    await asyncio.to_thread(hospital.slices, 1)
                    dispatcher.wake()
                    await until(lambda: hospital.states() == ["done", "done"], "the second is done")
                await delivery.close()

            run(work())
            assert (len(old), len(new)) == (1, 1)


def test_dm19_a_refused_context_holds_only_the_objects_that_need_it(hospital: Hospital) -> None:
    hospital.slices(2)
    hospital.slices(1, SOPClassUID=MR)
    hospital.slices(1)
    with pacs(hospital, lambda event: 0, CT):
        hospital.until_settled("done", "done", "held", "done")
    assert hospital.queue.errors()[2] == "no-presentation-context"
    assert hospital.queue.breaker()[0] == 0


def test_objects_of_a_kind_that_came_later_get_an_association_of_their_own(hospital: Hospital) -> None:
    first = hospital.slices(1)[0]
    added: list[Any] = []

    def answer(event: Any) -> int:
        if not added:
            added.append(hospital.slices(1, SOPClassUID=MR))
        return 0

    with pacs(hospital, answer, CT, MR) as associations:
        hospital.until_settled("done", "done")
        assert len(associations) == 2
    assert first.sop_class == CT


def test_dm18_a_refusal_holds_the_object_and_a_warning_is_done_and_noted(hospital: Hospital) -> None:
    statuses = (0xC000, 0xA900, 0x0122, 0x0111, 0xB000, 0xB007, 0x0001, 0x0000)
    answers = dict(zip((item.sop_instance for item in hospital.slices(len(statuses))), statuses, strict=True))
    with pacs(hospital, lambda event: answers[event.request.AffectedSOPInstanceUID]):
        hospital.until_settled(*["held"] * 4, *["done"] * 4)
    assert hospital.queue.errors() == [f"status-{status:04X}" if status else "" for status in statuses]
    assert hospital.queue.breaker()[0] == 0


def test_a_busy_destination_is_left_alone_and_tried_again(hospital: Hospital) -> None:
    hospital.slices(10)
    answers: list[int] = []

    def answer(event: Any) -> int:
        answers.append(0xA700 if len(answers) < 5 else 0)
        return answers[-1]

    with pacs(hospital, answer) as associations:
        hospital.until_settled(*["done"] * 10)
        assert len(associations) > 1  # three in a row: the association ended
    assert [row["failures"] for row in hospital.queue.rows()] == [0] * 10


def test_our_own_duplicate_is_done(hospital: Hospital) -> None:
    """The answer to the first try was lost; the destination knows the object."""
    hospital.slices(1)
    tries: list[int] = []

    def answer(event: Any) -> int:
        tries.append(1)
        if len(tries) == 1:
            event.assoc.abort()
        return 0x0111

    with pacs(hospital, answer):
        hospital.until_settled("done")


def test_an_object_that_ends_every_association_does_not_hold_up_the_others(hospital: Hospital) -> None:
    poison, *_ = hospital.slices(4)

    def answer(event: Any) -> int:
        if event.request.AffectedSOPInstanceUID == poison.sop_instance:
            event.assoc.abort()
        return 0

    with pacs(hospital, answer):
        hospital.until_settled("held", "done", "done", "done")
    assert hospital.queue.rows()[0]["failures"] == 4
    assert hospital.queue.errors()[0] == "aborted"


def test_a_destination_that_is_away_costs_the_objects_nothing(hospital: Hospital, tmp_path: Path) -> None:
    hospital.slices(3)
    with storescp(tmp_path / "first") as port:
        hospital.destination(port)

    async def work() -> None:
        async with dispatching(hospital.database, hospital.delivery()):
            await until(lambda: hospital.queue.breaker()[0] >= 3, "it failed three times")
            assert hospital.states() == ["ready"] * 3

    run(work())
    with storescp(tmp_path / "again", port=port):
        hospital.until_settled(*["done"] * 3)
        assert len(received(tmp_path / "again")) == 3
    assert [row["failures"] for row in hospital.queue.rows()] == [0] * 3


def scripted_pacs(over: asyncio.Event) -> Any:
    """A destination that accepts everything and then reads no more."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        header = await reader.readexactly(6)
        request = neg.decode_request(await reader.readexactly(int.from_bytes(header[2:], "big")))
        results = tuple(neg.ContextResult(c.id, 0, c.transfer_syntaxes[0]) for c in request.contexts)
        user = neg.UserInformation(16384, "1.2.3", "SILENT")
        writer.write(neg.encode_accept(neg.AssociationAccept("PACS", "BROKER", results, user)))
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await over.wait()
        writer.close()

    return serve


def test_dm20_a_destination_that_never_reads_meets_a_deadline(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    hospital.take(ct_slice(30_000_000))
    monkeypatch.setattr(remotes, "Remote", functools.partial(remotes.Remote, response_timeout=0.3))
    over = asyncio.Event()

    async def work() -> None:
        server = await asyncio.start_server(scripted_pacs(over), "127.0.0.1", 0)
        hospital.destination(server.sockets[0].getsockname()[1])
        async with dispatching(hospital.database, hospital.delivery(), policy=RetryPolicy(30, 60, 1000)):
            await until(lambda: hospital.queue.breaker()[0] == 1, "the deadline passed")
            await until(lambda: hospital.states() == ["ready"], "the lease is returned")
            assert hospital.queue.breaker()[2] == "deadline"
        over.set()
        server.close()

    run(work())


def test_a_file_that_is_gone_or_damaged_is_held(hospital: Hospital) -> None:
    files = []
    for _ in range(3):
        before = set(spool_files(hospital.spool.root))
        hospital.slices(1)
        files += set(spool_files(hospital.spool.root)) - before
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:-2])
    with pacs(hospital, lambda event: 0):
        hospital.until_settled("held", "held", "done")
    assert hospital.queue.errors()[:2] == ["file-missing", "file-damaged"]


def test_a_file_that_becomes_shorter_while_it_is_sent_never_arrives_cut(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "CHUNK", 400)
    hospital.take(ct_slice(1000))
    real = hospital.spool.read

    def read(name: str, offset: int, size: int) -> bytes:
        data = real(name, offset, size)
        os.truncate(hospital.spool.locate(name), offset + size)
        return data

    monkeypatch.setattr(hospital.spool, "read", read)
    arrived: list[Any] = []

    def answer(event: Any) -> int:
        arrived.append(event)
        return 0

    with pacs(hospital, answer) as associations:
        hospital.until_settled("held")
    assert arrived == []
    assert len(associations) >= 1
    assert hospital.queue.errors() == ["file-damaged"]


def test_the_next_object_is_read_while_the_one_before_is_stored(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = hospital.slices(2)
    ahead = threading.Event()
    real = hospital.spool.read
    count = [0]

    def read(name: str, offset: int, size: int) -> bytes:
        count[0] += 1
        if count[0] == 2:
            ahead.set()
        return real(name, offset, size)

    monkeypatch.setattr(hospital.spool, "read", read)
    waited: list[bool] = []

    def answer(event: Any) -> int:
        waited.append(ahead.wait(10))
        return 0

    with pacs(hospital, answer):
        hospital.until_settled("done", "done")
    assert waited == [True, True]
    assert first.sop_instance != second.sop_instance


@pytest.mark.parametrize("stops", [False, True])
def test_the_next_jobs_are_claimed_while_the_last_ones_are_sent(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch, stops: bool
) -> None:
    """A broker that stops meanwhile sends what it had begun with, and gives back what was claimed ahead."""
    monkeypatch.setattr(module, "BATCH", 4)
    monkeypatch.setattr(delivery, "AHEAD", 2)
    hospital.slices(6)
    received: list[Any] = []
    stopping = threading.Event()

    def answer(event: Any) -> int:
        received.append(event)
        if len(received) == 3:
            wait_until(lambda: hospital.states()[4:] == ["leased"] * 2, 10, "the next ones are claimed")
            assert not stops or stopping.wait(10)
        return 0

    async def work() -> None:
        sender = hospital.delivery()
        async with dispatching(hospital.database, sender) as dispatcher:
            if stops:
                await until(lambda: hospital.states()[4:] == ["leased"] * 2, "the next ones are claimed")
                ended = asyncio.ensure_future(dispatcher.stop(10))
                await until(lambda: dispatcher.stopping, "it stops")
                stopping.set()
                await ended
            else:
                await until(lambda: hospital.states() == ["done"] * 6, "all are sent")
        await sender.close()

    with pacs(hospital, answer) as associations:
        run(work())
    assert hospital.states() == ["done"] * 4 + ["ready" if stops else "done"] * 2
    assert len(received) == (4 if stops else 6)
    assert len(associations) == 1


def test_a_job_without_an_object_is_held_though_nothing_else_is_there(hospital: Hospital) -> None:
    """Without an object there is no context to propose, and no association to be had."""
    hospital.queue.put(4711)
    with pacs(hospital, lambda event: 0) as associations:
        hospital.until_settled("held")
        assert associations == []
    assert hospital.queue.errors() == ["no-instance"]


def test_jobs_of_a_node_that_no_longer_exists_are_held(hospital: Hospital) -> None:
    hospital.slices(2)
    hospital.until_settled("held", "held")
    assert hospital.queue.errors() == ["unknown-node"] * 2


def test_a_second_version_waits_for_the_first(hospital: Hospital) -> None:
    first, second = (hospital.take(ct_slice(1000, SOPInstanceUID="2.999.1")) for _ in range(2))
    got: list[bytes] = []
    tries: list[int] = []

    def answer(event: Any) -> int:
        tries.append(1)
        if len(tries) == 1:
            return 0xA700
        got.append(event.request.DataSet.getvalue())
        return 0

    with pacs(hospital, answer):
        hospital.until_settled("done", "done")
    assert got == [first.data, second.data]


def test_stopping_inside_a_transfer_returns_the_job(hospital: Hospital) -> None:
    hospital.take(ct_slice(30_000_000))
    over = asyncio.Event()

    async def work() -> None:
        server = await asyncio.start_server(scripted_pacs(over), "127.0.0.1", 0)
        hospital.destination(server.sockets[0].getsockname()[1])
        async with dispatching(hospital.database, hospital.delivery(), grace=0.1):
            await until(lambda: hospital.states() == ["leased"], "the transfer has begun")
            await remains(lambda: hospital.states() == ["leased"])
            started = time.monotonic()
        assert time.monotonic() - started < 3
        over.set()
        server.close()

    run(work())
    assert hospital.states() == ["ready"]
    assert [row["failures"] for row in hospital.queue.rows()] == [0]


def test_objects_older_than_their_time_are_given_up(hospital: Hospital) -> None:
    hospital.slices(1)
    hospital.destination(1)

    def age(connection: Connection) -> None:
        connection.execute(update(tables.job).values(created_at=1.0))

    hospital.database.submit(age).result(10)
    hospital.until_settled("held")
    assert hospital.queue.errors() == ["gave-up"]
