"""Thousands of steps are due at once, for example after a weekend: none is left, and traffic goes first."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import Connection, Table, func, insert, select
from support.orders.closing import device
from support.orders.intake import take
from support.scale import scaled
from support.service.site import order
from support.store.measured import Walked, uncollected

from broker.orders import step_walk
from broker.orders.stories import ending
from broker.store.db.database import Database
from broker.store.schema import tables

COUNT, SOME = scaled(300, 20_000), 100
# what is a copy's own: rows, and what must be unique
NUMBERED = ("id", "request", "procedure", "step")
NAMED = ("study_instance_uid", "requested_procedure_id", "step_id", "accession", "placer_number", "filler_number")
COPIED = (tables.service_request, tables.requested_procedure, tables.scheduled_step, tables.step_station)


def copies(database: Database, count: int) -> None:
    """Make so many orders of the first one, for the same patient."""

    def copy(connection: Connection, table: Table) -> None:
        first = dict(connection.execute(select(table)).mappings().first() or {})
        rows: list[dict[str, Any]] = []
        for number in range(1, count):
            own = {key: first[key] + number for key in NUMBERED if key in first}
            own |= {key: f"{first[key]}.{number}" for key in NAMED if first.get(key)}
            rows.append({**first, **own})
        connection.execute(insert(table), rows)

    def unit(connection: Connection) -> None:
        for table in COPIED:
            copy(connection, table)

    database.execute(unit)


def statuses(database: Database) -> dict[str, int]:
    step = tables.scheduled_step.c
    query = select(step.status, func.count()).group_by(step.status)
    return {row[0]: row[1] for row in database.read(lambda c: c.execute(query).all()).result(10)}


def overdue(database: Database, count: int) -> Walked:
    """Appointments of the day before yesterday to which nobody came."""
    house = Walked(database, device(no_show_after=12))
    house.place()
    copies(database, count)
    house.later(days=2)
    return house


@pytest.mark.timeout(scaled(180, 3000))
def test_all_are_ended_by_short_transactions(database: Database) -> None:
    house = overdue(database, COUNT)
    with uncollected():
        assert step_walk.end_by_time(house.walk) == COUNT
    assert "SCHEDULED" not in statuses(house.database)
    assert house.pace.short
    assert len(house.pace.spent) > COUNT  # one order in each
    assert step_walk.end_by_time(house.walk) == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_orders_come_between_any_two_of_them(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """On SQLite, where all wait for one writer."""
    house = overdue(database, SOME)
    real, ended, going = ending.end, 0, threading.Event()
    waited: list[int] = []

    def end(*args: Any) -> Any:
        nonlocal ended
        ended += 1
        going.set()
        return real(*args)

    monkeypatch.setattr(ending, "end", end)

    def traffic() -> None:
        assert going.wait(30)
        for number in range(20):
            before = ended
            assert take(house.database, order(SOME + number, start="20300101080000").encode()).code == "AA"
            waited.append(ended - before)

    sender = threading.Thread(target=traffic)
    sender.start()
    assert step_walk.end_by_time(house.walk) == SOME
    sender.join()
    assert len(waited) == 20
    assert sorted(waited)[10] <= 2
    assert statuses(house.database)["SCHEDULED"] == 20


def test_it_waits_while_others_wait_and_ends_when_the_broker_stops(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = overdue(database, SOME)
    turns = 0

    def turn() -> bool:
        nonlocal turns
        turns += 1
        if turns == 50:
            house.stopping.set()
        return not house.stopping.is_set()

    monkeypatch.setattr(house.pace, "turn", turn)
    assert step_walk.end_by_time(house.walk) == 49
    assert statuses(house.database)["SCHEDULED"] == SOME - 49
