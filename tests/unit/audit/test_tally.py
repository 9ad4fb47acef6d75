"""What devices do often is counted: one row for a while, one row for a study, nothing without a row."""

from __future__ import annotations

from typing import Any

import pytest

from broker.audit import tally as module
from broker.audit.tally import LONGEST, QUIET, WINDOW, Tally
from broker.model.audit import AuditRecord


def row(actor: str = "dicom:CT01", **detail: Any) -> AuditRecord:
    return AuditRecord(at=1.0, actor=actor, action="worklist.queried", kind="worklist", object_id=0, detail=detail)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tally(clock: Clock) -> Tally:
    return Tally(clock)


def test_the_first_is_told_at_once_and_the_same_again_is_counted(tally: Tally, clock: Clock) -> None:
    tally.repeated("a", lambda: row(number=1))
    assert tally.due() == [row(number=1)]
    for number in range(2, 31):
        clock.now += 30
        tally.repeated("a", lambda number=number: row(number=number))  # type: ignore[misc]
        assert tally.due() == []
    clock.now = 1000 + WINDOW
    assert tally.due() == [row(number=30, times=29)]  # as it was the last time
    assert tally.due() == []
    tally.repeated("a", lambda: row(number=31))
    assert tally.due() == [row(number=31)]


def test_what_is_never_repeated_is_forgotten(tally: Tally, clock: Clock) -> None:
    tally.repeated("a", row)
    assert len(tally.due()) == 1
    clock.now += WINDOW
    assert tally.due() == []
    tally.repeated("a", row)
    assert len(tally.due()) == 1


def test_the_objects_of_a_study_are_one_row(tally: Tally, clock: Clock) -> None:
    for sop_class in ("1.2", "1.2", "1.3"):
        tally.transferred(("ct", "study"), row(study="s"), sop_class)
        clock.now += QUIET - 1
        assert tally.due() == []
    clock.now += 1
    assert tally.due() == [row(study="s", sop_classes={"1.2": 2, "1.3": 1}, count=3)]
    assert tally.due() == []


def test_a_transfer_without_an_end_is_told_in_parts(tally: Tally, clock: Clock) -> None:
    told: list[AuditRecord] = []
    for _ in range(1000):
        tally.transferred("k", row(), "1.2")
        clock.now += 1
        told += tally.due()
    assert sum(one.detail["count"] for one in told + tally.due(everything=True)) == 1000
    assert len(told) == int(1000 / LONGEST)


def test_nothing_is_lost_at_the_end(tally: Tally) -> None:
    for _ in range(3):
        tally.repeated("a", row)
        tally.transferred("k", row(study="s"), "1.2")
    assert tally.due() == [row()]
    assert sorted(map(str, tally.due(everything=True))) == sorted(
        map(str, [row(times=2), row(study="s", sop_classes={"1.2": 3}, count=3)])
    )


def test_it_is_bounded_and_says_what_it_left_out(tally: Tally, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 4)
    for number in range(20):
        tally.repeated(number, lambda number=number: row(number=number))  # type: ignore[misc]
        tally.repeated(number, lambda number=number: row(number=number))  # type: ignore[misc]
        tally.transferred(number, row(study=str(number)), "1.2")
    told = tally.due(everything=True)
    left_out = [one for one in told if one.action == "audit.left_out"]
    assert len(told) == 2 * 4 + 1
    assert len(left_out) == 1
    assert left_out[0].detail["rows"] == 20 * 3 - 8
