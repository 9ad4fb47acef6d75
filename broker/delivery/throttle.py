"""Limits how many bytes of objects go to a node in a second, over all its associations, requests and files.

A token bucket: what was not used for BURST seconds may go at once, and then each chunk waits for its turn.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from broker.site.nodes import Node

BURST = 0.25  # seconds of bytes that go at once after a rest, and at most of one chunk
LEAST = 1024  # bytes of a chunk


class Throttle:
    """The limit of one node, in bytes per second. Its methods are for any thread."""

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self._clock = rate, clock
        self._lock = threading.Lock()
        self._free_at = clock() - BURST  # when all that was taken has gone out at that rate

    def take(self, size: int) -> float:
        """Seconds to wait before so many bytes are sent; they count as taken."""
        with self._lock:
            now = self._clock()
            start = max(self._free_at, now - BURST)
            self._free_at = start + size / self.rate
            return max(self._free_at - now, 0.0)

    def cut(self, piece: bytes) -> Iterator[tuple[bytes, float]]:
        """Chunks of a piece, and how long to wait before each. A chunk is taken when the iterator comes to it."""
        size = max(int(self.rate * BURST), LEAST)
        for start in range(0, len(piece), size):
            chunk = piece[start : start + size]
            yield chunk, self.take(len(chunk))


class Throttles:
    """The limits of all nodes. Belongs to one event loop."""

    def __init__(self) -> None:
        self._by_node: dict[str, Throttle] = {}

    def of(self, node: Node) -> Throttle | None:
        """The limit of a node; None for one that has none."""
        if node.bandwidth is None:
            self._by_node.pop(node.name, None)
            return None
        known = self._by_node.get(node.name)
        if known is None or known.rate != node.bandwidth:
            known = self._by_node[node.name] = Throttle(node.bandwidth)
        return known
