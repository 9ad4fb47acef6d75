"""Logs keep patients out by construction: keys, identifiers, exceptions, records of libraries."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest
import structlog

from broker import telemetry


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """A configured log, and everything as it was afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    telemetry.configure("debug", "json", False, key=b"k" * 32, stream=stream)
    yield stream
    logging.captureWarnings(False)
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_unknown_keys_do_not_reach_the_log(log: io.StringIO) -> None:
    telemetry.logger().info("order.taken", patient_name="Canary^Carl", answer="AA")
    (line,) = lines(log)
    assert line["answer"] == "AA"
    assert line["message"] == "field-withheld"
    assert "Canary" not in log.getvalue()


def test_control_characters_and_length_are_tamed(log: io.StringIO) -> None:
    telemetry.logger().info("dicom.refused", calling_ae="A\r\nfake line\x1b[31m", reason="x" * 5000)
    assert len(log.getvalue().splitlines()) == 1
    (line,) = lines(log)
    assert line["calling_ae"] == "A\\r\\nfake line\\x1b[31m"
    assert len(str(line["reason"])) == 300


def test_identifiers_are_short_hashes_that_stay_the_same(log: io.StringIO) -> None:
    first = telemetry.identifier("A26031200451")
    assert first == telemetry.identifier("A26031200451")
    assert first != telemetry.identifier("A26031200452")
    assert len(first) == 10
    assert telemetry.identifier("") == telemetry.identifier(None) == "-"
    telemetry.configure("info", "json", True, key=b"k" * 32, stream=log)
    assert telemetry.identifier("A26031200451") == "A26031200451"


def test_exceptions_are_type_and_place_without_their_text() -> None:
    try:
        int("Canary^Carl")
    except ValueError as error:
        text = telemetry.describe(error)
    assert text.startswith("ValueError at test_telemetry.py:")
    assert "Canary" not in text


def test_records_and_warnings_of_libraries_lose_their_text(log: io.StringIO) -> None:
    logging.getLogger("pydicom").error("Invalid value for PatientName: %s", "Canary^Carl")
    try:
        raise ValueError("Canary^Carl")
    except ValueError:
        logging.getLogger("sqlalchemy").exception("statement failed for %s", "Canary^Carl")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("Canary^Carl is no UID", UserWarning, stacklevel=1)
    assert [line["kind"] for line in lines(log)] == ["pydicom", "sqlalchemy", "py.warnings"]
    assert lines(log)[1]["error"] == "ValueError"
    assert "Canary" not in log.getvalue()
