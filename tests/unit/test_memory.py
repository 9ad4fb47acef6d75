"""What is free goes back to the system, and metrics tell what the process has."""

from __future__ import annotations

import sqlite3
import sys
from types import SimpleNamespace

import pytest

from broker import memory, telemetry

glibc = pytest.mark.skipif(not hasattr(memory._libc, "mallinfo2"), reason="another C library")


def sizes() -> dict[str, float]:
    """The gauges by kind."""
    return {sample.labels["kind"]: sample.value for metric in telemetry.MEMORY.collect() for sample in metric.samples}


@glibc
def test_what_was_freed_is_given_back() -> None:
    blocks = [bytearray(3000) for _ in range(20_000)]  # too small for blocks of their own
    last = bytearray(3000)  # keeps the top of the heap
    memory.trim()
    before = sizes()
    del blocks
    memory.trim()
    after = sizes()
    assert after["allocated"] < before["allocated"] - 50_000_000
    assert after["resident"] < before["resident"] - 40_000_000
    assert len(last) == 3000


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_another_library_has_its_resident_memory_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_libc", SimpleNamespace())
    telemetry.MEMORY.clear()
    memory.few_arenas()
    memory.trim()
    assert list(sizes()) == ["resident"]
    assert sizes()["resident"] > 1_000_000


@glibc
def test_arenas_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[int, int]] = []
    monkeypatch.setattr(memory, "_libc", SimpleNamespace(mallopt=lambda *words: said.append(words)))
    memory.few_arenas()
    assert said == [(-8, memory.ARENAS), (-3, memory.LARGE)]  # M_ARENA_MAX, M_MMAP_THRESHOLD of malloc.h


@glibc
def test_what_much_input_has_left_is_given_back_at_the_next_look() -> None:
    trimmer = memory.Trimmer(every=1000)
    trimmer.look()
    blocks = [bytearray(3000) for _ in range(20_000)]
    last = bytearray(3000)
    trimmer.look()
    before = memory.measure()
    del blocks
    assert memory.measure() > before + memory.MUCH
    trimmer.look()
    trimmed = sizes()["resident"]
    memory.trim()
    assert abs(sizes()["resident"] - trimmed) < 10_000_000  # nothing was left to give back
    assert len(last) == 3000


def test_what_is_in_use_again_counts_as_free_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    free, trims = 100 * 1024**2, 0  # as a heap in small pieces has it: nothing of it can be given back

    def trim() -> int:
        nonlocal trims
        trims += 1
        return free

    monkeypatch.setattr(memory, "measure", lambda: free)
    monkeypatch.setattr(memory, "trim", trim)
    trimmer = memory.Trimmer(every=1000)
    trimmer.look()
    assert trims == 1
    for free in (100 * 1024**2, 0, memory.MUCH):  # noqa: B007 - what `measure` tells
        trimmer.look()
    assert trims == 1
    free = memory.MUCH + 1
    trimmer.look()
    assert trims == 2


@pytest.mark.skipif(not hasattr(memory._sqlite, "sqlite3_memory_used"), reason="SQLite cannot be asked")
def test_the_pages_of_sqlite_are_told() -> None:
    def told() -> float:
        memory.measure()
        return next(one.value for m in telemetry.CACHE_BYTES.collect() for one in m.samples
                    if one.labels["cache"] == "sqlite")  # fmt: skip

    before = told()
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (data BLOB)")
    connection.execute("INSERT INTO t VALUES (randomblob(1000000))")
    assert told() > before + 900_000
    connection.close()
    assert told() < before + 900_000
