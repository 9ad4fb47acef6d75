"""Counts for pages: one look at a time, none too often, old ones while there are no newer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC
from typing import Any

import pytest

from broker.errors import StoreUnavailable
from broker.service.status import counting
from broker.service.status.counting import NOTHING, Counting, DatabaseNumbers, NewestNumbers

SOME, MORE = (replace(NOTHING, counts=replace(NOTHING.counts, refused=number)) for number in (1, 2))


class SlowDatabase:
    """Reads end when the test says so."""

    def __init__(self) -> None:
        self.looks: list[Future[DatabaseNumbers]] = []

    def read(self, *_: Any) -> Future[DatabaseNumbers]:
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
    return Counting(database, UTC, clock)  # type: ignore[arg-type]


async def looked(database: SlowDatabase, number: int) -> Future[DatabaseNumbers]:
    """The look with this number, once it has begun."""
    async with asyncio.timeout(5):
        while len(database.looks) < number:  # noqa: ASYNC110 - a turn of the loop
            await asyncio.sleep(0)
    return database.looks[number - 1]


def shown(newest: NewestNumbers) -> tuple[int, bool, bool]:
    """Which numbers they are, whether they were ever counted, and whether newer ones are not to be had."""
    return newest.numbers.counts.refused, newest.at is not None, newest.stale


def in_loop(work: Callable[[], Any]) -> None:
    asyncio.run(work())


def test_many_pages_are_one_look(database: SlowDatabase, counts: Counting) -> None:
    async def pages() -> None:
        waiting = [asyncio.create_task(counts.newest()) for _ in range(50)]
        (await looked(database, 1)).set_result(SOME)
        assert {shown(newest) for newest in await asyncio.gather(*waiting)} == {(1, True, False)}
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
        assert shown(await first) == (1, True, False)
        clock.now += 29.9
        assert shown(await counts.newest()) == (1, True, False)
        assert len(database.looks) == 1
        clock.now += 0.2
        assert shown(await counts.newest()) == (1, True, False)
        assert shown(await counts.newest()) == (1, True, False)
        assert len(database.looks) == 2
        database.looks[1].set_result(MORE)
        async with asyncio.timeout(5):
            while (await counts.newest()).numbers != MORE:  # noqa: ASYNC110
                await asyncio.sleep(0)

    in_loop(pages)


def test_while_the_database_is_away_the_last_ones_with_their_age(
    database: SlowDatabase, counts: Counting, clock: Clock
) -> None:
    async def pages() -> None:
        waiting = asyncio.create_task(counts.newest())
        (await looked(database, 1)).set_exception(StoreUnavailable("away"))
        assert shown(await waiting) == (0, False, True)
        clock.now += 5
        waiting = asyncio.create_task(counts.newest())
        (await looked(database, 2)).set_result(SOME)
        assert shown(await waiting) == (1, True, False)
        clock.now += 60
        waiting = asyncio.create_task(counts.newest())
        (await looked(database, 3)).set_exception(StoreUnavailable("away"))
        await waiting
        assert shown(await counts.newest()) == (1, True, True)

    in_loop(pages)
