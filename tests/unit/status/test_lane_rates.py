"""What waits and what was delivered, by the minute and by lane, in bounded memory."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter

from broker import telemetry
from broker.service.status.meters import Meters, delivered
from broker.status.lane_rates import MOST, LaneRates, QueueCount, QueueMinute
from broker.status.rates import KEPT
from broker.store.overview import CAP

T = 60 * 31_000_000


def minute(t: int, done: int, waiting: int | None) -> QueueMinute:
    return QueueMinute(t, QueueCount(done), None if waiting is None else QueueCount(waiting))


def test_minutes_tell_what_was_done_and_what_waited_last_of_all_lanes_or_of_a_node() -> None:
    rates = LaneRates()
    rates.feed(T, {1: {"deliver:pacs": 100.0}, 2: {}})
    rates.count(T + 5, {"deliver:pacs": 9})
    rates.feed(T + 20, {1: {"deliver:pacs": 103.0}, 2: {"feedback:pacs": 1.0, "deliver:cad": 4.0}})
    rates.count(T + 25, {"deliver:pacs": 6, "feedback:pacs": 1, "deliver:cad": 20})
    rates.feed(T + 125, {1: {"deliver:pacs": 104.0}, 2: {}})
    assert rates.minutes() == [minute(T, 8, 27), minute(T + 60, 0, None)]
    assert rates.minutes("pacs") == [minute(T, 4, 7), minute(T + 60, 0, None)]
    assert rates.minutes("cad") == [minute(T, 4, 20), minute(T + 60, 0, None)]
    assert rates.minutes("other") == [minute(T, 0, 0), minute(T + 60, 0, None)]
    rates.feed(T + 180, {})
    assert rates.minutes()[-1] == minute(T + 120, 1, None)


def test_minutes_and_lanes_are_bounded_and_none_is_lost_from_the_sum() -> None:
    rates, lanes = LaneRates(), [f"deliver:n{number}" for number in range(MOST + 10)]
    rates.feed(T - 60, {1: {}})
    rates.feed(T, {1: dict.fromkeys(lanes, 1.0)})
    rates.count(T, dict.fromkeys(lanes, 2))
    rates.feed(T + 60, {})
    assert rates.minutes()[-1] == minute(T, MOST + 10, 2 * (MOST + 10))
    assert rates.minutes("n0")[-1] == minute(T, 1, 2)
    assert rates.minutes(f"n{MOST + 5}")[-1] == minute(T, 0, 0)
    for number in range(2 * KEPT):
        rates.feed(T + 60 * number, {})
    assert len(rates.minutes()) == KEPT


def test_more_than_is_counted_in_a_lane_is_said_to_be_more() -> None:
    rates = LaneRates()
    rates.count(T, {"deliver:pacs": CAP + 1, "deliver:cad": 3, "feedback:ris": CAP})
    rates.feed(T + 60, {})
    waiting = [rates.minutes(node)[0].waiting for node in ("", "pacs", "cad", "ris")]
    assert waiting == [(2 * CAP + 3, True), (CAP, True), (3, False), (CAP, False)]


def test_a_clock_that_was_set_begins_anew() -> None:
    rates = LaneRates()
    rates.count(T, {"deliver:pacs": 1})
    rates.count(T + 60, {"deliver:pacs": 1})
    rates.count(T - 3600, {"deliver:pacs": 1})
    assert rates.minutes() == []


def test_the_deliveries_of_a_process_are_told_apart_by_lane() -> None:
    registry = CollectorRegistry()
    sent = Counter("broker_deliveries", "", ["node", "kind", "outcome"], registry=registry)
    for node, kind, outcome, number in (
        ("a", "deliver", "done", 4), ("a", "deliver", "held", 9), ("a", "feedback", "done", 2),
    ):  # fmt: skip
        sent.labels(node, kind, outcome).inc(number)
    samples = [(s.name, s.labels, s.value) for metric in registry.collect() for s in metric.samples]
    assert delivered(samples) == {"deliver:a": 4, "feedback:a": 2}


def test_what_is_delivered_is_counted_from_the_start_of_the_broker() -> None:
    meters = Meters(dict)
    telemetry.DELIVERIES.labels("plotted", "deliver", "done").inc(3)
    meters.read()
    meters.lanes.count(time.time() + 60, {"deliver:plotted": 2})
    assert sum(one.done.number for one in meters.lanes.minutes("plotted")) == 3
