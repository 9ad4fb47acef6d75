"""The plot of the queue: round numbers and times, gaps where nothing is known, and the same as a table."""

from __future__ import annotations

import pytest

from broker.admin.web.queue.plot import HIGH, history_of, scale
from broker.status.lane_rates import QueueCount, QueueMinute

T = 3600 * 500_000


def minutes(*waiting: int | None, done: int = 0) -> list[QueueMinute]:
    counts = [None if number is None else QueueCount(number) for number in waiting]
    return [QueueMinute(T + 60 * place, QueueCount(done), count) for place, count in enumerate(counts)]


@pytest.mark.parametrize(
    ("most", "step", "high"),
    [
        (0, 1, 1),
        (1, 1, 1),
        (3, 1, 3),
        (4, 2, 4),
        (7, 5, 10),
        (214, 100, 300),
        (1000, 500, 1000),
        (10_001, 5000, 15_000),
    ],
)
def test_the_numbers_beside_it_are_round_and_few(most: int, step: int, high: int) -> None:
    assert scale(most) == (step, high)
    assert high >= most


def test_lines_are_as_wide_as_their_time_and_as_high_as_their_number() -> None:
    history = history_of(minutes(*range(31), done=7))
    assert history is not None
    waiting, done = history.plots
    assert history.span == 1800
    assert waiting.lines[0].split()[0] == f"0,{HIGH:.1f}"
    assert waiting.lines[0].split()[-1] == f"1800,{HIGH - HIGH * 30 / 30:.1f}"
    assert (waiting.last, waiting.most, done.last, done.most) == ((30, False), (30, False), (7, False), (7, False))
    assert [number for _, number in waiting.values] == [0, 10, 20, 30]
    assert history.times == [(16.67, T + 300), (33.33, T + 600), (50.0, T + 900), (66.67, T + 1200), (83.33, T + 1500)]


def test_six_hours_have_at_most_six_times_that_fit() -> None:
    history = history_of(minutes(*[1] * 361))
    assert history is not None
    assert [at for _, at in history.times] == [T + 3600 * hour for hour in range(1, 6)]


def test_what_is_not_known_is_a_gap_and_no_zero() -> None:
    history = history_of(minutes(4, 5, None, None, 6, None))
    assert history is not None
    waiting = history.plots[0]
    assert [len(line.split()) for line in waiting.lines] == [2, 2]
    assert len(set(waiting.lines[1].split())) == 1  # a minute between two unknown ones is a point
    assert (waiting.last, waiting.most) == (None, (6, False))
    nothing = history_of(minutes(None, None))
    assert nothing is not None
    assert (nothing.plots[0].lines, nothing.plots[0].most, nothing.hours[0].waiting) == ([], None, None)


def test_hours_of_the_clock_are_summed_the_last_one_first() -> None:
    history = history_of(minutes(*[3] * 59, 9, 2, 1, done=2))
    assert history is not None
    assert [(one.begin - T, one.end - T, one.waiting, one.done) for one in history.hours] == [
        (3600, 3720, (2, False), 4), (0, 3600, (9, False), 120),
    ]  # fmt: skip


def test_before_the_first_minute_is_over_there_is_nothing() -> None:
    assert history_of([]) is None
