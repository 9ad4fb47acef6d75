"""Walks whose steps are measured."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from broker.store.db.database import Database
from broker.store.db.pace import Pace
from support.orders.closing import House
from support.scale import FULL

LONGEST = 0.05  # seconds of a transaction


class Measured(Pace):
    """A pace that keeps what its steps took of the processor, in seconds, and does not rest."""

    def __init__(self, database: Database, stopping: threading.Event | None = None) -> None:
        super().__init__(database, stopping=stopping, clock=time.process_time)
        self.spent: list[float] = []

    def _rest(self, seconds: float) -> None:
        self.spent.append(seconds)

    @property
    def short(self) -> bool:
        """That each step but one was short: a thread that an earlier test left may work during one of them.

        At CI's sizes a quarter of all is short, too: on a busy machine processor time counts several times.
        """
        longest = sorted(self.spent)[-2]
        return longest < LONGEST or (not FULL and longest < sum(self.spent) / 4)


class Walked(House):
    """A site that walks at a measured pace."""

    def __init__(self, database: Database, *devices: dict[str, Any], **worklist: Any) -> None:
        super().__init__(database, *devices, **worklist)
        self.pace = Measured(database, self.stopping)
        self.walk = replace(self.walk, pace=self.pace)


@contextmanager
def uncollected() -> Iterator[None]:
    """What the tests before have left is not collected meanwhile."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
