"""Runs the many units of one request: what became of those before is told when the database goes away in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from broker.errors import Unavailable

T = TypeVar("T")
AT_ONCE = 16  # units of a batch that wait for the database, which has a deadline for each of them
AWAY = {"outcome": "unavailable", "detail": "Passing trouble: send it again"}


async def outcomes(units: Iterable[Callable[[], Awaitable[T]]]) -> list[T | None]:
    """What became of each; None for one whose outcome is not known, as the database is away.

    Once it is away nothing more is begun. Raises Unavailable if no outcome is known.
    """
    turn = asyncio.Semaphore(AT_ONCE)
    troubles: list[Unavailable] = []

    async def outcome(unit: Callable[[], Awaitable[T]]) -> T | None:
        async with turn:
            if troubles:
                return None
            try:
                return await unit()
            except Unavailable as error:
                troubles.append(error)
                return None

    results = await asyncio.gather(*map(outcome, units))
    if troubles and all(result is None for result in results):
        raise troubles[0]
    return results
