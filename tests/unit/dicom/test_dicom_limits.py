"""The token bucket at the door."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from broker.dicom.wire import limits
from broker.dicom.wire.limits import RateLimit


class Clock:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_passes_and_then_only_the_rate() -> None:
    clock = Clock()
    bucket = RateLimit(10, clock)
    assert [bucket.take("a") for _ in range(45)] == [True] * 40 + [False] * 5
    clock.now += 0.25
    assert [bucket.take("a") for _ in range(4)] == [True, True, False, False]
    clock.now += 3600
    assert [bucket.take("a") for _ in range(45)] == [True] * 40 + [False] * 5


def test_addresses_are_apart() -> None:
    bucket = RateLimit(1, Clock())
    assert [bucket.take("a") for _ in range(6)] == [True] * 4 + [False] * 2
    assert bucket.take("b")


def test_a_slow_rate_lets_one_in() -> None:
    clock = Clock()
    bucket = RateLimit(0.1, clock)
    assert [bucket.take("a"), bucket.take("a")] == [True, False]
    clock.now += 10
    assert bucket.take("a")


def test_addresses_that_are_quiet_are_forgotten_and_busy_ones_are_not() -> None:
    clock = Clock()
    bucket = RateLimit(1, clock)
    while bucket.take("busy"):
        pass
    for number in range(20 * limits._SWEEP):
        bucket.take(str(number))
        clock.now += 0.01
        bucket.take("busy")
    assert len(bucket._buckets) <= 3 * limits._SWEEP
    assert "busy" in bucket._buckets


@given(some.lists(some.floats(0, 3), max_size=200), some.floats(0.5, 20))
def test_no_more_passes_than_burst_and_rate_allow(pauses: list[float], rate: float) -> None:
    clock = Clock()
    bucket = RateLimit(rate, clock)
    passed = 0
    for pause in pauses:
        clock.now += pause
        passed += bucket.take("a")
    assert passed <= max(rate * limits.BURST, 1) + rate * sum(pauses) + 1e-6
