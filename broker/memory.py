"""Gives free memory back to the system, and measures what the process has.

glibc gives each thread that allocates beside others an arena of its own, up to eight per core, and keeps in them what
is freed. With 40 threads that work in turn the memory of the process grows for hours although nothing is leaked. So
there are few arenas, and all are trimmed now and then, sooner after somebody has sent much. What is large has blocks of
its own, which go back as they are freed: left alone, glibc keeps blocks of 32 MiB once one of that size was freed.
On another C library nothing is done or told. SQLite tells what it has: pages of its files and statements, for each
connection up to a bound that it reaches within some minutes of work.
"""

from __future__ import annotations

import ctypes
import importlib
import os
from pathlib import Path
from typing import Any

from broker import telemetry

ARENAS = 4
LARGE = 4 * 1024**2  # bytes from which a block stands alone
MUCH = 16 * 1024**2  # bytes more that are free than after the last trim: worth another one
_ARENA_MAX, _MMAP_THRESHOLD = -8, -3  # M_ARENA_MAX, M_MMAP_THRESHOLD of mallopt(3)
_STATM = Path("/proc/self/statm")
_libc: Any = ctypes.CDLL(None)
# the library of SQLite that Python uses, whether linked or built in
_sqlite: Any = ctypes.CDLL(getattr(importlib.import_module("_sqlite3"), "__file__", None))


class _Heap(ctypes.Structure):
    """`struct mallinfo2` (glibc 2.33): ten sizes, over all arenas."""

    _fields_ = [("sizes", ctypes.c_size_t * 10)]

    mapped: property = property(lambda self: self.sizes[4])  # hblkhd: bytes in blocks of their own
    used: property = property(lambda self: self.sizes[7])  # uordblks: bytes in arenas
    free: property = property(lambda self: self.sizes[8])  # fordblks: bytes freed and not given back


def few_arenas() -> None:
    """Bound the number of arenas, and what they hold. Call it before threads begin."""
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(_ARENA_MAX, ARENAS)
        _libc.mallopt(_MMAP_THRESHOLD, LARGE)


class Trimmer:
    """Trims once in so many looks, and at once where much has become free."""

    def __init__(self, every: int) -> None:
        self._every, self._looks, self._free = every, 0, 0

    def look(self) -> None:
        """Set the gauges, and trim if it is time."""
        free = measure()
        if self._looks % self._every == 0 or free > self._free + MUCH:
            free = trim()
        self._free = min(free, self._free) if self._looks else free  # what is in use again counts as free no more
        self._looks += 1


def trim() -> int:
    """Give back what is free, and measure. Some milliseconds, in which others may allocate."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
    return measure()


def measure() -> int:
    """Set the gauges; bytes that were freed and not given back, 0 where nobody tells."""
    free = 0
    if hasattr(_sqlite, "sqlite3_memory_used"):
        _sqlite.sqlite3_memory_used.restype = ctypes.c_int64
        telemetry.CACHE_BYTES.labels("sqlite").set(_sqlite.sqlite3_memory_used())
    if hasattr(_libc, "mallinfo2"):
        _libc.mallinfo2.restype = _Heap
        heap = _libc.mallinfo2()
        free = int(heap.free)
        for kind, size in (("allocated", heap.used + heap.mapped), ("free", free)):
            telemetry.MEMORY.labels(kind).set(size)
    try:
        pages = int(_STATM.read_text(encoding="ascii").split()[1])
    except OSError:
        return free
    telemetry.MEMORY.labels("resident").set(pages * os.sysconf("SC_PAGE_SIZE"))
    return free
