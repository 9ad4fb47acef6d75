"""Counts what the whole database holds, for pages: one count at a time, at most a share of the time.

The start page is open to everybody and reloads itself. Without this bound a few open pages would keep busy all readers
of a large database, which the worklist needs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from broker.errors import Unavailable
from broker.store.db.database import Database
from broker.store.overview import Counts, counts

NOTHING = Counts(steps={}, instances={}, lanes=[], messages={}, knocking=0, performed_waiting=0)
FRESH = 2.0  # seconds for which counts are served again: a page reload costs no query
SHARE = 20  # times as long as a look took is the least time to the next one
FIRST = 5.0  # seconds that a page waits while there are no counts yet
AGAIN = 1.0  # seconds that a page waits for newer counts
DAY = 86_400.0


class Counting:
    """Serves the newest counts; runs a new count only when the last one is old enough."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._database = database
        self._clock = clock
        self._look: asyncio.Task[None] | None = None
        self._due = 0.0
        self._counted: Counts | None = None
        self._at = 0.0
        self._failed = False

    async def newest(self) -> tuple[Counts, float | None]:
        """The counts, and their age in seconds if newer ones are not to be had; NOTHING and infinity for none ever."""
        if self._look is None and self._clock() >= self._due:
            self._look = asyncio.create_task(self._run())
        if self._look is not None:
            await asyncio.wait({self._look}, timeout=FIRST if self._counted is None else AGAIN)
        if self._counted is None:
            return NOTHING, float("inf")
        return self._counted, self._clock() - self._at if self._failed else None

    async def _run(self) -> None:
        began = self._clock()
        try:
            counted = await asyncio.wrap_future(self._database.read(counts, time.time() - DAY))
            self._counted, self._at, self._failed = counted, began, False
        except Unavailable:
            self._failed = True
        finally:
            now = self._clock()
            self._look, self._due = None, max(began + FRESH, now + SHARE * (now - began))
