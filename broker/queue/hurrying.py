"""Makes jobs due that wait for a time which means nothing any more, in small steps: hundreds of thousands may wait.

Their node has changed, or the clock by which the time was written was set. What the database keeps from being done is
begun again by `again`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from broker import telemetry
from broker.errors import StoreUnavailable
from broker.store import lanes
from broker.store.db.database import Database
from broker.store.db.pace import Pace

PAGE = 5000  # rows of the table that are looked at by one read
Lanes = Sequence[str] | None  # stored names of lanes; None: all


class Hurrying:
    """Works in a thread of its own, beside the lanes."""

    def __init__(self, database: Database, wake: Callable[[], None] = lambda: None) -> None:
        """`wake` is called from that thread when there are jobs due."""
        self._database, self._wake = database, wake
        self._stopping = threading.Event()
        self._failed: list[Lanes] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="queue-hurrying")

    def begin(self, names: Lanes, now: float) -> None:
        """Make the jobs of these lanes due, soon."""
        if not self._stopping.is_set():
            self._thread.submit(self._work, names, now)

    def again(self, now: float) -> None:
        """Begin again what the database kept from being done."""
        failed, self._failed = self._failed, []
        for names in failed:
            self.begin(names, now)

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopping.set()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _work(self, names: Lanes, now: float) -> None:
        try:
            self.make_due(names, now)
        except StoreUnavailable as error:
            telemetry.logger().warning("queue.unavailable", error=telemetry.describe(error))
            self._failed.append(names)
        self._wake()

    def make_due(self, names: Lanes, now: float) -> None:
        """Make the jobs of these lanes due (blocking). Raises StoreUnavailable."""
        pace = Pace(self._database, stopping=self._stopping)
        first, last = pace.read(lanes.span)
        for after in range(first - 1, last, PAGE):
            late = pace.read(lanes.late, after, after + PAGE, names, now)
            for _ in pace.write(partial(lanes.make_due, now=now), late):
                pass
            if pace.stopped:
                return
