"""Counts by the minute, from counters of several processes that may begin anew."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram

from broker import telemetry
from broker.service.status.meters import Meters, totals
from broker.status.rates import KEPT, Rates

T = 60 * 31_000_000


def orders(rates: Rates, since: float = 0) -> list[tuple[int, float]]:
    return [(minute.t - T, minute.orders) for minute in rates.since(since)]


def test_what_was_counted_before_the_first_look_is_of_no_minute() -> None:
    rates = Rates()
    rates.feed(T, {1: {"orders": 1000}})
    rates.feed(T + 30, {1: {"orders": 1003}})
    rates.feed(T + 61, {1: {"orders": 1004}})
    assert orders(rates) == [(0, 3)]
    assert rates.total("orders", 15) == 4


def test_minutes_without_anything_are_there_too() -> None:
    rates = Rates()
    rates.feed(T, {1: {}})
    rates.feed(T + 200, {1: {"orders": 2}})
    rates.feed(T + 240, {1: {"orders": 2}})
    assert orders(rates) == [(0, 0), (60, 0), (120, 0), (180, 2)]
    assert orders(rates, T + 60) == [(120, 0), (180, 2)]


def test_a_worker_that_died_begins_anew_and_a_new_one_is_counted_from_then_on() -> None:
    rates = Rates()
    rates.feed(T, {1: {"queries": 5}, 2: {"queries": 100}})
    rates.feed(T + 5, {1: {"queries": 6}, 2: {"queries": 3}})
    rates.feed(T + 10, {1: {"queries": 6}})
    rates.feed(T + 15, {1: {"queries": 6}, 2: {"queries": 50}})
    rates.feed(T + 20, {1: {"queries": 6}, 2: {"queries": 52}})
    assert rates.total("queries", 1) == 1 + 3 + 2


def test_it_is_bounded() -> None:
    rates = Rates()
    for minute in range(2 * KEPT):
        rates.feed(T + 60 * minute, {1: {"orders": minute}})
    assert len(rates.since(0)) == KEPT


@pytest.mark.parametrize("jump", [-3600, 365 * 86_400])
def test_a_clock_that_was_set_begins_anew(jump: int) -> None:
    rates = Rates()
    rates.feed(T, {1: {"orders": 1}})
    rates.feed(T + 60, {1: {"orders": 2}})
    rates.feed(T + jump, {1: {"orders": 3}})
    assert rates.since(0) == []
    assert rates.total("orders", 15) == 1


def test_the_metrics_of_a_process_are_told_apart() -> None:
    registry = CollectorRegistry()
    messages = Counter("broker_hl7_messages", "", ["answer"], registry=registry)
    queries = Histogram("broker_worklist_query_seconds", "", registry=registry)
    received = Counter("broker_instances_received", "", ["outcome"], registry=registry)
    sent = Counter("broker_deliveries", "", ["node", "kind", "outcome"], registry=registry)
    for answer, number in (("AA", 5), ("CA", 1), ("AE", 2), ("AR", 3), ("none", 50)):
        messages.labels(answer).inc(number)
    queries.observe(0.1)
    received.labels("stored").inc(7)
    for node, kind, outcome, number in (
        ("a", "deliver", "done", 4), ("b", "deliver", "held", 9), ("deliver", "feedback", "done", 9),
    ):  # fmt: skip
        sent.labels(node, kind, outcome).inc(number)
    samples = [(s.name, s.labels, s.value) for metric in registry.collect() for s in metric.samples]
    expected = {"orders": 6, "refused": 5, "queries": 1, "objects_in": 7, "objects_out": 4}
    assert {name: number for name, number in totals(samples).items() if number} == expected


def test_what_is_counted_before_the_first_reading_is_not_lost() -> None:
    """A machine that starts slowly reads for the first time when orders have come already."""
    meters = Meters(dict)
    telemetry.HL7_MESSAGES.labels("AA").inc()
    meters.read()
    assert meters.rates.total("orders", 15) == 1
