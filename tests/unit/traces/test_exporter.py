"""The exporter of spans: bounded in what waits, and in what its end takes; it sends again what may be taken later."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from support.certificates import Authority
from support.peers.collector import Collector, collecting
from support.peers.dripping import dripping
from support.peers.tools import wait_until

from broker.settings.traces import TracesSection
from broker.traces import exporter as exporting
from broker.traces.encoding import encoded
from broker.traces.exporter import Exporter
from broker.traces.spans import TracedStep, TraceSpan


def encode(batch: Sequence[TraceSpan]) -> bytes:
    return encoded(batch, worker=1, host="here")


def span(correlation: str = "ab12cd34ef00") -> TraceSpan:
    return TraceSpan(TracedStep.WRITE, number=1, correlation=correlation, began=1, ended=2)


def dropped(reason: str) -> float:
    return REGISTRY.get_sample_value("broker_spans_dropped_total", {"reason": reason}) or 0


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    for name, value in {"EVERY": 0.05, "FIRST_WAIT": 0.05, "PATIENCE": 60.0, "LEAVING": 30.0}.items():
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


def test_the_end_waits_no_longer_than_it_may(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "LEAVING", 0.5)
    exporter = Exporter(TracesSection(endpoint=collector.url), encode)
    collector.hangs = True
    exporter.take(span())
    exporter.start()
    wait_until(lambda: collector.asked == 1, 10, "it hangs")
    began = time.monotonic()
    exporter.stop()
    assert time.monotonic() - began < 10  # the collector hangs for a minute


@pytest.mark.parametrize("name", ["zz", "12345678-1", "a" * 33, "Canary^Carl", "AB"])
def test_a_correlation_that_is_none_breaks_nothing(name: str) -> None:
    exporter = Exporter(TracesSection(endpoint="http://127.0.0.1:1"), encode)
    exporter.take(span(name))
    assert not exporter._waiting


@pytest.mark.parametrize("host", ["a..b", "...", "a" * 70, "1.2.3.999", "[::::]", "127.0.0.1"])
def test_an_address_where_nobody_is_breaks_nothing(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "EVERY", 0.01)
    monkeypatch.setattr(exporting, "LEAVING", 30.0)
    exporter = Exporter(TracesSection(endpoint=f"http://{host}:1"), encode)
    before = dropped("collector-away")
    exporter.take(span())
    exporter.start()
    exporter.stop()
    assert dropped("collector-away") == before + 1


def test_an_endless_answer_holds_nobody(collector: Collector) -> None:
    """The status is all that counts: the next spans are taken too."""
    collector.endless = True
    exporter = Exporter(TracesSection(endpoint=collector.url), encode)
    exporter.start()
    for count in (1, 2):
        exporter.take(span())
        wait_until(lambda count=count: len(collector.spans) == count, 30, "it is taken")
    exporter.stop()
    assert not exporter._thread.is_alive()


def test_an_answer_byte_by_byte_holds_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, so no step of the request takes too long: the whole does."""
    monkeypatch.setattr(exporting, "WHOLE", 0.5)
    monkeypatch.setattr(exporting, "FIRST_WAIT", 60.0)
    with dripping() as port, capture_logs() as logged:
        exporter = Exporter(TracesSection(endpoint=f"http://127.0.0.1:{port}"), encode)
        exporter.take(span())
        exporter.start()
        wait_until(lambda: logged, 20, "it is told")
        exporter.stop()
    assert (logged[0]["event"], logged[0]["reason"]) == ("traces.not_sent", "takes-too-long")


def test_a_certificate_that_nobody_vouches_for_gets_neither_spans_nor_the_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "LEAVING", 30.0)
    authority = Authority(tmp_path)
    made = authority.issue("collector")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    with collecting(context) as collector:
        for known in (False, True):
            if known:
                monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
            section = TracesSection(endpoint=collector.url, headers={"Authorization": "Bearer s3cret"})
            exporter = Exporter(section, encode)
            before = dropped("collector-away")
            exporter.take(span())
            exporter.start()
            exporter.stop()
            assert collector.url.startswith("https://")
            assert dropped("collector-away") == before + (not known)
            assert len(collector.spans) == len(collector.headers) == collector.asked == known
