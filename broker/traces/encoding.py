"""Encodes spans as a request of OTLP (opentelemetry-proto 1.x, `ExportTraceServiceRequest`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Status
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from broker import __version__
from broker.traces.spans import ENTERS, LEAVES, SpanKey, TraceSpan

SERVICE = "worklist-broker"
TRACE_DIGITS = 32  # of a trace ID (W3C Trace Context 3.2.2.3)


def encoded(batch: Sequence[TraceSpan], *, worker: int, host: str) -> bytes:
    """A request with these spans, of one process of the broker."""
    resource = Resource(
        attributes=_attributes(
            [
                ("service.name", SERVICE),
                ("service.version", __version__),
                ("host.name", host),
                ("service.instance.id", f"{host}/{worker}"),
            ]
        )
    )
    scope = ScopeSpans(scope=InstrumentationScope(name=SERVICE, version=__version__), spans=map(_span, batch))
    process = ResourceSpans(resource=resource, scope_spans=[scope])
    request: Any = ExportTraceServiceRequest(resource_spans=[process])  # protobuf has no types
    return bytes(request.SerializeToString())


def trace_id(correlation: str) -> bytes:
    """The trace of a correlation: its digits, with zeros in front."""
    return bytes.fromhex(correlation.rjust(TRACE_DIGITS, "0"))


def _span(span: TraceSpan) -> WireSpan:
    made = WireSpan(
        trace_id=trace_id(span.correlation),
        span_id=span.number.to_bytes(8),
        parent_span_id=span.parent.to_bytes(8) if span.parent else b"",
        name=span.step.value,
        kind=_kind(span),
        start_time_unix_nano=span.began,
        end_time_unix_nano=max(span.began, span.ended),  # a clock may step back
        attributes=_attributes(
            [(SpanKey.CORRELATION.value, span.correlation), *((k.value, v) for k, v in tuple(span.notes.items()))]
        ),
        status=Status(code=Status.STATUS_CODE_ERROR if span.failed else Status.STATUS_CODE_UNSET),
    )
    if span.link:
        _, trace, caller, _ = span.link.split("-")
        made.links.add(trace_id=bytes.fromhex(trace), span_id=bytes.fromhex(caller))
    return made


def _kind(span: TraceSpan) -> WireSpan.SpanKind.ValueType:
    if span.step in ENTERS:
        return WireSpan.SPAN_KIND_SERVER
    return WireSpan.SPAN_KIND_CLIENT if span.step in LEAVES else WireSpan.SPAN_KIND_INTERNAL


def _attributes(pairs: Iterable[tuple[str, str | int]]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in pairs]


def _value(value: str | int) -> AnyValue:
    return AnyValue(string_value=value) if isinstance(value, str) else AnyValue(int_value=value)
