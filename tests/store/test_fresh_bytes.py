"""The bytes of objects that are being received are kept within a budget, whole or not at all."""

from __future__ import annotations

from broker.store.images.fresh_bytes import LONGEST, FreshBytes, MemoryBudget


def test_parts_become_one_whole() -> None:
    budget = MemoryBudget(100)
    fresh = FreshBytes(budget)
    for part in (b"ab", b"", b"cd"):
        fresh.add(part)
    assert fresh.whole() == b"abcd"
    assert fresh.whole() is fresh.whole()
    assert budget.used == 4


def test_what_finds_no_room_is_not_kept_and_takes_none() -> None:
    budget = MemoryBudget(10)
    first, second = FreshBytes(budget), FreshBytes(budget)
    first.add(b"12345")
    second.add(b"12345")
    second.add(b"6")
    second.add(b"7")
    assert (first.whole(), second.whole(), budget.used) == (b"12345", None, 5)
    del first
    assert budget.used == 0
    del second
    assert budget.used == 0


def test_a_long_object_is_not_kept() -> None:
    budget = MemoryBudget()
    fresh = FreshBytes(budget)
    fresh.add(bytes(LONGEST))
    assert budget.used == LONGEST
    fresh.add(b"1")
    assert (fresh.whole(), budget.used) == (None, 0)


def test_nothing_added_is_nothing_kept() -> None:
    assert FreshBytes(MemoryBudget()).whole() is None
