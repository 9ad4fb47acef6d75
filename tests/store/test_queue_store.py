"""Rows of the durable queue on both databases: who gets a job, in which order, and who may report it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, delete, event, select, update

from broker.model.lane import JobState
from broker.queue.hurrying import Hurrying
from broker.store import claims, jobs, lanes
from broker.store.db.database import Database
from broker.store.jobs import Job, NewJob
from broker.store.schema import tables

_t = tables.job


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One database per kind for the whole module; `queue` empties it."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('queue') / 'broker.db'}"
    else:
        server = request.getfixturevalue("postgresql")
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE queue_store")
        url = server.get_uri(database="queue_store").replace("postgresql://", "postgresql+psycopg://", 1)
    database = Database(url)
    yield database
    database.close()
    if request.param == "postgresql":
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("DROP DATABASE queue_store WITH (FORCE)")


class Queue:
    """The functions of `broker.store.jobs` without their ceremony."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def do(self, unit: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return self.database.submit(unit, *args, **kwargs).result(20)

    def put(self, *subjects: int, lane: str = "deliver:pacs", at: float = 0.0, **more: Any) -> int:
        kind, group, priority = more.get("kind", "deliver"), more.get("group"), more.get("priority", 5)
        new = [
            NewJob(kind=kind, lane=lane, subject=subject, detail={"n": subject}, group_key=group, priority=priority)
            for subject in subjects
        ]
        return int(self.do(jobs.enqueue, new, at))

    def claim(
        self, *, lane: str = "deliver:pacs", owner: str = "host:1", now: float = 100.0, limit: int = 64
    ) -> list[Job]:
        found: list[Job] = self.do(jobs.claim, lane, owner, now, 60.0, limit)
        return found

    def subjects(self, **more: Any) -> list[int]:
        return [job.subject for job in self.claim(**more)]

    def due(self, now: float = 100.0) -> list[str]:
        found: list[str] = self.database.read(lanes.due_lanes, now).result(10)
        return found

    def row(self, subject: int) -> Any:
        def query(connection: Connection) -> Any:
            return connection.execute(select(_t).where(_t.c.subject == subject)).mappings().one()

        return self.database.read(query).result(10)


@pytest.fixture
def queue(opened: Database) -> Queue:
    def empty(connection: Connection) -> None:
        connection.execute(delete(_t))
        connection.execute(delete(tables.lane))

    opened.submit(empty).result(10)
    return Queue(opened)


# --- enqueue ---------------------------------------------------------------------------------------------


def test_a_job_is_there_once_by_kind_lane_and_subject(queue: Queue) -> None:
    assert queue.put(1, 2, 2) == 2
    assert queue.put(1, 2, 3) == 1
    assert queue.put(1, kind="commit") == 1
    assert queue.put(1, lane="deliver:other") == 1
    assert queue.put() == 0


def test_a_finished_job_is_not_done_again(queue: Queue) -> None:
    queue.put(1)
    (job,) = queue.claim()
    assert queue.do(jobs.finish, job, JobState.DONE, 5.0)
    assert queue.put(1) == 0
    assert queue.claim() == []


def test_what_was_put_in_comes_out(queue: Queue) -> None:
    new = NewJob(
        kind="deliver", lane="deliver:pacs", subject=7, detail={"rules": ["Ærøskøbing CT"], "rules_version": 3}
    )
    queue.do(jobs.enqueue, [new], 12.5)
    (job,) = queue.claim()
    assert (job.kind, job.lane, job.subject, job.detail) == (new.kind, new.lane, 7, new.detail)
    assert (job.attempts, job.failures, job.fence, job.created_at) == (1, 0, 1, 12.5)


def test_a_transaction_that_fails_leaves_no_job(queue: Queue) -> None:
    def half(connection: Connection) -> None:
        jobs.enqueue(connection, [NewJob(kind="deliver", lane="deliver:pacs", subject=1, detail={})], 0.0)
        raise ValueError

    with pytest.raises(ValueError):
        queue.do(half)
    assert queue.claim() == []


