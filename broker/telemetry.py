"""Sets up the log, keeps patient data out of it, and declares every metric once.

Three mechanisms keep patient data out at every level, so that one mistake is not enough. Only the keys of `FIELDS`
reach the log. Identifiers go through `identifier()`, a keyed hash. Exceptions are logged as type and place
(`describe()`), never with their text, since texts of foreign libraries quote values; records of foreign libraries lose
their text for the same reason.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import traceback
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any, Protocol, TextIO, cast

import structlog
from prometheus_client import Counter, Gauge, Histogram

from broker import correlation
from broker.log_output import LogOutput
from broker.pace import FloodGate, LinePace

FIELDS = frozenset(
    {
        "event",
        "level",
        "timestamp",
        "exc_info",
        # places
        "listener",
        "host",
        "port",
        "peer",
        "caller",
        "path",
        "url",
        "version",
        "where",
        "thread",
        "handler",
        "seconds",
        "worker",
        # whose work it is (see `correlation`)
        "connection",
        "correlation",
        # DICOM
        "calling_ae",
        "called_ae",
        "sop_class",
        "transfer_syntax",
        "status",
        "contexts",
        "command",
        "pdu",
        # HL7
        "message_type",
        "sender",
        "control_id",
        "answer",
        "findings",
        # work
        "kind",
        "lane",
        "node",
        "nodes",
        "rule",
        "rules",
        "state",
        "reason",
        "repeats",
        "dropped",
        "limit",
        "code",
        "count",
        "failed",
        "instances",
        "orders",
        "bytes",
        "duration",
        "attempt",
        "delay",
        "error",
        "key",
        "mode",
        "revision",
        "message",
        "reference",
        # identifiers, hashed
        "accession",
        "order",
        "study",
        "instance",
        "job",
    }
)

_hash_key = os.urandom(16)
_show_identifiers = False
_debugging = False


def identifier(value: str | None) -> str:
    """A short keyed hash of an accession number or UID; the value itself with `[log] identifiers = true`."""
    if not value:
        return "-"
    return value if _show_identifiers else hashed(value)


def hashed(value: str) -> str:
    """The keyed hash of an accession number or UID, the same in each process with this log key.

    It is the correlation of an object: whoever knows its UID has it, also long after its reception.
    """
    return hashlib.blake2s(value.encode("utf-8", "replace"), key=_hash_key, digest_size=5).hexdigest()


def describe(error: BaseException) -> str:
    """Type and innermost place of an exception of ours, without its text."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if f"{os.sep}broker{os.sep}" in f.filename] or list(frames)
    code = getattr(error, "code", None)
    name = type(error).__name__ + (f"[{code}]" if isinstance(code, str) and code else "")
    if not ours:
        return name
    return f"{name} at {os.path.basename(ours[-1].filename)}:{ours[-1].lineno}"


