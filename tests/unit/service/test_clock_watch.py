"""Steps of the clock are noticed, told and counted; what goes by age rests. TM-01, TM-04."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from broker.queue.clock_watch import REST, ClockWatch
from broker.service.status.duties import Every

DAY = 86_400.0
YEAR = 365 * DAY


def counted(direction: str) -> float:
    return REGISTRY.get_sample_value("broker_clock_steps_total", {"clock": "process", "direction": direction}) or 0


@pytest.mark.parametrize(
    ("step", "direction", "way"), [(6.0, "forward", "forward by 6 s"), (-YEAR, "backward", "back by 365 d")]
)
def test_tm_01_a_step_is_told_for_an_hour(step: float, direction: str, way: str) -> None:
    now, told = [1e6, 50.0], []
    watch = ClockWatch(lambda: now[0], lambda: now[1])
    watch.follow(lambda: told.append(1))
    assert watch.steady()
    now[0] += step
    before = counted(direction)
    with capture_logs() as logs:
        assert not watch.steady()
        watch.look()
    assert [(line["event"], line["delay"]) for line in logs] == [("clock.stepped", step)]
    assert counted(direction) == before + 1
    assert told == [1]
    assert way in watch.notes()[0].english(UTC, 0)
    now[1] += REST
    now[0] += REST
    assert watch.steady()
    assert watch.notes() == ()


def test_small_corrections_are_no_steps() -> None:
    now = [1e6, 50.0]
    watch = ClockWatch(lambda: now[0], lambda: now[1])
    for _ in range(10):
        now[0] += 4
        assert watch.steady()


@pytest.mark.parametrize(("away", "way"), [(365 * DAY, "365 d later"), (-365 * DAY, "365 d earlier")])
def test_tm_01_a_start_with_a_clock_far_from_the_last_one_deletes_nothing_for_an_hour(away: float, way: str) -> None:
    """A dead battery, a wrong time server: what was written yesterday would be a year old."""
    now = [1e9, 50.0]
    watch = ClockWatch(lambda: now[0], lambda: now[1])
    with capture_logs() as logs:
        watch.begin_after(now[0] - away)
    assert [(line["event"], line["delay"]) for line in logs] == [("clock.doubted", away)]
    assert not watch.steady()
    assert way in watch.notes()[0].english(UTC, 0)
    now[0], now[1] = now[0] + REST, now[1] + REST
    assert watch.steady()


@pytest.mark.parametrize("away", [0.0, 3600.0, 0.9 * DAY, -4.0, None])
def test_a_start_some_hours_later_is_a_usual_one(away: float | None) -> None:
    watch = ClockWatch(lambda: 1e9, lambda: 50.0)
    watch.begin_after(None if away is None else 1e9 - away)
    assert watch.steady()
    assert watch.notes() == ()


@pytest.mark.parametrize("day", [datetime(2026, 3, 28, 2, 30), datetime(2026, 10, 24, 2, 30)])  # noqa: DTZ001
def test_tm_04_a_daily_duty_runs_once_a_day_when_the_clocks_change(day: datetime) -> None:
    """A duty of a local hour would run twice at 02:30 in autumn, and perhaps not at all in spring."""
    at, runs = day.replace(tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC), []
    for _ in range(3):
        at = Every(86_400).get_next_fire_time(at, at)
        runs.append(at)
    assert len({run.date() for run in runs}) == 3
    assert {later - earlier for earlier, later in pairwise(runs)} == {timedelta(days=1)}


def test_tm_01_a_duty_is_not_made_up_for_however_far_the_clock_was_set() -> None:
    """The interval of APScheduler lists each time that was missed: ten million of a year, every three seconds."""
    now = datetime.now(UTC)
    due = Every(3).get_next_fire_time(now - timedelta(days=365), now)
    assert due == now + timedelta(seconds=3)
