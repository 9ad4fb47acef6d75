"""Many orders in one request: slow is no trouble, and trouble in the middle hides nothing. On both databases."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, func, select
from support.orders.documents import order
from support.service.rest import TOKEN, application

from broker.errors import StoreFull, StoreUnavailable
from broker.orders.direct import placing
from broker.orders.importing import filing
from broker.settings import load
from broker.store.db import deadlines
from broker.store.db.database import Database
from broker.store.schema import tables

COUNT = 100


def post(database: Any, count: int = COUNT, *, filed: bool = False) -> httpx.Response:
    """The answer to a batch of new orders, or to an import of files."""
    app = application(database, load(None))

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://broker") as http:
            orders = [order(number) for number in range(count)]
            given = [{"place": f"row {number}", "order": one} for number, one in enumerate(orders)] if filed else orders
            path = "/api/v1/imports" if filed else "/api/v1/orders/batch"
            return await http.post(path, json={"orders": given}, headers={"Authorization": f"Bearer {TOKEN}"})

    return asyncio.run(ask())


def stored(database: Database) -> int:
    def count(connection: Connection) -> int:
        return int(connection.execute(select(func.count()).select_from(tables.service_request)).scalar_one())

    return database.read(count).result(10)


def test_a_batch_may_take_longer_than_one_order_may(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each order has its own deadline. On a busy machine all of them together took longer, and the answer was 503."""
    real, within, never = placing.place, 4.0, threading.Event()
    monkeypatch.setattr(deadlines, "WRITE", within)
    monkeypatch.setattr(deadlines, "WATCH", within)

    def slow(*args: Any, **kwargs: Any) -> Any:
        never.wait(2 * within / COUNT if database.dialect == "sqlite" else 12 * within / COUNT)  # eight write there
        return real(*args, **kwargs)

    monkeypatch.setattr(placing, "place", slow)
    began = time.monotonic()
    answer = post(database)
    assert time.monotonic() - began > within
    assert answer.status_code == 200
    assert [one["outcome"] for one in answer.json()["results"]] == ["created"] * COUNT
    assert stored(database) == COUNT


class Failing:
    """A database that is away after so many orders, also for the notes about an import."""

    def __init__(self, database: Database, good: int, error: Exception) -> None:
        self._database, self._good, self._error = database, good, error
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def submit(self, unit: Any, *args: Any, **kwargs: Any) -> Future[Any]:
        """As a database, while it answers."""
        self.asked += unit in (placing.place, filing.take_in)
        if unit not in (placing.place, filing.take_in, filing.record) or self.asked <= self._good:
            return self._database.submit(unit, *args, **kwargs)
        lost: Future[Any] = Future()
        lost.set_exception(self._error)
        return lost


@pytest.mark.parametrize("filed", [False, True])
def test_a_database_that_goes_away_in_the_middle_hides_no_outcome(database: Database, *, filed: bool) -> None:
    failing = Failing(database, 40, StoreUnavailable("the database does not answer"))
    answer = post(failing, filed=filed)
    outcomes = [one["outcome"] for one in answer.json()["results"]]
    assert answer.status_code == 200
    assert set(outcomes) == {"created", "unavailable"}
    assert outcomes.count("created") == stored(database) == 40
    assert failing.asked < 60  # nobody waits for each of the others
    assert answer.json().get("noted", False) is False  # by what is stored, nobody would find those that were refused


@pytest.mark.parametrize("filed", [False, True])
@pytest.mark.parametrize(("error", "status"), [(StoreUnavailable("away"), 503), (StoreFull(), 507)])
def test_a_batch_of_which_nothing_was_placed_is_passing_trouble(
    database: Database, error: Exception, status: int, *, filed: bool
) -> None:
    answer = post(Failing(database, 0, error), filed=filed)
    assert answer.status_code == status
    assert "Retry-After" in answer.headers


def test_an_import_in_peace_is_noted(database: Database) -> None:
    answer = post(database, 3, filed=True).json()
    assert ([one["outcome"] for one in answer["results"]], answer["noted"]) == (["created"] * 3, True)
