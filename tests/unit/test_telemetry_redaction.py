"""No patient data in logs: three mechanisms, each tried alone."""

from __future__ import annotations

import io
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as some

from broker import telemetry
from broker.dicom.dimse import command
from broker.errors import BadContent, PeerFault

CANARY = "Canary^Carl"
Log = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the log goes; everything is put back afterwards."""
    root = logging.getLogger()
    before = (structlog.get_config(), root.handlers, root.level, telemetry._hash_key, telemetry._show_identifiers)
    yield io.StringIO()
    structlog.configure(**before[0])
    root.handlers, telemetry._hash_key, telemetry._show_identifiers = before[1], before[3], before[4]
    root.setLevel(before[2])
    logging.captureWarnings(False)


@pytest.fixture
def log(stream: io.StringIO) -> Log:
    """JSON logging at debug level; a function that gives the lines."""
    telemetry.configure("debug", "json", False, key=b"k" * 32, stream=stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_has_event_level_and_time(log: Log) -> None:
    telemetry.logger().info("service.ready", port=11112, host="127.0.0.1", error=None, duration=0.5)
    (line,) = log()
    assert (line["event"], line["level"], line["port"], line["host"]) == ("service.ready", "info", 11112, "127.0.0.1")
    assert line["timestamp"]


def test_no_event_can_flood_the_log(log: Log) -> None:
    """Whoever causes it: an error of ours that a stranger has found writes no gigabytes."""
    for number in range(1000):
        telemetry.logger().error("hl7.internal_error", reference=str(number))
        telemetry.logger().warning("dicom.failed", peer=f"127.0.0.{number}")
    assert len(log()) <= 2 * 50


@pytest.mark.parametrize("key", ["patient", "name", "patient_name", "birth_date", "text", "raw", "exception", "stack"])
def test_an_unknown_key_is_withheld(log: Log, key: str) -> None:
    telemetry.logger().info("instance.received", **{key: CANARY})
    (line,) = log()
    assert CANARY not in str(line)
    assert line["message"] == "field-withheld"


def test_every_known_key_passes(log: Log) -> None:
    for key in telemetry.FIELDS - {"event", "level", "timestamp", "exc_info"}:
        telemetry.logger().info("x.y", **{key: "v"})
    assert len(log()) == len(telemetry.FIELDS) - 4
    assert not any("withheld" in str(line) for line in log())


def test_values_cannot_break_the_line(log: Log, stream: io.StringIO) -> None:
    telemetry.logger().info("dicom.refused", calling_ae='A\n\x1b[31m{"level":"info"}\r\u2028\ud800', peer="x" * 5000)
    assert len(stream.getvalue().splitlines()) == 1
    (line,) = log()
    assert "\x1b" not in line["calling_ae"]
    assert len(line["peer"]) == 300


def test_objects_are_bounded_too(log: Log) -> None:
    telemetry.logger().info("x.y", reason=["z" * 1000], path=RuntimeError("q\n"))
    (line,) = log()
    assert len(line["reason"]) == 300
    assert "\n" not in line["path"]


@given(some.text(max_size=400))
def test_any_text_becomes_one_ascii_line(text: str) -> None:
    clean = telemetry._redact(None, "info", {"event": "x.y", "peer": text})["peer"]
    assert clean.isascii()
    assert "\n" not in clean
    assert clean.isprintable() or not clean


def test_the_console_is_one_line_too(stream: io.StringIO) -> None:
    telemetry.configure("info", "console", False, stream=stream)
    telemetry.logger().info("dicom.refused", calling_ae="A\nB")
    telemetry.logger().debug("not.shown")
    assert len(stream.getvalue().splitlines()) == 1
    assert "not.shown" not in stream.getvalue()


def test_levels_filter(stream: io.StringIO) -> None:
    telemetry.configure("warning", "json", False, stream=stream)
    telemetry.logger().info("a.b")
    telemetry.logger().warning("c.d")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["c.d"]


# --- identifiers -----------------------------------------------------------------------------------------


def test_identifiers_are_short_keyed_hashes(log: Log) -> None:
    value = telemetry.identifier("ACC123")
    assert value == telemetry.identifier("ACC123") != telemetry.identifier("ACC124")
    assert "ACC123" not in value
    assert len(value) == 10
    assert telemetry.identifier("") == telemetry.identifier(None) == "-"
    assert telemetry.identifier("é\udc80")


def test_the_key_decides_the_hash(stream: io.StringIO) -> None:
    seen = set()
    for key in (b"a" * 32, b"b" * 32, b"b" * 32):
        telemetry.configure("info", "json", False, key=key, stream=stream)
        seen.add(telemetry.identifier("ACC123"))
    assert len(seen) == 2


def test_identifiers_are_shown_when_the_site_wants_them(stream: io.StringIO) -> None:
    telemetry.configure("info", "json", True, stream=stream)
    assert telemetry.identifier("ACC123") == "ACC123"


# --- exceptions and libraries ----------------------------------------------------------------------------


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_exceptions_are_described_without_their_text() -> None:
    for error in (ValueError(CANARY), KeyError(CANARY), UnicodeDecodeError("utf-8", CANARY.encode(), 0, 1, CANARY)):
        text = telemetry.describe(raised(error))
        assert CANARY not in text
        assert text.startswith(type(error).__name__)
        assert "test_telemetry_redaction.py:" in text


def test_errors_of_ours_carry_their_code() -> None:
    assert telemetry.describe(BadContent("x", code="truncated")) == "BadContent[truncated]"
    assert telemetry.describe(raised(PeerFault())).startswith("PeerFault[peer-fault] at ")


def test_the_innermost_place_of_ours_is_named() -> None:
    with pytest.raises(BadContent) as caught:
        command.decode(b"\0")
    assert " at command.py:" in telemetry.describe(caught.value)


def test_libraries_lose_their_text(log: Log) -> None:
    logging.getLogger("pydicom").warning("Invalid value %s", CANARY)
    try:
        raise ValueError(CANARY)
    except ValueError:
        logging.getLogger("sqlalchemy.pool").exception("Exception for %s", CANARY)
    lines = log()
    assert [line["event"] for line in lines] == ["library.record"] * 2
    assert (lines[0]["kind"], lines[0]["state"]) == ("pydicom", "warning")
    assert lines[1]["error"] == "ValueError"
    assert CANARY not in str(lines)


def test_libraries_are_heard_from_warning_on(log: Log) -> None:
    logging.getLogger("alembic").info("Running upgrade")
    assert log() == []


def test_warnings_become_records_without_text(log: Log) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn(f"Invalid value for VR PN: {CANARY}", stacklevel=1)
        logging.captureWarnings(False)
    assert CANARY not in str(log())
    assert log()[0]["kind"] == "py.warnings"


def test_the_stream_is_stderr_by_default(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    telemetry.configure("info", "json", False)
    telemetry.logger().info("x.y")
    assert "x.y" in stream.getvalue()
