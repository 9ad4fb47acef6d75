"""A collector of traces (OTLP/HTTP): takes what OpenTelemetry's own messages can read, or fails as a test says."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.peers.http_peer import PeerHandler, http_peer


@dataclass(frozen=True)
class Told:
    """A span as the collector has it; numbers in hexadecimal digits."""

    name: str
    trace: str
    number: str
    parent: str
    began: int
    ended: int
    failed: bool
    worker: str
    notes: dict[str, str | int]
    links: list[tuple[str, str]]


@dataclass
class Collector:
    """What it was sent.

    `status`: of its answers; `hangs`: it does not answer; `endless`: its answers do not end.
    """

    url: str = ""
    status: int = 200
    hangs: bool = False
    endless: bool = False
    spans: list[Told] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    asked: int = 0

    def named(self, name: str, **notes: object) -> list[Told]:
        """The spans of a name with these notes, where `_` stands for a dot."""
        wanted = {key.replace("_", "."): value for key, value in notes.items()}
        return [one for one in list(self.spans) if one.name == name and wanted.items() <= one.notes.items()]

    def trace(self, correlation: str) -> list[Told]:
        """The spans of the trace that a line of the log leads to, in the order in which they began."""
        found = [one for one in list(self.spans) if one.trace == correlation.rjust(32, "0")]
        return sorted(found, key=lambda one: one.began)


def _value(value: Any) -> str | int:
    return value.string_value if value.HasField("string_value") else int(value.int_value)


def _read(body: bytes) -> Iterator[Told]:
    for process in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = {one.key: _value(one.value) for one in process.resource.attributes}
        assert resource["service.name"] == "worklist-broker"
        for scope in process.scope_spans:
            for span in scope.spans:
                assert len(span.trace_id) == 16
                assert len(span.span_id) == 8
                yield Told(
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    span.status.code == 2,
                    str(resource["service.instance.id"]).rpartition("/")[2],
                    {one.key: _value(one.value) for one in span.attributes},
                    [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
                )


@contextmanager
def collecting(tls: ssl.SSLContext | None = None) -> Iterator[Collector]:
    """Serve a collector on a loopback port."""
    collector, over = Collector(), threading.Event()

    class _Handler(PeerHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.asked += 1
            if collector.hangs:
                over.wait(60)
                return
            status = collector.status if self.path == "/v1/traces" else 404
            if status == 200:
                collector.headers.append(dict(self.headers.items()))
                collector.bodies.append(body)
                collector.spans += _read(body)
            self.send_response(status)
            self.send_header("Content-Length", str(10**15 if collector.endless else 0))
            self.end_headers()
            while collector.endless and not over.is_set():
                self.wfile.write(b"x" * 65536)

    with http_peer(_Handler, over, tls) as (scheme, port):
        collector.url = f"{scheme}://127.0.0.1:{port}"
        yield collector
