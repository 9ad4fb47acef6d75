"""The exporter of spans: bounded in what waits, and in what its end takes; it sends again what may be taken later."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import pytest
from prometheus_client import REGISTRY
from support.peers.collector import Collector, collecting
from support.peers.tools import wait_until

from broker.settings.traces import TracesSection
from broker.traces import exporter as exporting
from broker.traces.encoding import encoded
from broker.traces.exporter import Exporter
from broker.traces.spans import Span, Step


def encode(batch: Sequence[Span]) -> bytes:
    return encoded(batch, worker=1, host="here")


def span(correlation: str = "ab12cd34ef00") -> Span:
    return Span(Step.WRITE, number=1, correlation=correlation, began=1, ended=2)


def dropped(reason: str) -> float:
    return REGISTRY.get_sample_value("broker_spans_dropped_total", {"reason": reason}) or 0


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    for name, value in {"EVERY": 0.05, "FIRST_WAIT": 0.05, "PATIENCE": 1.0, "LEAVING": 0.5}.items():
        monkeypatch.setattr(exporting, name, value)
    with collecting() as found:
        yield found


def test_what_waits_is_sent_at_the_end(collector: Collector) -> None:
    exporter = Exporter(TracesSection(endpoint=f"{collector.url}/"), encode)
    exporter.start()
    for _ in range(exporting.BATCH + 1):
        exporter.take(span())
    exporter.stop()
    assert len(collector.spans) == exporting.BATCH + 1
    assert len(collector.bodies) >= 2


def test_a_share_is_chosen_by_the_correlation(collector: Collector) -> None:
    exporter = Exporter(TracesSection(endpoint=collector.url, share=0.5), encode)
    for name in ("7fffffff0000", "800000000000", "00000000ab", "ffffffffff", ""):
        exporter.take(span(name))
    exporter.start()
    exporter.stop()
    assert [one.trace.lstrip("0") for one in collector.spans] == ["7fffffff0000", "ab"]
    for share, count in ((0.0, 0), (1.0, 1)):
        exporter = Exporter(TracesSection(endpoint=collector.url, share=share), encode)
        exporter.take(span("ffffffffffff"))
        assert len(exporter._waiting) == count


def test_a_full_queue_drops_and_counts(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "MOST", 3)
    exporter = Exporter(TracesSection(endpoint=collector.url), encode)
    before = dropped("queue-full")
    for _ in range(5):
        exporter.take(span())
    assert dropped("queue-full") == before + 2


def test_busy_is_asked_again_and_a_refusal_is_not(collector: Collector) -> None:
    exporter = Exporter(TracesSection(endpoint=collector.url), encode)
    collector.status, before = 429, dropped("refused")
    exporter.take(span())
    exporter.start()
    try:
        wait_until(lambda: collector.asked >= 3, 10, "again and again")
        assert dropped("refused") == before
        collector.status = 200
        wait_until(lambda: len(collector.spans) == 1, 10, "it is taken")
        collector.status = 401
        exporter.take(span())
        wait_until(lambda: dropped("refused") == before + 1, 10, "it is dropped")
    finally:
        exporter.stop()


def test_the_end_waits_no_longer_than_it_may(collector: Collector) -> None:
    exporter = Exporter(TracesSection(endpoint=collector.url), encode)
    collector.hangs = True
    exporter.take(span())
    exporter.start()
    wait_until(lambda: collector.asked == 1, 10, "it hangs")
    began = time.monotonic()
    exporter.stop()
    assert time.monotonic() - began < 0.9
