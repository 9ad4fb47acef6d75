"""Sends spans to an OpenTelemetry collector (OTLP/HTTP, protobuf), from a thread of each process of the broker.

Work never waits for it. Spans wait in a queue of MOST; what finds it full is dropped and counted. A collector that is
away or busy gets the same batch again, after longer and longer waits; one that refuses a batch does not. The log tells
once that it fails and once that it works again. At its end a process waits for LEAVING seconds at most.
"""

from __future__ import annotations

import re
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing

import httpx

from broker import __version__, telemetry
from broker.settings.traces import TracesSection
from broker.traces import spans
from broker.traces.spans import TraceSpan
from broker.whole_time import WholeTime

MOST, BATCH = 4096, 512  # spans that wait, and of one request
EVERY = 1.0  # seconds in which spans are gathered
PATIENCE = 5.0  # seconds for each step of a request
WHOLE = 15.0  # seconds for a whole request; a collector may send its answer byte by byte
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0  # seconds before a batch is sent again
LEAVING = 2.0  # seconds for the last spans
_NAME = re.compile(r"[0-9a-f]{1,32}")  # a correlation; that of a job stands in the database
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
Encode = Callable[[Sequence[TraceSpan]], bytes]


class Exporter:
    """The spans of this process on their way to the collector. A `Sink`."""

    def __init__(self, wanted: TracesSection, encode: Encode) -> None:
        self._url = wanted.endpoint.removesuffix("/v1/traces") + "/v1/traces"
        self._below = round(wanted.share * 16**8)  # of the first eight digits of a correlation
        self._headers = {
            **wanted.headers,
            "Content-Type": "application/x-protobuf",
            "User-Agent": f"broker/{__version__}",
        }
        self._encode = encode
        self._waiting: deque[TraceSpan] = deque()
        self._stopping = threading.Event()
        self._until = float("inf")
        self._failing = False
        self._limit = WholeTime(WHOLE)
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send what waits, for LEAVING seconds at most."""
        self._until = time.monotonic() + LEAVING
        self._stopping.set()
        self._thread.join(LEAVING)

    def take(self, span: TraceSpan) -> None:
        """Keep a span that belongs to the share; all of one correlation do, or none."""
        if not _NAME.fullmatch(span.correlation) or int(span.correlation[:8], 16) >= self._below:
            return
        if len(self._waiting) >= MOST:
            telemetry.child(telemetry.SPANS_DROPPED, "queue-full").inc()
            return
        self._waiting.append(span)

    def _run(self) -> None:
        try:
            verify = ssl.create_default_context() if self._url.startswith("https:") else False
            with httpx.Client(verify=verify, timeout=PATIENCE, trust_env=False) as client, closing(self._limit):
                while not self._stopping.wait(EVERY) or self._waiting:
                    while self._waiting and time.monotonic() < self._until:
                        count = min(BATCH, len(self._waiting))
                        self._deliver(client, [self._waiting.popleft() for _ in range(count)])
                    if self._stopping.is_set():
                        break
        except Exception as error:  # a defect of ours ends the traces, and nothing else
            spans.use(None)
            telemetry.logger().error("traces.defect", error=telemetry.describe(error))

    def _deliver(self, client: httpx.Client, batch: Sequence[TraceSpan]) -> None:
        """Send a batch until it is taken or refused, or the broker ends."""
        body, wait = self._encode(batch), FIRST_WAIT
        while True:
            problem, again = self._post(client, body)
            self._tell(problem)
            if not problem:
                telemetry.SPANS_SENT.inc(len(batch))
                return
            if not again or self._stopping.is_set() or self._stopping.wait(wait):
                reason = "collector-away" if again else "refused"
                telemetry.child(telemetry.SPANS_DROPPED, reason).inc(len(batch))
                return
            wait = min(wait * 2, LONGEST_WAIT)

    def _post(self, client: httpx.Client, body: bytes) -> tuple[str, bool]:
        """What kept it from being taken, as a code, and whether it may be taken later. The answer is not read."""
        limit = self._limit
        try:
            with (
                limit,
                client.stream(
                    "POST", self._url, content=body, headers=self._headers, extensions=dict(limit.extensions)
                ) as answer,
            ):
                status = answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:  # also of names that are none
            return "takes-too-long" if limit.is_over else type(error).__name__, True
        return ("", False) if 200 <= status < 300 else (f"status-{status}", status in _AGAIN)

    def _tell(self, problem: str) -> None:
        """Log that it fails, and that it works again; each once."""
        if problem and not self._failing:
            telemetry.logger().warning("traces.not_sent", reason=problem)
        elif self._failing and not problem:
            telemetry.logger().info("traces.sent_again")
        self._failing = bool(problem)
