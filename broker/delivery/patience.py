"""Decides how long the answers of a destination are waited for: as its node says, and longer once it proved to be slow.

A destination that answers after the time is up has often stored the object. To send it again in the same way would
store it again and again. So an object that was not answered gets twice the time at its next try, and the whole
destination gets it once that was enough. Kept in memory: a start, or a change of the node, begins anew.
"""

from __future__ import annotations

MORE = 4  # times the time of the node, at most: one that never answers must still be noticed
LATE_MOST = 10_000  # objects that are remembered; the one that was late longest ago is forgotten


class Patience:
    """The patience with one node. Belongs to the event loop."""

    def __init__(self, usual: float) -> None:
        """`usual`: seconds that the node is given for an answer."""
        self._usual = usual
        self._slowest = 0.0
        self._late: dict[int, int] = {}  # by job: how often it was not answered in time

    @property
    def seconds(self) -> float:
        """For an answer about any object: twice what a slow one was seen to take."""
        return self._within(2 * self._slowest)

    def for_one(self, job: int) -> float:
        """For an answer about this object."""
        return max(self.seconds, self._within(self._usual * 2 ** min(self._late.get(job, 0), MORE)))

    def passed(self, job: int) -> float:
        """The time was up for an object: so long it is left alone, as the destination may still be at work on it."""
        waited = self.for_one(job)
        self._late[job] = self._late.pop(job, 0) + 1
        if len(self._late) > LATE_MOST:
            del self._late[next(iter(self._late))]
        return waited

    def answered(self, job: int, took: float) -> None:
        """An object was answered after so many seconds."""
        if self._late.pop(job, 0):
            self._slowest = max(self._slowest, took)

    def _within(self, seconds: float) -> float:
        return min(max(seconds, self._usual), self._usual * MORE)
