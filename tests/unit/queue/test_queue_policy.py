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


def test_giving_up() -> None:
    policy = RetryPolicy(give_up=100)
    assert not policy.expired(created_at=0, now=100)
    assert policy.expired(created_at=0, now=101)
    assert not policy.exhausted(ITEM_FAILURES - 1)
    assert policy.exhausted(ITEM_FAILURES)
