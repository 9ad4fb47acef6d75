"""When a disk will be full, by what was free in the last hours and days."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from broker.status.forecast import COARSE_SPAN, DAY, FINE_SPAN, HORIZON, HOUR, DiskHistory, forecast, sampled

GB = 1e9
MARK = 5 * GB


def watched(free: Callable[[float], float], until: float, every: float = 300.0) -> DiskHistory:
    """The history of a disk that was looked at from 0 on."""
    history = DiskHistory()
    for step in range(int(until / every) + 1):
        history = sampled(history, step * every, free(step * every))
    return history


def falling(at: float) -> float:
    return 100 * GB - at / HOUR * 10 * GB  # 10 GB an hour


def saw_tooth(at: float) -> float:
    """10 GB an hour by day, and a purge at night takes all of it back."""
    return 100 * GB - (at % DAY) / HOUR * 2 * GB


def test_a_disk_that_fills_evenly_is_full_when_it_is_full() -> None:
    found = forecast(watched(falling, 4 * HOUR), 4 * HOUR, falling(4 * HOUR), MARK)
    assert found.full_at == pytest.approx(9.5 * HOUR, abs=60)
    assert found.rate == pytest.approx(10 * GB / HOUR, rel=0.01)


def test_nothing_is_said_before_an_hour_has_passed() -> None:
    found = forecast(watched(falling, 0.8 * HOUR), 0.8 * HOUR, falling(0.8 * HOUR), MARK)
    assert (found.known, found.full_at) == (False, None)


def test_a_purge_at_night_is_part_of_the_week() -> None:
    """By the last hours it would be full some time; the end that is told is that of the day's slope."""
    now = 6 * DAY + 12 * HOUR
    history = watched(saw_tooth, now, every=600)
    found = forecast(history, now, saw_tooth(now), MARK)
    assert found.known
    assert found.full_at is not None  # by day it does fill
    assert found.full_at - now > 24 * HOUR


def test_a_flood_of_the_last_hours_is_noticed_after_quiet_days() -> None:
    def free(at: float) -> float:
        return 100 * GB if at < 5 * DAY else 100 * GB - (at - 5 * DAY) / HOUR * 10 * GB

    now = 5 * DAY + 5 * HOUR
    found = forecast(watched(free, now, every=600), now, free(now), MARK)
    assert found.full_at is not None
    assert found.full_at - now < 8 * HOUR


@pytest.mark.parametrize("free", [lambda at: 100 * GB, lambda at: 50 * GB + at, lambda at: 100 * GB - at])
def test_a_disk_that_fills_never_or_in_months_is_not_spoken_of(free: Callable[[float], float]) -> None:
    found = forecast(watched(free, 5 * HOUR), 5 * HOUR, free(5 * HOUR), MARK)
    assert (found.known, found.full_at) == (True, None)


def test_a_disk_that_is_full_is_full_now() -> None:
    now = 4 * HOUR
    found = forecast(watched(falling, now), now, MARK - 1, MARK)
    assert found.full_at == now
    assert now <= now + HORIZON


def test_the_history_is_bounded_and_clocks_may_be_set() -> None:
    history = watched(falling, 30 * DAY, every=60)
    assert len(history.fine) <= FINE_SPAN / 600 + 1
    assert len(history.coarse) <= COARSE_SPAN / 7200 + 1
    back = sampled(history, 100.0, 5.0)
    assert back == DiskHistory(((100.0, 5.0),), ((100.0, 5.0),))
