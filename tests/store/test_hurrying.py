"""A large backlog is made due by short transactions, when a node has changed or a clock was set. On both databases."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import insert
from support.peers.tools import wait_until
from support.queue.lanes import PACS, Queue
from support.scale import scaled
from support.store.measured import Measured, uncollected

from broker.errors import StoreUnavailable
from broker.queue import hurrying
from broker.queue.hurrying import Hurrying
from broker.store import lanes
from broker.store.db.database import Database
from broker.store.db.deadlines import unhurried
from broker.store.schema import tables

COUNT, NOW = scaled(6000, 500_000), 1000.0
OTHER = "deliver:other"


def backlog(database: Database, count: int) -> Queue:
    """Jobs of two lanes in turn that wait for a time far ahead, as they were made."""
    queue = Queue(database)
    row = {
        "kind": "deliver", "detail": "{}", "state": "ready", "priority": 5, "due_at": 4e9, "attempts": 1, "failures": 0,
        "lease_owner": "", "lease_until": 0.0, "fence": 1, "last_error": "", "created_at": 4e9,
    }  # fmt: skip
    rows = [{**row, "subject": number, "lane": (PACS, OTHER)[number % 2]} for number in range(count)]
    database.execute(unhurried(lambda connection: connection.execute(insert(tables.job), rows)))
    return queue


def measured(monkeypatch: pytest.MonkeyPatch) -> list[Measured]:
    paces: list[Measured] = []

    def pace(database: Database, **more: Any) -> Measured:
        paces.append(Measured(database, **more))
        return paces[-1]

    monkeypatch.setattr(hurrying, "Pace", pace)
    return paces


@pytest.mark.parametrize(("names", "due"), [([PACS], COUNT // 2), (None, COUNT)])
def test_a_backlog_is_made_due_by_short_transactions(
    database: Database, monkeypatch: pytest.MonkeyPatch, names: list[str] | None, due: int
) -> None:
    waiting = backlog(database, COUNT)
    paces = measured(monkeypatch)
    with uncollected():
        Hurrying(waiting.database).make_due(names, NOW)
    assert paces[0].short
    rows = [row for lane in (PACS, OTHER) for row in waiting.rows(lane)]
    assert sum(row["due_at"] == row["created_at"] == NOW for row in rows) == due
    assert sum(row["due_at"] == row["created_at"] == 4e9 for row in rows) == COUNT - due


def test_what_a_silent_database_keeps_from_being_done_is_begun_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, woken = backlog(database, 60), threading.Semaphore(0)
    hurry = Hurrying(waiting.database, woken.release)

    def away(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("the database does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(lanes, "make_due", away)
        hurry.begin([PACS], NOW)
        assert woken.acquire(timeout=30)
    assert waiting.rows()[0]["due_at"] == 4e9
    hurry.again(NOW)
    wait_until(lambda: all(row["due_at"] == NOW for row in waiting.rows()), 60, "all are due")
    hurry.stop()
    hurry.begin([OTHER], NOW)  # nothing is begun any more
    assert waiting.rows(OTHER)[0]["due_at"] == 4e9
