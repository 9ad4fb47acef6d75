"""Retry arithmetic."""

from __future__ import annotations

import pytest

from broker.queue.retry_policy import ITEM_FAILURES, RetryPolicy


def test_delay_doubles_to_its_limit() -> None:
    policy = RetryPolicy(first=15, last=1800)
    assert [policy.delay(n) for n in range(1, 10)] == [15, 30, 60, 120, 240, 480, 960, 1800, 1800]
    assert policy.delay(10_000) == 1800
    assert policy.delay(0) == 15


def test_delay_is_spread_by_a_fifth() -> None:
    policy = RetryPolicy(first=100, last=100)
    assert policy.delay(1, 0.0) == 80
    assert policy.delay(1, 1.0) == pytest.approx(120)


def test_the_least_number_of_tries_is_that_of_the_longest_waits() -> None:
    policy = RetryPolicy(first=15, last=1800, give_up=7 * 86_400)
    assert [policy.tries_in(seconds) for seconds in (0, 18, 54, 53)] == [0, 1, 2, 1]
    assert policy.tries_in(7 * 86_400) == 285
    assert RetryPolicy(first=10, last=10).tries_in(120) == 10
    assert RetryPolicy(first=10, last=5).tries_in(60) == 10
    assert policy.longest == pytest.approx(max(policy.delay(n, 1.0) for n in range(1, 20)))


def test_giving_up_takes_time_and_tries() -> None:
    policy = RetryPolicy(first=1, last=1, give_up=100)
    assert not policy.expired(created_at=0, now=100, tries=1000)
    assert policy.expired(created_at=0, now=101, tries=41)
    assert not policy.expired(created_at=0, now=101, tries=40)
    assert not policy.exhausted(ITEM_FAILURES - 1)
    assert policy.exhausted(ITEM_FAILURES)


def test_tm_01_a_clock_that_is_ahead_for_a_moment_gives_nothing_up() -> None:
    policy = RetryPolicy()
    eight_days = 8 * 86_400
    assert not policy.expired(created_at=0, now=eight_days, tries=3)
    assert policy.expired(created_at=0, now=eight_days, tries=300)
