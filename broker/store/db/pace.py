"""Runs long work on the database in small steps beside traffic, which goes first.

A step is one transaction that holds the writer for about TARGET seconds: how many items it takes follows from what the
step before took. Before a step the work waits, PATIENCE seconds at most, while others wait for the writer. After it the
thread rests as long as the step took, so that a duty uses half of the time at most.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from broker.store.db.database import Database

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")
TARGET = 0.008  # seconds
PATIENCE = 1.0  # seconds; beyond, a duty would never come to its end on a busy database
LOOK = 0.002  # seconds between two looks whether others still wait
FIRST, MOST = 16, 512  # items of a step


class Pace:
    """The pace of one duty. It keeps the size of its steps, so that a run begins as the last one ended."""

    def __init__(
        self,
        database: Database,
        *,
        stopping: threading.Event | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Once `stopping` is set (from any thread) no step begins. `clock` gives seconds."""
        self._database = database
        self._stopping = stopping or threading.Event()
        self._clock = clock
        self.size = FIRST

    @property
    def stopped(self) -> bool:
        """No further step begins."""
        return self._stopping.is_set()

    def turn(self) -> bool:
        """Wait while others wait for the writer; False when nothing is to be begun any more."""
        deadline = self._clock() + PATIENCE
        while not self.stopped and self._database.busy and self._clock() < deadline:
            self._stopping.wait(LOOK)
        return not self.stopped

    def read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `query` reads. Raises StoreUnavailable."""
        began = self._clock()
        result = self._database.read(query, *args, **kwargs).result()
        self._rest(self._clock() - began)
        return result

    def write(self, unit: Callable[[Connection, Sequence[Item]], T], items: Sequence[Item]) -> Iterator[T]:
        """Run `unit` on all items, some in each transaction; what each returned, once it is committed.

        Ends early when the broker stops. Raises StoreUnavailable.
        """
        done = 0
        while done < len(items) and self.turn():
            part = items[done : done + self.size]
            result, spent = self._database.execute(self._timed, unit, part)
            done += len(part)
            yield result
            if len(part) == self.size or spent > TARGET:
                self._fit(spent)
            self._rest(spent)

    def alone(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """What `unit` returns, run in a transaction of its own; None when the broker stops.

        Raises what the unit raises, and StoreUnavailable.
        """
        if not self.turn():
            return None

        def timed(connection: Connection) -> tuple[T, float]:
            began = self._clock()
            return unit(connection, *args, **kwargs), self._clock() - began

        result, spent = self._database.execute(timed)
        self._rest(spent)
        return result

    def _timed(
        self, connection: Connection, unit: Callable[[Connection, Sequence[Item]], T], part: Sequence[Item]
    ) -> tuple[T, float]:
        began = self._clock()
        return unit(connection, part), self._clock() - began

    def _fit(self, spent: float) -> None:
        """Double or halve the next step, if this one was far from the target."""
        if spent > TARGET:
            self.size = max(1, self.size // 2)
        elif spent < TARGET / 2:
            self.size = min(MOST, self.size * 2)

    def _rest(self, seconds: float) -> None:
        self._stopping.wait(min(seconds, PATIENCE))


def padded(values: Sequence[Item]) -> list[Item]:
    """The same values, the last one repeated up to a power of two, for `IN (…)`.

    Each length is a statement of its own in the caches of SQLAlchemy and of the driver.
    """
    size = 1 << (len(values) - 1).bit_length() if values else 0
    return [*values, *repeat(values[-1], size - len(values))] if values else []
