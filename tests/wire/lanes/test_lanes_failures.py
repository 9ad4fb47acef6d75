"""Checks the failure table of `broker.queue.dispatcher` row by row: what becomes of a job."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import Connection, update
from structlog.testing import capture_logs
from support.loops import run, takes, until
from support.queue.lanes import PACS, Queue, dispatching

from broker.errors import PeerFault, StoreUnavailable
from broker.queue import lane_work
from broker.queue.feed import Feed
from broker.queue.retry_policy import RetryPolicy
from broker.store import jobs, lanes
from broker.store.db.database import Database
from broker.store.jobs import Job
from broker.store.schema import tables

SLOW = RetryPolicy(first=30, last=60, give_up=1000)
GIVEN_UP = time.time() - 5000


@dataclass(frozen=True)
class Row:
    """A row of the table: what a handler does with its job, and what becomes of that and of the lane."""

    act: Callable[[Feed, Job], None]
    state: str
    error: str = ""
    failures: int = 0  # of the job
    put_off: bool = False
    breaker: int = 0  # failures of the lane
    counted: str = ""
    logged: tuple[str, ...] = ()
    before: dict[str, Any] = field(default_factory=dict)  # columns of the job


def leave(feed: Feed, job: Job) -> None:
    """Report nothing."""


def throw(error: BaseException) -> Callable[[Feed, Job], None]:
    def act(feed: Feed, job: Job) -> None:
        raise error

    return act


def retry(*, item_fault: bool) -> Callable[[Feed, Job], None]:
    return lambda feed, job: feed.retry(job, "odd", item_fault=item_fault)


OLD, TIRED = {"created_at": GIVEN_UP, "attempts": 100}, {"failures": 4}
ROWS = {
    "done": Row(lambda feed, job: feed.done(job), "done", counted="done"),
    "hold": Row(lambda feed, job: feed.hold(job, "odd"), "held", "odd", counted="held", logged=("job.held",)),
    "retry": Row(retry(item_fault=False), "ready", "odd", put_off=True, counted="retry"),
    "retry by the item's fault": Row(retry(item_fault=True), "ready", "odd", 1, put_off=True, counted="retry"),
    "the fifth fault": Row(
        retry(item_fault=True), "held", "odd", 4, counted="held", logged=("job.held",), before=TIRED
    ),
    "a busy peer after four faults": Row(
        retry(item_fault=False), "ready", "odd", 4, put_off=True, counted="retry", before=TIRED
    ),
    "retry, too old": Row(retry(item_fault=False), "held", "odd", counted="held", logged=("job.held",), before=OLD),
    "returns": Row(leave, "ready"),
    "returns, too old": Row(leave, "held", "gave-up", counted="held", logged=("job.held",), before=OLD),
    "the peer is away": Row(
        throw(PeerFault("away", code="connect-failed")), "ready", "connect-failed", breaker=1, logged=("lane.broken",)
    ),
    "the peer is away, too old": Row(
        throw(PeerFault("away")), "held", "gave-up", breaker=1, counted="held", logged=("job.held", "lane.broken"),
        before=OLD,
    ),
    "our own store is away": Row(
        throw(StoreUnavailable()), "ready", "store-unavailable", logged=("queue.unavailable",)
    ),
    "a defect": Row(
        throw(KeyError("x")), "ready", "handler-defect", 1, put_off=True, counted="retry", logged=("lane.defect",)
    ),
    "the fifth defect": Row(
        throw(OSError("x")), "held", "handler-defect", 4, counted="held", logged=("job.held", "lane.defect"),
        before=TIRED,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_the_table_says_what_becomes_of_job_and_lane(database: Database, queue: Queue, name: str) -> None:
    row, ran = ROWS[name], asyncio.Event()

    async def handler(node: str, feed: Feed) -> None:
        if not ran.is_set():  # a job that is returned is not taken twice
            ran.set()
            for job in await feed.take():
                row.act(feed, job)

    async def work() -> None:
        async with dispatching(database, handler, policy=SLOW) as dispatcher:
            await until(lambda: ran.is_set() and not dispatcher.busy, "the handler has ended")

    queue.put(1)
    if row.before:
        database.submit(lambda c: c.execute(update(tables.job).values(**row.before)) and None).result(10)
    before, started = counted(), time.time()
    with capture_logs() as logs:
        run(work())
    (job,) = queue.rows()
    assert (job["state"], job["last_error"], job["failures"]) == (row.state, row.error, row.failures)
    assert (job["due_at"] > started + 20) is row.put_off
    assert queue.breaker()[0] == row.breaker
    assert counted() - before == Counter({row.counted: 1} if row.counted else {})
    assert tuple(line["event"] for line in logs) == row.logged


def counted() -> Counter[str]:
    """Finished attempts of the lane by outcome, as the metrics have them."""
    outcomes = ("done", "held", "retry")
    values = {
        outcome: REGISTRY.get_sample_value(
            "broker_deliveries_total", {"node": "pacs", "kind": "deliver", "outcome": outcome}
        )
        or 0
        for outcome in outcomes
    }
    return Counter({outcome: int(value) for outcome, value in values.items()})


# --- reported by the handler -----------------------------------------------------------------------------


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


def test_jobs_are_given_up_after_their_time(database: Database, queue: Queue) -> None:
    async def handler(name: str, feed: Feed) -> None:
        for job in await feed.take():
            if job.subject == 1:
                feed.retry(job, "status-A700", item_fault=False)
        raise PeerFault("away")

    async def work() -> None:
        queue.put(1, 2, at=time.time() - 5000)
        database.execute(lambda connection: connection.execute(update(tables.job).values(attempts=10_000)) and None)
        queue.put(3)
        async with dispatching(database, handler):
            await until(lambda: queue.states() == ["held", "held", "ready"], "the old ones are held")

    run(work())
    assert queue.errors()[:2] == ["status-A700", "gave-up"]


# --- left open by the handler ----------------------------------------------------------------------------


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


# --- nobody can report it --------------------------------------------------------------------------------


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
    monkeypatch.setattr(lane_work, "LEASE", 0.4)
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


def test_a_database_that_is_away_does_not_end_the_dispatcher(
    database: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, away = database.read, [5]

    def read(query: Any, *args: Any) -> Any:
        if query is lanes.look and away[0]:
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


def test_a_database_that_is_away_when_a_job_is_reported_hears_of_it_later(
    database: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent is not sent again."""
    real, away = database.submit, [True]

    def submit(unit: Any, *args: Any, **kwargs: Any) -> Any:
        if unit is jobs.report and away[0]:
            away[0] = False
            return real(broken)
        return real(unit, *args, **kwargs)

    def broken(connection: Connection) -> None:
        raise StoreUnavailable

    async def handler(name: str, feed: Feed) -> None:
        for job in await feed.take():
            feed.done(job)

    monkeypatch.setattr(database, "submit", submit)

    async def work() -> None:
        queue.put(1)
        async with dispatching(database, handler):
            await until(lambda: queue.states() == ["done"], "it is done")

    with capture_logs() as logs:
        run(work())
    assert queue.rows()[0]["attempts"] == 1
    assert {"queue.unavailable", "queue.reports_taken"} <= {line["event"] for line in logs}