# --- claim -----------------------------------------------------------------------------------------------


def test_claims_follow_priority_then_due_time_then_number(queue: Queue) -> None:
    queue.put(1, at=30)
    queue.put(2, at=10)
    queue.put(3, at=10)
    queue.put(4, at=50, priority=1)
    queue.put(5, at=200)
    order = [queue.subjects(limit=1) for _ in range(5)]
    assert order == [[4], [2], [3], [1], []]
    assert queue.subjects(now=200.0) == [5]


def test_a_batch_begins_with_the_most_urgent_and_keeps_the_order_of_a_group(queue: Queue) -> None:
    queue.put(1, 2, at=10)
    queue.put(3, at=20, group="sop:1")
    queue.put(4, at=40, priority=1)
    queue.put(5, at=5)
    queue.put(6, at=30, priority=1)
    assert queue.subjects() == [6, 4, 5, 1, 2, 3]


def test_versions_that_are_all_in_doubt_go_in_their_order(queue: Queue) -> None:
    queue.put(1, 2, group="sop:1")
    for due, subject in ((50.0, 1), (40.0, 2)):
        (job,) = queue.claim(now=10.0)
        assert job.subject == subject
        queue.do(jobs.put_back, job, due, "aborted", item_fault=True)
    assert queue.subjects() == [1, 2]


def test_what_is_in_doubt_goes_behind_all_others_and_is_not_forgotten(queue: Queue) -> None:
    """However many are due for longer: a batch has one of them beside others, and few if there are no others."""
    queue.put(*range(100))
    while batch := queue.claim(now=1.0):
        for job in batch:
            queue.do(jobs.put_back, job, 2.0, "aborted", item_fault=False, last=True)
    queue.put(*range(100, 200), at=50.0)
    first, second, third, fourth = (queue.claim() for _ in range(4))
    assert [job.subject for job in first] == [*range(100, 163), 0]
    assert [job.subject for job in second] == [*range(163, 200), 1, 2, 3, 4]
    assert [job.subject for job in third] == [5, 6, 7, 8]
    assert [job.last for job in first] == [False] * 63 + [True]
    queue.put(200, at=99.0)
    assert [job.subject for job in queue.claim()] == [200, 13, 14, 15, 16]
    assert queue.do(jobs.put_back, fourth[0], 0.0, "", item_fault=False)
    assert queue.row(9)["priority"] == 5  # in no doubt any more
    assert queue.subjects(limit=1) == [9]
    assert queue.subjects(limit=1) == [17]


def test_a_job_in_doubt_keeps_its_urgency(queue: Queue) -> None:
    queue.put(1)
    queue.put(2, priority=1)
    for job in queue.claim():
        queue.do(jobs.put_back, job, 2.0 + job.subject, "aborted", item_fault=True)
    again = queue.claim()
    assert [job.subject for job in again] == [2, 1]
    for job in again:
        queue.do(jobs.finish, job, JobState.HELD, 100.0, "aborted")
        queue.do(jobs.end_hold, job.id, JobState.READY, 100.0)
    assert [(queue.row(n)["priority"], queue.row(n)["failures"]) for n in (1, 2)] == [(5, 0), (1, 0)]


def test_a_job_in_doubt_that_was_put_off_by_a_clock_that_was_ahead_is_due(queue: Queue) -> None:
    queue.put(1)
    (job,) = queue.claim()
    queue.do(jobs.put_back, job, 1e6, "aborted", item_fault=True)
    assert queue.claim() == []
    assert [one.subject for one in queue.do(jobs.claim, "deliver:pacs", "host:1", 100.0, 60.0, 64, 2000.0)] == [1]


