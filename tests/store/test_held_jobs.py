"""Held jobs are found page by page, counted up to a limit, and ended together or not at all, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, select, update

from broker.model.lane import JobState
from broker.queue import holds
from broker.store import jobs
from broker.store.db.database import Database
from broker.store.holds import held_jobs
from broker.store.holds.held_jobs import HeldFilter
from broker.store.jobs import NewJob
from broker.store.schema import tables


def fill(database: Database, lane: str, error: str, *subjects: int) -> None:
    """Put held jobs."""

    def put(connection: Connection) -> None:
        new = [NewJob(kind="deliver", lane=lane, subject=subject, detail={}) for subject in subjects]
        jobs.enqueue(connection, new, 1.0)
        wanted = tables.job.c.subject.in_(subjects)
        connection.execute(update(tables.job).where(wanted).values(state=JobState.HELD, last_error=error))

    database.submit(put).result(20)


@pytest.fixture
def queue(database: Database) -> Database:
    fill(database, "deliver:pacs", "0xA700", 1, 2, 3)
    fill(database, "deliver:pacs", "timeout", 4)
    fill(database, "feedback:ris", "timeout", 5)
    return database


def states(database: Database) -> dict[int, str]:
    query = select(tables.job.c.subject, tables.job.c.state)
    return dict(database.read(lambda connection: connection.execute(query).all()).result(20))  # type: ignore[arg-type]


def found(database: Database, wanted: HeldFilter, after: int = 0, limit: int = 100) -> list[int]:
    return [job.subject for job in database.read(held_jobs.find, wanted, after, limit).result(20)]


def test_filters_and_pages(queue: Database) -> None:
    assert found(queue, HeldFilter()) == [1, 2, 3, 4, 5]
    assert found(queue, HeldFilter(lane="deliver:pacs", error="timeout")) == [4]
    assert found(queue, HeldFilter(lane="%")) == []
    first = queue.read(held_jobs.find, HeldFilter(), 0, 2).result(20)
    assert found(queue, HeldFilter(), first[-1].id, 2) == [3, 4]
    assert [queue.read(held_jobs.count, HeldFilter(), limit).result(20) for limit in (3, 5, 100)] == [3, 5, 5]


def end(queue: Database, rows: Callable[[Connection], Any]) -> int:
    release = partial(holds.release, actor="user:anna", at=2.0)
    return int(queue.submit(holds.end_all, rows, lambda connection, row: release(connection, row)).result(20))


def test_all_that_match_are_ended_with_an_audit_row_each(queue: Database) -> None:
    wanted = HeldFilter(error="timeout")
    assert end(queue, lambda connection: holds.matching(connection, wanted, 2)) == 2
    assert states(queue) == {1: "held", 2: "held", 3: "held", 4: "ready", 5: "ready"}
    query = select(tables.audit.c.action, tables.audit.c.actor)
    rows = queue.read(lambda connection: connection.execute(query).all()).result(20)
    assert [tuple(row) for row in rows] == [("job.released", "user:anna")] * 2


@pytest.mark.parametrize("expected", [0, 1, 3, 99_999])
def test_another_number_than_was_seen_ends_nothing(queue: Database, expected: int) -> None:
    with pytest.raises(holds.ListChanged):
        end(queue, lambda connection: holds.matching(connection, HeldFilter(error="timeout"), expected))
    assert set(states(queue).values()) == {"held"}


def test_a_row_that_is_not_held_any_more_is_not_counted(queue: Database) -> None:
    ids = [job.id for job in queue.read(held_jobs.find, HeldFilter(), 0, 2).result(20)]
    assert end(queue, lambda connection: [*ids, 4711]) == 2
    assert end(queue, lambda connection: ids) == 0
