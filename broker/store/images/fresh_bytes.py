"""Keeps the bytes of objects that are being received, for those who send them at once: they need not read the file.

All of them together have a budget. What finds no room in it is read from its file as ever.
"""

from __future__ import annotations

import threading

LONGEST = 1024 * 1024  # bytes of one object
BUDGET = 16 * 1024 * 1024  # bytes of all


class MemoryBudget:
    """How many bytes may be kept at once. Its methods may run in any thread."""

    def __init__(self, limit: int = BUDGET) -> None:
        self._limit = limit
        self._used = 0
        self._lock = threading.RLock()  # again in the same thread: bytes may be let go at any moment

    @property
    def used(self) -> int:
        """Bytes that are kept."""
        return self._used

    def take(self, size: int) -> bool:
        """Take room for so many bytes; False if there is none."""
        with self._lock:
            if self._used + size > self._limit:
                return False
            self._used += size
            return True

    def give_back(self, size: int) -> None:
        """Give back room that was taken."""
        with self._lock:
            self._used -= size


class FreshBytes:
    """The data set of an object as it comes from the network. Its room is given back when nobody holds it any more."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._parts: list[bytes] | None = []
        self._size = 0

    def add(self, part: bytes) -> None:
        """Keep one more part, or none from now on if there is no room for it."""
        if self._parts is None:
            return
        if self._size + len(part) > LONGEST or not self._budget.take(len(part)):
            self._parts = None
            self._free()
            return
        self._size += len(part)
        self._parts.append(part)

    def whole(self) -> bytes | None:
        """All that was added; None if it is not kept."""
        parts = self._parts
        if parts is not None and len(parts) > 1:
            self._parts = parts = [b"".join(parts)]
        return parts[0] if parts else None

    def _free(self) -> None:
        size, self._size = self._size, 0
        self._budget.give_back(size)

    def __del__(self) -> None:
        self._free()