@pytest.mark.parametrize(
    ("last", "by_index"),
    [(False, "lane=? AND priority<?"), (True, "lane=? AND priority=? AND due_at>? AND due_at<?")],
)
def test_a_claim_does_not_sort_the_backlog(tmp_path: Path, last: bool, by_index: str) -> None:
    """Else 100,000 waiting jobs cost 60 ms of the one writer for every 64 that are sent."""

    def explain(connection: Connection) -> list[str]:
        claim: Any = claims._claim(lock=False, last=last).compile(connection)
        values = [claim.params[name] or 0 for name in claim.positiontup]
        found = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {claim}", tuple(values))
        return [row[3] for row in found]

    database = Database(f"sqlite:///{tmp_path / 'broker.db'}")
    steps = database.submit(explain).result(10)
    database.close()
    assert f"SEARCH job USING INDEX ix_job_due ({by_index})" in steps
    assert "USE TEMP B-TREE FOR ORDER BY" not in steps


def test_a_limit_is_kept(queue: Queue) -> None:
    queue.put(*range(10))
    assert queue.subjects(limit=3) == [0, 1, 2]
    assert queue.subjects(limit=64) == [3, 4, 5, 6, 7, 8, 9]


def test_lanes_do_not_mix(queue: Queue) -> None:
    queue.put(1, lane="deliver:a")
    queue.put(1, lane="deliver:b")
    assert queue.claim(lane="deliver:a")[0].lane == "deliver:a"
    assert queue.claim(lane="deliver:") == []


def test_a_leased_job_is_nobody_elses(queue: Queue) -> None:
    queue.put(1)
    assert queue.subjects(owner="host:1") == [1]
    assert queue.subjects(owner="host:2", now=1e9) == []


def test_attempts_count_from_the_claim(queue: Queue) -> None:
    """So that a job which kills the process is counted."""
    queue.put(1)
    for attempt in range(1, 4):
        (job,) = queue.claim()
        assert (job.attempts, job.failures) == (attempt, 0)
        queue.do(jobs.free_leases, 1000.0)
        queue.do(lambda connection: connection.execute(update(_t).values(due_at=0.0)).rowcount)


