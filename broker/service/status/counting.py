"""Counts what waits in the database, for all who ask: one count at a time, and at most a share of the time.

Without this bound a few open pages would keep busy all readers of a large database, which the worklist needs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo

from sqlalchemy import Connection

from broker.errors import Unavailable
from broker.store import senders
from broker.store.db.database import Database
from broker.store.overview import Counts, counts
from broker.store.senders import SenderRecord

FRESH = 2.0  # seconds for which counts are served again: to ask again costs no query
SHARE = 20  # times as long as a look took is the least time to the next one
FIRST = 0.8  # seconds that one who asks waits while there are no counts yet
AGAIN = 0.5  # seconds that one who asks waits for newer counts


@dataclass(frozen=True, slots=True)
class DatabaseNumbers:
    """What the database was asked for at one moment."""

    counts: Counts
    senders: tuple[SenderRecord, ...]


@dataclass(frozen=True, slots=True)
class NewestNumbers:
    """The newest numbers, and when they were counted (s since the epoch). `stale`: newer ones are not to be had."""

    numbers: DatabaseNumbers
    at: float | None
    stale: bool


NOTHING = DatabaseNumbers(Counts(), ())


class Counting:
    """Serves the newest numbers; counts again only when the last ones are old enough."""

    def __init__(self, database: Database, zone: tzinfo, clock: Callable[[], float] = time.monotonic) -> None:
        """`zone` says when a day begins; `clock` gives seconds."""
        self._database = database
        self._zone = zone
        self._clock = clock
        self._look: asyncio.Task[None] | None = None
        self._due = 0.0
        self._newest = NewestNumbers(NOTHING, None, stale=False)

    async def newest(self) -> NewestNumbers:
        """The numbers; who asks waits for newer ones for AGAIN seconds at most, for the first ones FIRST."""
        if self._look is None and self._clock() >= self._due:
            self._look = asyncio.create_task(self._run())
        if self._look is not None:
            await asyncio.wait({self._look}, timeout=FIRST if self._newest.at is None else AGAIN)
        return self._newest

    async def _run(self) -> None:
        began, now = self._clock(), time.time()
        local = datetime.fromtimestamp(now, self._zone)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
        try:
            numbers = await asyncio.wrap_future(self._database.read(_numbers, midnight, local.strftime("%Y%m%d")))
            self._newest = NewestNumbers(numbers, now, stale=False)
        except Unavailable:
            self._newest = NewestNumbers(self._newest.numbers, self._newest.at, stale=True)
        finally:
            ended = self._clock()
            self._look, self._due = None, max(began + FRESH, ended + SHARE * (ended - began))


def _numbers(connection: Connection, midnight: float, day: str) -> DatabaseNumbers:
    return DatabaseNumbers(counts(connection, midnight, day), tuple(senders.all_of(connection)))
