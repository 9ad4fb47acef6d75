"""Limits what one connection, one address and all of them may cost; counts how often an address asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

BURST = 4.0  # seconds' worth that may come at once
_SWEEP = 1024  # addresses; beyond, those that have been quiet are forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationLimits:
    """Counts, bytes and seconds; see `[limits]` of the configuration."""

    half_open_per_address: int = 20
    associations_per_address: int = 100
    associations: int = 1000
    association_request_timeout: float = 30  # the ARTIM timer of PS3.8 9.1.5
    pdu_timeout: float = 60
    idle_timeout: float = 600
    tls_handshake_timeout: float = 5
    response_timeout: float = 60
    max_pdu: int = 262_144
    max_object: int = 64 * 1024**3
    associations_per_second: float = 50  # that one address asks for; see `RateLimit`
    operations: int = 1  # requests of one association served at the same time (PS3.7 D.3.3.3)


class RateLimit:
    """Says how often one address may do something: a token bucket per address, bounded in memory. Not for threads."""

    def __init__(self, per_second: float, clock: Callable[[], float]) -> None:
        """`clock` in seconds, monotonic."""
        self._rate = per_second
        self._most = max(per_second * BURST, 1.0)
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # address: tokens left at a time
        self._sweep_at = _SWEEP

    def take(self, address: str) -> bool:
        """Count one more from this address; False if that is too often."""
        now = self._clock()
        if len(self._buckets) >= self._sweep_at:
            self._sweep(now)
        left, since = self._buckets.get(address, (self._most, now))
        left = min(self._most, left + (now - since) * self._rate)
        allowed = left >= 1
        self._buckets[address] = (left - 1 if allowed else left, now)
        return allowed

    def _sweep(self, now: float) -> None:
        """Forget buckets that are full again. The next sweep comes when as many again have been added."""
        self._buckets = {
            address: (left, since)
            for address, (left, since) in self._buckets.items()
            if left + (now - since) * self._rate < self._most
        }
        self._sweep_at = len(self._buckets) + _SWEEP
