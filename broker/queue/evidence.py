"""Tells the faults of an item from those of its destination, by what else passes on the lane.

A destination that answers A700, or ends the association in the middle of an object, says nothing about whose fault it
is. What passes later does: if others pass after the first try of an item, it fails by its own fault from then on. If
several that were never in doubt fail in a row and nothing passes, it is the destination, and what failed before that is
no proof any more. It takes more of them where others have just passed, and the more of them the more items were to
blame of late: a destination that is sent many bad objects is not away. Kept in memory: after a start an item is on
trial anew; the faults that were counted stay.
"""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass

from broker.queue.retry_policy import RetryPolicy

IN_A_ROW = 3  # so many items that were not in doubt before, with nothing between that passed: the destination
PATIENCE = 4  # times as many where others have passed just before
IN_A_ROW_MOST = 300  # each is one answer of the destination: more say nothing new
JUST = 60.0  # seconds
OF_LATE = 3600.0  # seconds
DOUBTED_MOST = 10_000  # items that are remembered; the one that failed longest ago is forgotten


@dataclass(slots=True)
class _Doubt:
    """An item that failed: since when (by time.monotonic), how often, and what had passed when it failed first."""

    since: float
    tries: int = 0
    passed: int | None = None  # None: the destination was away or in trouble since
    cut: bool = False  # an association ended with it in flight


class Evidence:
    """What one lane has seen since this process started. Belongs to the event loop."""

    def __init__(self) -> None:
        self._passed = 0
        self._doubts: dict[int, _Doubt] = {}  # by job
        self._row: set[int] = set()
        self._passed_at = -math.inf  # by time.monotonic(), as all of these
        self._blamed: deque[float] = deque(maxlen=IN_A_ROW_MOST)  # when items were proven to fail by their own fault
        self._in_trouble = False

    @property
    def troubled(self) -> bool:
        """Several items failed and nothing has passed since: it is the destination."""
        return self._in_trouble

    def passed(self, job: int) -> None:
        """The destination has taken an item."""
        self._passed += 1
        self._passed_at, self._in_trouble = time.monotonic(), False
        self._doubts.pop(job, None)
        self._row.clear()

    def suspect(self, job: int) -> None:
        """An association that had done something ended with this item in flight. It is tried alone next."""
        self._known(job).cut = True

    def failed(self, job: int, *, cut: bool) -> bool:
        """A try that had nothing before it on its association failed. True if it is proven to be the item's fault.

        `cut`: the association ended with it in flight.
        """
        fresh = job not in self._doubts
        doubt = self._known(job)
        proven = doubt.passed is not None and self._passed > doubt.passed
        doubt.tries, doubt.cut = doubt.tries + 1, doubt.cut or cut
        if doubt.passed is None:
            doubt.passed = self._passed
        if proven:
            self._blamed.append(time.monotonic())
        if fresh and not self._in_trouble:
            self._row.add(job)
            self._in_trouble = len(self._row) >= self._enough()
            if self._in_trouble:
                self.away()
        return proven

    def _enough(self) -> int:
        """So many items that fail in a row are the destination's fault."""
        now = time.monotonic()
        while self._blamed and self._blamed[0] < now - OF_LATE:
            self._blamed.popleft()
        if now - self._passed_at >= JUST:
            return IN_A_ROW
        return min(IN_A_ROW * (PATIENCE + len(self._blamed)), IN_A_ROW_MOST)

    def _known(self, job: int) -> _Doubt:
        """What is known of an item that failed, as the one that failed last."""
        doubt = self._doubts.pop(job, None) or _Doubt(time.monotonic())
        self._doubts[job] = doubt
        if len(self._doubts) > DOUBTED_MOST:
            del self._doubts[next(iter(self._doubts))]
        return doubt

    def ended(self, job: int) -> None:
        """An item is held: it is tried no more."""
        self._doubts.pop(job, None)

    def away(self) -> None:
        """The destination could not be reached: what failed before may have failed by that."""
        for doubt in self._doubts.values():
            doubt.passed = None

    def doubts(self, job: int) -> bool:
        """The last try of this item failed, perhaps by its own fault."""
        return job in self._doubts

    def cuts(self, job: int) -> bool:
        """An association ended with this item in flight."""
        return job in self._doubts and self._doubts[job].cut

    def alone_too_long(self, job: int, policy: RetryPolicy) -> bool:
        """An item has failed for so long, with nothing that passes or fails beside it, that it is to blame."""
        doubt = self._doubts.get(job)
        return doubt is not None and not self.troubled and policy.alone(time.monotonic() - doubt.since, doubt.tries)
