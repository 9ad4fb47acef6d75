"""Spans: off they are nothing, on they know their trace, what is around them, and how they ended."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextvars import copy_context
from dataclasses import dataclass

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from broker import correlation
from broker.errors import PeerFault
from broker.traces import spans
from broker.traces.encoding import encoded
from broker.traces.spans import NoSpan, SpanKey, TracedStep, TraceSpan

NAME = "00ab12cd34ef"


class Kept:
    """A sink that keeps all."""

    def __init__(self) -> None:
        self.spans: list[TraceSpan] = []

    def take(self, span: TraceSpan) -> None:
        self.spans.append(span)


@dataclass(frozen=True)
class Job:
    kind: str = "deliver"
    lane: str = "deliver:pacs"
    attempts: int = 1
    created_at: float = 1_700_000_000.5
    correlation: str = NAME


@pytest.fixture
def kept() -> Iterator[list[TraceSpan]]:
    sink = Kept()
    spans.use(sink)
    yield sink.spans
    spans.use(None)


def test_off_nothing_is_kept_and_all_calls_share_one_object() -> None:
    assert not spans.measuring()
    with spans.span(TracedStep.HL7) as first, spans.span(TracedStep.WRITE) as second:
        assert first is second
        assert isinstance(first, NoSpan)
        first.note(SpanKey.NODE, "x")
        first.follow("x")
        spans.note(SpanKey.NODE, "x")
        spans.tell_message("ORM", "AA")
    with spans.attempt(Job()):
        assert correlation.current() == NAME
    assert correlation.current() == ""


def test_a_span_knows_what_is_around_it_and_its_trace_at_its_end(kept: list[TraceSpan]) -> None:
    with spans.span(TracedStep.HL7):
        with correlation.during(NAME):  # a door reads a message before it names it
            with spans.span(TracedStep.CONVERT):
                spans.note(SpanKey.TYPE, "ORM")
            spans.tell_message("ZZZ", "AR")
        correlation.begin(NAME)
    correlation.begin("")
    spans.note(SpanKey.NODE, "nobody's")
    inner, outer = kept
    assert (inner.step, outer.step) == (TracedStep.CONVERT, TracedStep.HL7)
    assert inner.correlation == outer.correlation == NAME
    assert inner.parent == outer.number
    assert outer.parent == 0
    assert inner.notes == {SpanKey.TYPE: "ORM"}
    assert outer.notes == {SpanKey.TYPE: "other", SpanKey.CODE: "AR"}
    assert 0 < outer.began <= inner.began <= inner.ended <= outer.ended


def test_what_is_over_is_around_nothing(kept: list[TraceSpan]) -> None:
    """A task that a request began lives longer than it; a lane's deliveries belong to their own traces."""
    with correlation.during(NAME), spans.span(TracedStep.HTTP) as request:
        inside = copy_context()
        with spans.attempt(Job()):
            pass
    assert [one.parent for one in kept] == [0, 0, 0]

    def later() -> None:
        spans.note(SpanKey.OUTCOME, "done")
        with spans.span(TracedStep.WRITE):
            pass

    inside.run(later)
    assert isinstance(request, TraceSpan)
    assert request.notes == {}
    assert kept[-1].parent == 0


def test_work_that_is_not_measured_has_none(kept: list[TraceSpan]) -> None:
    with spans.span(None):
        pass
    assert kept == []


def test_how_it_failed_is_a_code_of_ours_or_the_name_of_a_class(kept: list[TraceSpan]) -> None:
    with correlation.during(NAME), pytest.raises(PeerFault), spans.attempt(Job(attempts=2)):
        raise PeerFault("10.1.2.3 has refused Canary^Carl", code="refused")
    with correlation.during(NAME), pytest.raises(ValueError), spans.span(TracedStep.WRITE):
        raise ValueError("Canary^Carl")
    assert [(one.failed, one.notes[SpanKey.ERROR]) for one in kept] == [(True, "refused"), (True, "ValueError")]


def test_the_first_try_of_a_job_tells_how_long_it_waited(kept: list[TraceSpan]) -> None:
    for attempts in (1, 2):
        with spans.attempt(Job(attempts=attempts)):
            spans.note(SpanKey.OUTCOME, "done")
    queued, first, second = kept
    assert queued.step == TracedStep.QUEUED
    assert queued.began == 1_700_000_000_500_000_000
    assert queued.ended <= first.ended
    for number, one in enumerate((first, second), 1):
        assert one.notes == {
            SpanKey.NODE: "pacs", SpanKey.KIND: "deliver", SpanKey.ATTEMPT: number, SpanKey.OUTCOME: "done"
        }  # fmt: skip
        assert (one.step, one.correlation, one.parent) == (TracedStep.DELIVERY, NAME, 0)


def test_a_line_of_the_log_leads_to_the_trace_and_back(kept: list[TraceSpan]) -> None:
    with correlation.during(NAME), spans.span(TracedStep.HTTP) as span:
        span.note(SpanKey.ROUTE, "x" * 1000)
        span.follow(f"00-{'ab' * 16}-{'cd' * 8}-01")
    sent = ExportTraceServiceRequest.FromString(encoded(kept, worker=2, host="here"))
    (one,) = sent.resource_spans[0].scope_spans[0].spans
    assert one.trace_id.hex() == "00000000000000000000" + NAME
    told = {pair.key: pair.value.string_value for pair in one.attributes}
    assert told == {"broker.correlation": NAME, "http.route": "x" * 64}
    assert [link.trace_id.hex() for link in one.links] == ["ab" * 16]
    resource = {pair.key: pair.value.string_value for pair in sent.resource_spans[0].resource.attributes}
    assert resource["service.instance.id"] == "here/2"


def test_without_an_endpoint_nothing_of_opentelemetry_is_imported() -> None:
    """Also by what asks whether it is installed. FastAPI brings the API of OpenTelemetry, which we do not use."""
    code = (
        "import sys, broker.service.serve, broker.service.workers.worker, broker.cli.main\n"
        "from broker.settings import Settings\n"
        "from broker.traces.exporting import exporting, installed\n"
        "installed()\n"
        "with exporting(Settings().traces): pass\n"
        "heavy = ('opentelemetry.proto', 'google.protobuf', 'broker.traces.e')\n"
        "print([name for name in sys.modules if name.startswith(heavy)])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "['broker.traces.exporting']"
