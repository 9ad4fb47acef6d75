"""Counts for pages: one look at a time, none too often, old ones while there are no newer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest

from broker.admin import counting
from broker.admin.counting import NOTHING, Counting
from broker.errors import StoreUnavailable
from broker.store.overview import Counts

SOME, MORE = (replace(NOTHING, steps={"SCHEDULED": number}) for number in (1, 2))


class SlowDatabase:
    """Reads end when the test says so."""

    def __init__(self) -> None:
        self.looks: list[Future[Counts]] = []

    def read(self, *_: Any) -> Future[Counts]:
        self.looks.append(Future())
        return self.looks[-1]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def database() -> SlowDatabase:
    return SlowDatabase()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counts(database: SlowDatabase, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Counting:
    monkeypatch.setattr(counting, "AGAIN", 0)
    return Counting(database, clock)  # type: ignore[arg-type]


async def looked(database: SlowDatabase, number: int) -> Future[Counts]:
    """The look with this number, once it has begun."""
    async with asyncio.timeout(5):
        while len(database.looks) < number:  # noqa: ASYNC110 - a turn of the loop
            await asyncio.sleep(0)
    return database.looks[number - 1]


def in_loop(work: Callable[[], Any]) -> None:
    asyncio.run(work())


def test_many_pages_are_one_look(database: SlowDatabase, counts: Counting) -> None:
    async def pages() -> None:
        waiting = [asyncio.create_task(counts.newest()) for _ in range(50)]
        (await looked(database, 1)).set_result(SOME)
        assert set(map(str, await asyncio.gather(*waiting))) == {str((SOME, None))}
        assert len(database.looks) == 1

    in_loop(pages)


def test_a_look_that_takes_long_is_not_repeated_soon_and_old_counts_are_shown_meanwhile(
    database: SlowDatabase, counts: Counting, clock: Clock
) -> None:
    async def pages() -> None:
        first = asyncio.create_task(counts.newest())
        look = await looked(database, 1)
        clock.now += 1.5
        look.set_result(SOME)
        assert await first == (SOME, None)
        clock.now += 29.9
        assert await counts.newest() == (SOME, None)
        assert len(database.looks) == 1
        clock.now += 0.2
        assert await counts.newest() == (SOME, None)
        assert await counts.newest() == (SOME, None)
        assert len(database.looks) == 2
        database.looks[1].set_result(MORE)
        async with asyncio.timeout(5):
            while (await counts.newest())[0] != MORE:  # noqa: ASYNC110
                await asyncio.sleep(0)

    in_loop(pages)


def test_while_the_database_is_away_the_last_ones_with_their_age(
    database: SlowDatabase, counts: Counting, clock: Clock
) -> None:
    async def pages() -> None:
        waiting = asyncio.create_task(counts.newest())
        (await looked(database, 1)).set_exception(StoreUnavailable("away"))
        assert await waiting == (NOTHING, float("inf"))
        clock.now += 5
        waiting = asyncio.create_task(counts.newest())
        (await looked(database, 2)).set_result(SOME)
        assert await waiting == (SOME, None)
        clock.now += 60
        waiting = asyncio.create_task(counts.newest())
        (await looked(database, 3)).set_exception(StoreUnavailable("away"))
        await waiting
        assert await counts.newest() == (SOME, 60)

    in_loop(pages)
