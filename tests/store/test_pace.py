"""Long work goes in small steps: how large they are, that others go first, that it ends with the broker."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from support.peers.tools import wait_until

from broker.store.db import pace as module
from broker.store.db.database import Database
from broker.store.db.pace import FIRST, MOST, TARGET, Pace, padded

LANE = text("INSERT INTO lane (name, failures, open_until, last_error) VALUES (:name, 0, 0, '')")


class Clock:
    """Time that goes on by what a step takes."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Unresting(Pace):
    """Rests in no time."""

    def _rest(self, seconds: float) -> None:
        pass


def sizes(pace: Pace, clock: Clock, count: int, each: float) -> list[int]:
    """How many items the steps over `count` of them take, if each item takes so many seconds."""

    def unit(connection: Connection, part: Sequence[int]) -> int:
        clock.now += each * len(part)
        return len(part)

    return list(pace.write(unit, range(count)))


def test_cheap_items_go_in_ever_larger_steps_up_to_a_bound(database: Database, clock: Clock) -> None:
    found = sizes(Unresting(database, clock=clock), clock, 4000, 0.0)
    assert found[:4] == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST]
    assert max(found) == MOST
    assert sum(found) == 4000


def test_a_step_that_took_too_long_is_followed_by_smaller_ones(database: Database, clock: Clock) -> None:
    pace = Unresting(database, clock=clock)
    found = sizes(pace, clock, 100, TARGET)
    assert found[:5] == [16, 8, 4, 2, 1]
    assert set(found[5:]) == {1}
    assert sizes(pace, clock, 3, 0.0)[0] == 1  # the next run begins as this one ended


def test_steps_settle_between_half_and_all_of_the_time(database: Database, clock: Clock) -> None:
    found = sizes(Unresting(database, clock=clock), clock, 1000, TARGET / 50)
    assert found[-3:-1] == [32, 32]


def test_each_step_is_a_transaction_of_its_own(database: Database) -> None:
    def unit(connection: Connection, part: Sequence[int]) -> int:
        if 20 in part:
            raise ValueError("the second step")
        for number in part:
            values = {"name": f"x{number}"}
            connection.execute(LANE, values)
        return len(part)

    steps = Unresting(database).write(unit, range(40))
    with pytest.raises(ValueError, match="the second step"):
        list(steps)
    stored = database.read(lambda connection: connection.execute(text("SELECT count(*) FROM lane")).scalar_one())
    assert stored.result(10) == FIRST


def test_what_goes_alone_is_a_transaction_of_its_own(database: Database) -> None:
    def unit(connection: Connection, name: str) -> str:
        connection.execute(LANE, {"name": name})
        return name

    stopping, rests = threading.Event(), list[float]()

    class Noting(Pace):
        def _rest(self, seconds: float) -> None:
            rests.append(seconds)

    pace = Noting(database, stopping=stopping)
    assert [pace.alone(unit, "one"), pace.alone(unit, "two")] == ["one", "two"]
    assert len(rests) == 2
    assert min(rests) > 0
    stopping.set()
    assert pace.alone(unit, "three") is None
    stored = database.read(lambda connection: connection.execute(text("SELECT name FROM lane")).scalars().all())
    assert set(stored.result(10)) == {"one", "two"}


def test_nothing_begins_once_the_broker_stops(database: Database) -> None:
    stopping = threading.Event()
    pace = Pace(database, stopping=stopping)
    steps = pace.write(lambda _, part: len(part), range(100))
    assert next(steps) == FIRST
    stopping.set()
    assert list(steps) == []


def test_others_who_wait_for_the_writer_go_first(tmp_path: Path, clock: Clock) -> None:
    """SQLite has one writer: while somebody holds it and another waits, a step does not begin."""
    database = Database(f"sqlite:///{tmp_path / 'broker.db'}")
    held, release = threading.Event(), threading.Event()

    def hold(_: Connection) -> None:
        held.set()
        release.wait(20)

    order: list[str] = []
    database.submit(hold)
    assert held.wait(20)
    waiting = database.submit(lambda _: order.append("traffic"))
    wait_until(lambda: database.busy, 10, "somebody waits")

    def upkeep() -> None:
        list(Pace(database, clock=clock).write(lambda _, part: order.append("upkeep"), [1]))

    duty = threading.Thread(target=upkeep)
    duty.start()
    release.set()
    waiting.result(20)
    duty.join(20)
    assert order == ["traffic", "upkeep"]
    assert not database.busy
    database.close()


def test_a_writer_that_is_always_busy_is_waited_for_so_long_and_no_longer(clock: Clock) -> None:
    class Busy:
        @property
        def busy(self) -> bool:
            clock.now += 0.1
            return True

    assert Pace(Busy(), clock=clock).turn()  # type: ignore[arg-type]
    assert module.PATIENCE <= clock.now < module.PATIENCE + 0.5


@pytest.mark.parametrize(("count", "padded_to"), [(0, 0), (1, 1), (2, 2), (3, 4), (5, 8), (200, 256), (512, 512)])
def test_lists_have_few_lengths(count: int, padded_to: int) -> None:
    values = list(range(count))
    found = padded(values)
    assert len(found) == padded_to
    assert found[:count] == values
    assert set(found) == set(values)
