"""What waits in the lanes of nodes: the right numbers, bounded, whether a few lanes are asked for or many."""

from __future__ import annotations

import pytest

from broker.model.lane import JobKind, JobState
from broker.store import jobs, lanes
from broker.store.db.database import Database
from broker.store.jobs import NewJob

NOW = 1_900_000_000.0
MANY = [f"deliver:other{number}" for number in range(lanes.FEW + 1)]


def enqueue(database: Database, lane: str, subjects: range, held: str = "") -> None:
    new = [NewJob(kind=JobKind.DELIVER, lane=lane, subject=subject, detail={}, held=held) for subject in subjects]
    database.submit(jobs.enqueue, new, NOW).result(60)


@pytest.mark.parametrize("more", [[], MANY], ids=("few", "many"))
def test_lanes_with_work_or_failures_are_told(database: Database, more: list[str]) -> None:
    enqueue(database, "deliver:a", range(1, 4))
    enqueue(database, "deliver:b", range(1, 3), held="gave-up")
    enqueue(database, "deliver:unasked", range(1, 3))
    database.submit(jobs.claim, "deliver:a", "me", NOW, 60.0, 1).result(20)
    [done] = database.submit(jobs.claim, "deliver:a", "me", NOW, 60.0, 1).result(20)
    database.submit(jobs.finish, done, JobState.DONE, NOW).result(20)
    database.submit(jobs.open_breaker, "deliver:c", 3, NOW + 60, "aborted").result(20)
    asked = ["deliver:c", "deliver:b", "deliver:a", "deliver:nothing", *more]
    found = database.read(lanes.reports, asked).result(20)
    assert [(one.name, one.waiting, one.held, one.failures, one.last_error) for one in found] == [
        ("deliver:c", 0, 0, 3, "aborted"), ("deliver:b", 0, 2, 0, ""), ("deliver:a", 2, 0, 0, ""),
    ]  # fmt: skip


@pytest.mark.parametrize("more", [[], MANY], ids=("few", "many"))
def test_nothing_is_counted_beyond_the_cap(
    database: Database, more: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "CAP", 20)
    enqueue(database, "deliver:a", range(1, 50))
    enqueue(database, "deliver:b", range(1, 50), held="gave-up")
    enqueue(database, "deliver:c", range(1, 21))
    found = database.read(lanes.reports, ["deliver:a", "deliver:b", "deliver:c", *more]).result(20)
    assert [(one.waiting, one.held) for one in found] == [(21, 0), (0, 21), (20, 0)]
