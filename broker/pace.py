"""Limits how many lines of the log anybody can cause, counting those left out, and how often an address may ask."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog

MOST = {"info": 3000, "warning": 50, "error": 50}  # lines of an event, by level; others are not counted


class LinePace:
    """Lets one log line of a kind through per minute and counts the others: strangers can cause any number."""

    KINDS = 1000  # that are remembered; one more than that forgets all

    def __init__(self, seconds: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        """`seconds` between two lines of a kind."""
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._kinds: dict[str, tuple[float, int]] = {}  # when it was let through last, how many were not since

    def take(self, kind: str) -> int | None:
        """How many lines of a kind were not written since the last one; None: do not write this one either."""
        now = self._clock()
        with self._lock:
            since, held = self._kinds.get(kind, (-math.inf, 0))
            if now - since < self._seconds:
                self._kinds[kind] = since, held + 1
                return None
            if len(self._kinds) > self.KINDS:
                self._kinds.clear()
            self._kinds[kind] = now, 0
            return held


class FloodGate:
    """Lets so many lines of an event through in ten seconds, whoever causes them; a processor of structlog.

    The next line that is let through tells in `repeats` how many were not. Events that strangers cause have a pace of
    their own, which is slower; this one is for what nobody has thought of. Lines of one node do not count for another.
    """

    WINDOW = 10.0  # seconds
    EVENTS = 1000  # that are remembered; one more than that forgets all

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._events: dict[tuple[object, ...], list[float]] = {}  # begin of the window, lines in it, lines left out

    def __call__(self, _: Any, __: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Let a record through, or raise DropEvent."""
        most = MOST.get(record.get("level", ""))
        if most is None:
            return record
        now, key = self._clock(), (record.get("event"), record["level"], record.get("node"))
        with self._lock:
            state = self._events.get(key)
            if state is None:
                if len(self._events) > self.EVENTS:
                    self._events.clear()
                state = self._events[key] = [now, 0, 0]
            if now - state[0] >= self.WINDOW:
                state[0], state[1] = now, 0
            if state[1] >= most:
                state[2] += 1
                raise structlog.DropEvent
            state[1] += 1
            left_out, state[2] = int(state[2]), 0
        if left_out:
            record["repeats"] = (record.get("repeats") or 0) + left_out
        return record


class AddressPace:
    """Spreads what each address asks: so many times a second, a hundred at once. Not for threads."""

    BURST = 100  # requests
    PATIENCE = 0.5  # seconds that a request may wait for its turn
    ADDRESSES = 1024  # beyond, those are forgotten that have been quiet, each time as many have come again

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._each = 1 / per_second
        self._clock = clock
        self._sweep_at = self.ADDRESSES
        self._due: dict[str, float] = {}  # when what an address has asked for would be done at that pace

    def wait(self, address: str) -> float | None:
        """Seconds that one more request of this address has to wait; None if it asks too often for that."""
        now = self._clock()
        if len(self._due) > self._sweep_at:
            self._due = {other: due for other, due in self._due.items() if due > now}
            self._sweep_at = len(self._due) + self.ADDRESSES
        due = max(self._due.get(address, now), now) + self._each
        wait = due - self.BURST * self._each - now
        if wait > self.PATIENCE:
            return None
        self._due[address] = due
        return max(wait, 0.0)