def _redact(_: Any, __: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep known keys only; escape control characters; bound the length of every value."""
    clean: dict[str, Any] = {}
    for key, value in record.items():
        if key not in FIELDS:
            clean["message"] = "field-withheld"
        elif isinstance(value, str):
            clean[key] = value[:300].encode("unicode_escape").decode("ascii")
        elif isinstance(value, bool | int | float):
            clean[key] = value
        elif value is None:
            continue
        else:
            clean[key] = str(value)[:300].encode("unicode_escape").decode("ascii")
    return clean


class _Foreign(logging.Handler):
    """Records of libraries: logger, level and place. Their text may quote values and is left out.

    Strangers cause some of them (requests that are no HTTP): each place has a line per ten seconds.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._pace = LinePace(10.0)

    def emit(self, record: logging.LogRecord) -> None:
        repeats = self._pace.take(f"{record.name} {record.pathname} {record.lineno} {record.levelno}")
        if repeats is None:
            return
        error = type(record.exc_info[1]).__name__ if record.exc_info and record.exc_info[1] else None
        structlog.get_logger().warning(
            "library.record",
            kind=record.name,
            state=record.levelname.lower(),
            where=f"{os.path.basename(record.pathname)}:{record.lineno}",
            error=error,
            repeats=repeats or None,
        )


def configure(
    level: str,
    style: str,
    identifiers: bool,
    *,
    key: bytes = b"",
    stream: TextIO | None = None,
    worker: int | None = None,
) -> None:
    """Set up logging of this process. `key` keeps identifier hashes stable over restarts.

    `worker`: number of this process among several that write to the same place, for each of its lines.
    """
    global _debugging, _hash_key, _show_identifiers  # loggers are the one global state we allow
    _hash_key = key[:32] or _hash_key
    _show_identifiers = identifiers
    _debugging = level == "debug"
    out = LogOutput(stream or sys.stderr, LOG_DROPPED.inc)
    renderer: Any = (
        structlog.processors.JSONRenderer() if style == "json" else structlog.dev.ConsoleRenderer(colors=out.isatty())
    )

    def numbered(_: Any, __: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        more: dict[str, Any] = {**correlation.names()}
        if worker is not None:
            more["worker"] = worker
        if out.missing:
            more["dropped"] = out.missing
        return {**more, **record} if more else record

    structlog.configure(
        processors=[
            numbered,
            structlog.processors.add_log_level,
            FloodGate(),
            _redact,
            structlog.processors.TimeStamper(fmt="iso", utc=False),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, out)),
        cache_logger_on_first_use=False,
    )
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers = [_Foreign()]
    root.setLevel(logging.WARNING)


def debugging() -> bool:
    """Lines of level debug are written. Ask before a line for every object: it costs time even if nobody sees it."""
    return _debugging


@lru_cache(maxsize=4096)
def child(metric: Counter, *labels: str) -> Counter:
    """The counter of a metric under these labels, cached: `metric.labels` costs more than counting."""
    return metric.labels(*labels)


def note_step(clock: str, seconds: float) -> None:
    """Say and count that a clock was set by so many seconds: that of `process` or of `database`."""
    logger().warning("clock.stepped", kind=clock, delay=round(seconds, 1))
    child(CLOCK_STEPS, clock, "forward" if seconds > 0 else "backward").inc()


def logger() -> Any:
    """The logger of all modules: `logger().info("noun.verb", key=value)` with keys of FIELDS."""
    return structlog.get_logger()


# --- metrics ---------------------------------------------------------------------------------------------

LOG_DROPPED = Counter("broker_log_lines_dropped", "Log lines that could not be written")
HL7_MESSAGES = Counter("broker_hl7_messages", "HL7 messages by answer", ["answer"])
HL7_DEFECTS = Counter("broker_hl7_defects", "HL7 messages refused because of a defect of ours or of a mapping")
HL7_IGNORED = Counter("broker_hl7_ignored", "HL7 messages and order groups ignored by a mapping", ["what"])
HL7_CONNECTIONS = Gauge("broker_hl7_connections", "Open MLLP connections")
HL7_DOUBTS = Counter(
    "broker_hl7_charset_doubts", "HL7 messages that were not simply read as they state, by the set", ["why", "charset"]
)
HL7_CLOSED = Counter("broker_hl7_connections_closed", "MLLP connections that did not end in order", ["reason"])
HL7_REFUSED = Counter("broker_hl7_connections_refused", "MLLP connections that were not let in", ["reason"])
HL7_UNKEPT = Counter("broker_hl7_refused_unkept", "Refused HL7 messages of strangers that the journal does not keep")
HL7_TOLERATED = Counter("broker_hl7_tolerated", "Connections with a fault of framing that was forgiven", ["what"])
HL7_TLS_FAILURES = Counter("broker_hl7_tls_failures", "Senders that TLS did not let in", ["reason"])
ASSOCIATIONS = Gauge("broker_dicom_associations", "Open DICOM associations", ["role"])
ASSOCIATIONS_REFUSED = Counter("broker_dicom_associations_refused", "Refused association requests", ["reason"])
POOL_LEASES = Counter("broker_dicom_pool_leases", "Associations used to send, by how they were had", ["how"])
DIMSE_ANSWERS = Counter("broker_dimse_answers", "Final DIMSE answers", ["command", "status"])
QUERIES = Histogram(
    "broker_worklist_query_seconds",
    "Time of a worklist query",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
WORKLIST_COPY_AGE = Gauge(
    "broker_worklist_copy_age_seconds", "Age of the copy of the worklist for outages of the database"
)
WORKLIST_COPY_QUERIES = Counter(
    "broker_worklist_copy_queries", "Worklist queries while the database was away", ["outcome"]
)
SOURCE_IMPORTS = Counter("broker_worklist_source_imports", "Imports from other worklist servers", ["node", "outcome"])
SOURCE_ITEMS = Counter("broker_worklist_source_items", "Items of other worklist servers", ["node", "outcome"])
SOURCE_SUCCESS = Gauge(
    "broker_worklist_source_success_timestamp_seconds", "When an import was last complete (Unix time)", ["node"]
)
INSTANCES_RECEIVED = Counter("broker_instances_received", "Objects accepted", ["outcome"])
BYTES_RECEIVED = Counter("broker_bytes_received", "Bytes of accepted data sets")
DELIVERIES = Counter("broker_deliveries", "Finished attempts by node, lane, outcome", ["node", "kind", "outcome"])
DELIVERY_WARNINGS = Counter("broker_delivery_warnings", "Objects that a node took with a warning", ["node", "status"])
OBJECTS_CONVERTED = Counter("broker_objects_converted", "Objects sent in another syntax", ["node", "source", "target"])
OBJECTS_SPOILED = Counter("broker_objects_spoiled", "Objects not sent: other bytes than were received", ["reason"])
STEPS_CLOSED = Counter("broker_steps_closed", "Steps ended without their device saying so", ["reason"])
MEMORY = Gauge("broker_memory_bytes", "Memory of the process: resident, allocated, free and kept", ["kind"])
CACHE_BYTES = Gauge("broker_cache_bytes", "About how much a cache holds", ["cache"])
CACHE_ENTRIES = Gauge("broker_cache_entries", "How many entries a cache holds", ["cache"])
ROWS_THINNED = Counter("broker_rows_thinned", "Old rows that were deleted, by the rule of retention", ["rule"])
LANES_BROKEN = Gauge("broker_lane_broken", "1 while what is done for a node fails", ["node", "kind"])
NODE_AUTHENTICATION_FAILURES = Counter(
    "broker_dicom_node_authentication_failures", "Callers that did not prove to be who they say", ["reason"]
)
KNOCKS_DROPPED = Counter("broker_knocks_dropped", "Unknown devices forgotten, as newer ones knocked")
TLS_CERTIFICATE_END = Gauge(
    "broker_tls_certificate_end_timestamp_seconds", "When a certificate of ours ends (Unix time)", ["key"]
)
STORE_DAMAGED = Gauge("broker_store_damaged", "1 once the database was found to be damaged, until the next start")
STORE_BEHIND = Gauge("broker_store_behind", "1 while the database lacks rows that it had, until a person accepts it")
DISK_FREE = Gauge("broker_filesystem_free_bytes", "Free bytes of the file systems that the broker writes to", ["store"])
DISK_INODES = Gauge("broker_filesystem_free_inodes", "Free inodes of these file systems", ["store"])
DISK_REFUSED = Counter("broker_disk_refused", "Objects and orders refused before the disk is full", ["what"])
WEB_CONNECTIONS = Gauge("broker_web_connections", "Open connections of the web and the control socket")
WEB_CLOSED = Counter("broker_web_connections_closed", "Web connections refused or closed by a limit", ["reason"])
DESCRIPTORS_REFUSED = Counter(
    "broker_connections_refused_descriptors", "Connections of any door refused to keep the reserve of descriptors"
)
LOOP_STALLS = Histogram(
    "broker_loop_stall_seconds", "Times in which one handler held the event loop", buckets=(0.25, 0.5, 1, 2, 5, 10, 30)
)
WRITER_UNITS = Counter("broker_store_units", "Units of work handed to the database writer", ["outcome"])
WRITER_COMMITS = Counter("broker_store_commits", "Database commits", ["outcome"])
SPOOL_CLOCK_AHEAD = Gauge(
    "broker_spool_clock_ahead_seconds", "By how much the clock of the spool's file system is ahead of this machine's"
)
SPANS_SENT = Counter("broker_spans_sent", "Spans that the collector of traces took")
SPANS_DROPPED = Counter("broker_spans_dropped", "Spans that it did not get", ["reason"])
CLOCK_STEPS = Counter("broker_clock_steps", "Steps of a clock, of more than a few seconds", ["clock", "direction"])

# there before the first event: `increase` does not see the one with which a series begins
for _clock in ("process", "database"):
    for _direction in ("forward", "backward"):
        CLOCK_STEPS.labels(_clock, _direction)
for _what in ("object", "order"):
    DISK_REFUSED.labels(_what)
for _command in ("C-FIND", "C-STORE"):
    DIMSE_ANSWERS.labels(_command, "A700")


class _Bounded(Protocol):
    """A function with `functools.lru_cache`."""

    def cache_info(self) -> Any:
        """How much it keeps."""
        ...


def count_entries(cache: str, *functions: _Bounded) -> None:
    """Tell in `broker_cache_entries` how many results these functions keep together."""
    CACHE_ENTRIES.labels(cache).set_function(lambda: sum(one.cache_info().currsize for one in functions))


count_entries("metric-children", child)