def test_two_claimers_never_get_the_same_job(queue: Queue) -> None:
    queue.put(*range(300))
    got: list[tuple[str, int]] = []

    def work(owner: str) -> None:
        while batch := queue.claim(owner=owner, limit=7):
            assert len(batch) <= 7
            got.extend((owner, job.subject) for job in batch)

    threads = [threading.Thread(target=work, args=(f"host:{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert Counter(subject for _, subject in got) == Counter(range(300))


def test_claimers_do_not_wait_for_each_other(queue: Queue) -> None:
    """SKIP LOCKED: a claim that is not committed yet blocks nobody."""
    if queue.database.dialect == "sqlite":
        return  # one writer: nothing is ever uncommitted beside it
    queue.put(*range(4))
    claimed, go = threading.Event(), threading.Event()

    def slow(connection: Connection) -> list[int]:
        found = jobs.claim(connection, "deliver:pacs", "host:1", 100.0, 60.0, 2)
        claimed.set()
        assert go.wait(10)
        return [job.subject for job in found]

    first = queue.database.submit(slow)
    assert claimed.wait(10)
    assert queue.subjects(owner="host:2") == [2, 3]
    go.set()
    assert first.result(10) == [0, 1]


# --- reports and the fence -------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [JobState.DONE, JobState.HELD, JobState.DISCARDED])
def test_a_report_ends_a_job(queue: Queue, state: str) -> None:
    queue.put(1)
    (job,) = queue.claim()
    assert queue.do(jobs.finish, job, state, 123.0, "status-0000")
    row = queue.row(1)
    assert (row["state"], row["last_error"], row["lease_owner"]) == (state, "status-0000", "")
    assert row["done_at"] == (123.0 if state == JobState.DONE else None)
    assert not queue.do(jobs.finish, job, JobState.HELD, 124.0)
    assert not queue.do(jobs.put_back, job, 0.0, "x", item_fault=True)
    assert queue.row(1)["state"] == state


def test_a_stale_report_is_ignored(queue: Queue) -> None:
    queue.put(1)
    (old,) = queue.claim(owner="host:1")
    assert queue.do(jobs.free_leases, 1000.0) == 1
    (new,) = queue.claim(owner="host:2", now=1000.0)
    assert new.fence == old.fence + 1
    assert not queue.do(jobs.finish, old, JobState.DONE, 1001.0)
    assert not queue.do(jobs.put_back, old, 0.0, "late", item_fault=True)
    assert queue.row(1)["state"] == JobState.LEASED
    assert queue.do(jobs.finish, new, JobState.DONE, 1002.0)


def test_a_report_after_the_lease_was_freed_is_ignored(queue: Queue) -> None:
    """Ready again and not claimed yet: the late done must not end it unseen."""
    queue.put(1)
    (old,) = queue.claim()
    queue.do(jobs.free_leases, 1000.0)
    assert not queue.do(jobs.finish, old, JobState.DONE, 1001.0)
    assert queue.row(1)["state"] == JobState.READY


def test_a_job_put_back_waits_and_counts_only_its_own_faults(queue: Queue) -> None:
    queue.put(1)
    (job,) = queue.claim()
    assert queue.do(jobs.put_back, job, 500.0, "busy", item_fault=False)
    assert queue.row(1)["failures"] == 0
    assert queue.claim(now=499.0) == []
    (job,) = queue.claim(now=500.0)
    assert queue.do(jobs.put_back, job, 0.0, "damaged", item_fault=True)
    (job,) = queue.claim()
    assert (job.failures, job.attempts) == (1, 3)
    assert queue.row(1)["last_error"] == "damaged"


# --- leases ----------------------------------------------------------------------------------------------


def test_a_lease_that_is_over_is_freed_and_no_other(queue: Queue) -> None:
    queue.put(1, 2)
    queue.claim(limit=1, now=100.0)  # until 160
    queue.claim(limit=1, now=150.0)  # until 210
    assert queue.do(jobs.free_leases, 159.9) == 0
    assert queue.do(jobs.free_leases, 160.0) == 1
    assert queue.row(1)["state"] == JobState.READY
    assert queue.row(2)["state"] == JobState.LEASED


def test_a_restart_frees_the_leases_of_its_own_host_only(queue: Queue) -> None:
    queue.put(1, 2, 3, 4)
    for owner in ("host:a", "host:b", "host_:a", "hostile:a"):
        queue.claim(owner=owner, limit=1)
    assert queue.do(jobs.free_leases, 101.0, owner_prefix="host:") == 2
    assert [queue.row(n)["state"] for n in (1, 2, 3, 4)] == ["ready", "ready", "leased", "leased"]


def test_a_prefix_is_no_pattern(queue: Queue) -> None:
    queue.put(1, 2)
    queue.claim(owner="h%:a", limit=1)
    queue.claim(owner="hx:a", limit=1)
    assert queue.do(jobs.free_leases, 101.0, owner_prefix="h%") == 1
    assert queue.row(2)["state"] == JobState.LEASED


def test_an_empty_prefix_frees_everything(queue: Queue) -> None:
    queue.put(1, 2)
    queue.claim()
    assert queue.do(jobs.free_leases, 101.0, owner_prefix="") == 2


def test_renewal_needs_ownership(queue: Queue) -> None:
    queue.put(1, 2)
    (first,) = queue.claim(owner="host:1", limit=1)
    (second,) = queue.claim(owner="host:2", limit=1)
    assert queue.do(jobs.renew, [first.id, second.id], "host:1", 900.0) == 1
    assert queue.do(jobs.free_leases, 899.0) == 1
    assert queue.row(1)["state"] == JobState.LEASED
    assert queue.do(jobs.renew, [second.id], "host:2", 900.0) == 0


# --- jobs of which a process dies: CR-12 ------------------------------------------------------------------


def test_what_a_process_had_in_hand_when_it_died_goes_last_and_alone(queue: Queue) -> None:
    queue.put(1, 2, 3)
    queue.claim(owner="host:1")
    assert queue.do(claims.free_of_dead, "host:") == (3, 0)
    assert [queue.row(n)["last_error"] for n in (1, 2, 3)] == ["process-died"] * 3
    queue.put(4, 5)
    first = queue.claim(owner="host:2", now=1e12)
    assert [job.subject for job in first] == [4, 5, 1]
    assert [job.last for job in first] == [False, False, True]
    assert [[job.subject for job in queue.claim(owner="host:2", now=1e12)] for _ in range(3)] == [[2], [3], []]


def test_what_a_process_dies_of_again_and_again_is_held_and_its_neighbours_are_not(queue: Queue) -> None:
    """It dies of 2. What it had done before it died is done; nothing else is in hand then."""
    queue.put(1, 2, 3)
    told = []
    for death in range(10):
        while taken := queue.claim(owner=f"host:{death}", now=1e12):
            if 2 in [job.subject for job in taken]:
                break
            for job in taken:
                queue.do(jobs.finish, job, JobState.DONE, 1.0)
        told.append(queue.do(claims.free_of_dead, "host:"))
    assert told == [(3, 0), *[(1, 0)] * 8, (0, 1)]
    assert [queue.row(n)["state"] for n in (1, 2, 3)] == ["done", "held", "done"]
    assert queue.row(2)["last_error"] == "process-dies"


def test_deaths_that_do_not_follow_each_other_hold_nothing(queue: Queue) -> None:
    queue.put(1)
    for _ in range(12):
        queue.claim(owner="host:1", now=1e12)
        assert queue.do(claims.free_of_dead, "host:") == (1, 0)
        (job,) = queue.claim(owner="host:1", now=1e12)
        assert queue.do(jobs.put_back, job, 0.0, "connect-failed", item_fault=False)
        assert queue.row(1)["priority"] == 5


def test_the_work_of_other_owners_is_not_touched(queue: Queue) -> None:
    queue.put(1, 2)
    queue.claim(owner="host:1", limit=1, now=1e12)
    queue.claim(owner="other:1", limit=1, now=1e12)
    assert queue.do(claims.free_of_dead, "host:") == (1, 0)
    assert [queue.row(n)["state"] for n in (1, 2)] == ["ready", "leased"]


# --- clocks that were wrong: TM-01 ------------------------------------------------------------------------

WRONG = 8 * 86_400.0


def test_tm_01_work_put_off_by_a_clock_that_was_ahead_is_due(queue: Queue) -> None:
    queue.put(1, 2)
    for job, due in zip(queue.claim(), (WRONG, 1000.0), strict=True):
        queue.do(jobs.put_back, job, due, "busy", item_fault=False)
    assert queue.do(jobs.claim, "deliver:pacs", "host:1", 100.0, 60.0, 64, 2000.0)[0].subject == 1
    assert queue.claim() == []
    assert queue.do(lanes.due_lanes, 100.0, 2000.0) == []
    assert queue.do(lanes.due_lanes, 100.0, 500.0) == ["deliver:pacs"]


def test_tm_01_a_breaker_opened_by_a_clock_that_was_ahead_is_closed(queue: Queue) -> None:
    queue.put(1)
    queue.do(jobs.open_breaker, "deliver:pacs", 1, WRONG, "x")
    assert queue.do(lanes.due_lanes, 100.0) == []
    assert queue.do(lanes.due_lanes, 100.0, 2000.0) == ["deliver:pacs"]


def test_tm_01_a_lease_given_by_a_clock_that_was_ahead_is_over(queue: Queue) -> None:
    queue.put(1, 2)
    queue.claim(limit=1, now=WRONG)
    queue.claim(limit=1, now=100.0)
    assert queue.do(jobs.free_leases, 100.0, longest=65.0) == 1
    assert [queue.row(n)["state"] for n in (1, 2)] == ["ready", "leased"]


def test_tm_01_what_is_new_is_due_also_if_our_clock_is_ahead_of_the_database(queue: Queue) -> None:
    queue.put(1, at=4e9)
    reading, due, _ = queue.database.read(lanes.look, 1e12).result(10)
    assert due == (["deliver:pacs"] if queue.database.dialect == "postgresql" else [])
    assert reading.wall < 4e9


def test_tm_01_after_a_step_nothing_waits_and_nothing_is_younger_than_now(queue: Queue) -> None:
    queue.put(1, 2, 3, at=WRONG)
    queue.do(jobs.put_back, queue.claim(now=WRONG, limit=1)[0], WRONG + 9, "busy", item_fault=False)
    queue.claim(now=WRONG, limit=1)
    queue.do(jobs.open_breaker, "deliver:pacs", 3, WRONG, "x")
    queue.do(lanes.end_waits, 100.0)
    Hurrying(queue.database).make_due(None, 100.0)
    assert breakers(queue) == {"deliver:pacs": (3, 0.0, "x")}
    assert sorted(queue.row(n)["due_at"] for n in (1, 3)) == [100.0, 100.0]
    assert {queue.row(n)["created_at"] for n in (1, 2, 3)} == {100.0}
    assert queue.row(2)["state"] == JobState.LEASED  # its owner works on


# --- groups ----------------------------------------------------------------------------------------------


def test_jobs_of_a_group_run_one_after_the_other(queue: Queue) -> None:
    queue.put(1, 2, 3, group="sop:1")
    queue.put(4)
    first, free = queue.claim()
    assert (first.subject, free.subject) == (1, 4)
    assert queue.claim() == []
    queue.do(jobs.put_back, first, 100.0, "busy", item_fault=False)
    (first,) = queue.claim()
    queue.do(jobs.finish, first, JobState.DONE, 100.0)
    (second,) = queue.claim()
    assert second.subject == 2
    queue.do(jobs.finish, second, JobState.DISCARDED, 100.0)
    assert queue.subjects() == [3]


def test_a_held_member_holds_its_successors(queue: Queue) -> None:
    queue.put(1, 2, kind="feedback", group="order:1")
    (first,) = queue.claim()
    queue.do(jobs.finish, first, JobState.HELD, 100.0, "refused")
    assert queue.claim() == []


def test_a_version_that_failed_by_itself_keeps_no_later_one_back_and_does_not_go_over_it(queue: Queue) -> None:
    queue.put(1, 2, group="sop:1")
    (first,) = queue.claim()
    queue.do(jobs.put_back, first, 500.0, "aborted", item_fault=True)
    (second,) = queue.claim(now=600.0)  # both are due: the later one alone
    assert second.subject == 2
    assert queue.claim(now=600.0) == []  # the older one waits for what becomes of it
    queue.do(jobs.finish, second, JobState.DONE, 600.0)
    assert queue.claim(now=600.0) == []
    assert (queue.row(1)["state"], queue.row(1)["last_error"]) == ("held", "newer-version-sent")
    assert queue.row(2)["state"] == "done"


def test_a_version_that_is_refused_for_busy_again_and_again_lets_the_later_one_try(queue: Queue) -> None:
    queue.put(1, 2, group="sop:1")
    for tries in range(3):
        (first,) = queue.claim()
        assert (first.subject, first.attempts) == (1, tries + 1)
        queue.do(jobs.put_back, first, 0.0, "status-A700", item_fault=False)
    for _ in range(3):
        (second,) = queue.claim()
        assert second.subject == 2  # the older one waits for what becomes of it
        queue.do(jobs.put_back, second, 0.0, "status-A700", item_fault=False)
    assert queue.subjects() == [1, 2]  # neither fares better: in their order


def test_a_version_held_by_others_than_itself_keeps_the_later_ones_back(queue: Queue) -> None:
    queue.put(1, 2, group="sop:1")
    (first,) = queue.claim()
    queue.do(jobs.finish, first, JobState.HELD, 100.0, "gave-up")
    assert queue.claim() == []


def test_messages_of_a_group_stay_in_order_whatever_fails(queue: Queue) -> None:
    queue.put(1, 2, kind="mpps", lane="mpps:pacs", group="mpps:1")
    (first,) = queue.claim(lane="mpps:pacs")
    queue.do(jobs.put_back, first, 0.0, "aborted", item_fault=True)
    (first,) = queue.claim(lane="mpps:pacs")
    assert first.subject == 1
    queue.do(jobs.finish, first, JobState.HELD, 100.0, "status-C000")
    assert queue.claim(lane="mpps:pacs") == []


def test_a_waiting_member_is_not_overtaken_by_a_due_one(queue: Queue) -> None:
    queue.put(1, at=500, group="sop:1")
    queue.put(2, at=0, priority=1, group="sop:1")
    assert queue.claim() == []
    assert queue.subjects(now=500.0) == [1]


def test_groups_and_lanes_are_independent(queue: Queue) -> None:
    queue.put(1, 2, group="sop:1")
    queue.put(3, group="sop:2")
    queue.put(1, 2, lane="deliver:other", group="sop:1")
    assert queue.subjects() == [1, 3]
    assert queue.subjects(lane="deliver:other") == [1]


def test_joining_a_group_makes_a_later_job_wait(queue: Queue) -> None:
    queue.put(1)
    queue.put(1, lane="deliver:other")
    queue.put(1, kind="commit")
    queue.do(jobs.join_group, "deliver:pacs", [1], "sop:1")
    queue.put(2, group="sop:1")
    assert [(job.kind, job.subject) for job in queue.claim()] == [("deliver", 1), ("commit", 1)]
    assert queue.subjects(lane="deliver:other") == [1]


def test_a_leased_job_can_join_and_a_done_one_need_not(queue: Queue) -> None:
    queue.put(1, 3)
    one, three = queue.claim()
    queue.do(jobs.finish, three, JobState.DONE, 100.0)
    queue.do(jobs.join_group, "deliver:pacs", [1, 3], "sop:1")
    queue.put(2, group="sop:1")
    assert queue.claim() == []
    queue.do(jobs.finish, one, JobState.DONE, 100.0)
    assert queue.subjects() == [2]


# --- lanes and breakers ----------------------------------------------------------------------------------


def test_due_lanes_are_those_with_work_that_may_be_tried(queue: Queue) -> None:
    queue.put(1, lane="a")
    queue.put(1, lane="b", at=500)
    queue.put(1, lane="c")
    queue.put(1, lane="d")
    queue.put(1, lane="Ä")
    queue.claim(lane="d")
    queue.do(jobs.open_breaker, "c", 3, 300.0, "connect-failed")
    assert set(queue.due()) == {"a", "Ä"}
    assert set(queue.due(300.0)) == {"a", "c", "Ä"}
    assert set(queue.due(500.0)) == {"a", "b", "c", "Ä"}


def test_every_one_of_many_lanes_is_found(queue: Queue) -> None:
    """Names that a language's sort order would fold or reorder must not hide each other."""
    lanes = ["deliver:A", "deliver:a", "deliver:a-b", "deliver:a b", "deliver:ab", "deliver:Å", "deliver:B", "z", "Z"]
    for lane in lanes:
        queue.put(1, lane=lane)
    assert sorted(queue.due()) == sorted(lanes)


def test_a_million_waiting_jobs_cost_one_step_each_lane(queue: Queue) -> None:
    queue.put(*range(400), lane="dead")
    queue.put(1, lane="live")
    queue.do(jobs.open_breaker, "dead", 1, 1e9, "x")
    statements = []

    def count(*args: Any) -> None:
        statements.append(args[2])

    engine = queue.database._read_engine
    event.listen(engine, "before_cursor_execute", count)
    try:
        assert queue.due() == ["live"]
    finally:
        event.remove(engine, "before_cursor_execute", count)
    assert len(statements) <= 6


def test_a_breaker_opens_counts_and_closes(queue: Queue) -> None:
    assert queue.do(jobs.breaker_failures, "pacs") == 0
    queue.do(jobs.open_breaker, "pacs", 1, 200.0, "aborted")
    queue.do(jobs.open_breaker, "pacs", 2, 300.0, "deadline")
    assert breakers(queue) == {"pacs": (2, 300.0, "deadline")}
    assert queue.do(jobs.breaker_failures, "pacs") == 2
    queue.do(jobs.close_breaker, "pacs")
    assert breakers(queue) == {"pacs": (0, 0.0, "")}
    queue.do(jobs.close_breaker, "never heard of")


def test_workers_of_one_lane_may_open_its_breaker_at_once(queue: Queue) -> None:
    meet = threading.Barrier(2)

    def open_it(connection: Connection, failures: int) -> None:
        if queue.database.dialect == "postgresql":
            connection.execute(select(tables.lane)).all()
            meet.wait(10)
        jobs.open_breaker(connection, "pacs", failures, 200.0, "aborted")

    futures = [queue.database.submit(open_it, n) for n in (1, 2)]
    wait(futures, 20)
    assert [future.exception() for future in futures] == [None, None]
    assert set(queue.do(jobs.breakers)) == {"pacs"}


def test_a_lane_is_down_since_the_first_failure_in_a_row(queue: Queue) -> None:
    began = time.time()
    queue.do(jobs.open_breaker, "deliver:pacs", 1, 200.0, "aborted")
    [first] = queue.do(jobs.breakers).values()
    assert first.since == pytest.approx(began, abs=30)
    queue.do(jobs.open_breaker, "deliver:pacs", 2, 400.0, "connect-failed")
    [second] = queue.do(jobs.breakers).values()
    assert (second.since, second.failures, second.last_error) == (first.since, 2, "connect-failed")
    queue.do(jobs.close_breaker, "deliver:pacs")
    queue.do(jobs.open_breaker, "deliver:pacs", 1, 200.0, "aborted")
    [third] = queue.do(jobs.breakers).values()
    assert third.since > second.since


def breakers(queue: Queue) -> dict[str, tuple[int, float, str]]:
    """Failures, until when it is closed, and the last error of each lane."""
    found = queue.do(jobs.breakers).items()
    return {name: (lane.failures, lane.open_until, lane.last_error) for name, lane in found}


# --- numbers ---------------------------------------------------------------------------------------------


def test_lanes_done_asks_for_this_kind_and_these_subjects(queue: Queue) -> None:
    for lane in ("a", "b", "c"):
        queue.put(1, 2, lane=lane)
    queue.put(1, lane="d", kind="commit")
    for lane in ("a", "d"):
        for job in queue.claim(lane=lane):
            queue.do(jobs.finish, job, JobState.DONE, 1.0)
    (job,) = queue.claim(lane="b", limit=1)
    queue.do(jobs.finish, job, JobState.HELD, 1.0)
    assert queue.do(jobs.lanes_done, "deliver", [1, 2]) == {"a"}
    assert queue.do(jobs.lanes_done, "deliver", [3]) == set()
    assert queue.do(jobs.lanes_done, "deliver", []) == set()


def test_the_write_probe_leaves_nothing(queue: Queue) -> None:
    queue.do(jobs.probe_write, 5.0)
    assert queue.do(jobs.breakers) == {}


def test_the_due_index_is_used(queue: Queue, tmp_path: Path) -> None:
    """Claims on a long queue must not read it whole."""
    if queue.database.dialect != "sqlite":
        return  # the planner of PostgreSQL decides by statistics; the index is the same
    queue.put(1)

    def plan(connection: Connection) -> str:
        rows = connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT id FROM job WHERE lane = 'x' AND state = 'ready' AND due_at <= 5"
            " ORDER BY priority, due_at, id LIMIT 64"
        )
        return " ".join(str(row[-1]) for row in rows)

    assert "ix_job_due" in queue.database.read(plan).result(10)


def test_an_older_version_is_known_to_be_overtaken(queue: Queue) -> None:
    queue.put(1, 2, group="sop:1")
    queue.put(3)
    first, other = queue.claim()
    queue.do(jobs.finish, other, JobState.HELD, 100.0, "status-C000")
    queue.do(jobs.put_back, first, 500.0, "aborted", item_fault=True)
    assert not queue.do(claims.overtaken, first.id)
    (second,) = queue.claim(now=600.0)
    queue.do(jobs.finish, second, JobState.DONE, 600.0)
    assert [queue.do(claims.overtaken, job.id) for job in (first, second, other)] == [True, False, False]
    queue.do(lambda connection: connection.execute(update(_t).values(last_error="status-C000")).rowcount)
    assert queue.do(claims.overtaken, first.id)  # whatever is written of it
