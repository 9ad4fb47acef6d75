"""How often one address may do something: a token bucket per address, bounded in memory."""

from __future__ import annotations

from collections.abc import Callable

BURST = 4.0  # seconds' worth that may come at once
_SWEEP = 1024  # addresses; beyond, those that have been quiet are forgotten


class Pace:
    """See the module's text. Not for threads."""

    def __init__(self, per_second: float, clock: Callable[[], float]) -> None:
        """`clock` in seconds, monotonic."""
        self._rate = per_second
        self._most = max(per_second * BURST, 1.0)
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # address: tokens left at a time
        self._sweep_at = _SWEEP

    def take(self, address: str) -> bool:
        """One more from this address; False if that is too often."""
        now = self._clock()
        if len(self._buckets) >= self._sweep_at:
            self._sweep(now)
        left, since = self._buckets.get(address, (self._most, now))
        left = min(self._most, left + (now - since) * self._rate)
        allowed = left >= 1
        self._buckets[address] = (left - 1 if allowed else left, now)
        return allowed

    def _sweep(self, now: float) -> None:
        """A bucket that is full again says nothing. The next sweep comes when as many again have been added."""
        self._buckets = {
            address: (left, since)
            for address, (left, since) in self._buckets.items()
            if left + (now - since) * self._rate < self._most
        }
        self._sweep_at = len(self._buckets) + _SWEEP
