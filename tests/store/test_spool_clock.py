"""The clock of the spool's file system may be another than that of this machine: TM-02."""

from __future__ import annotations

import time
from datetime import UTC
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from broker.errors import SpoolUnavailable
from broker.store.images.spool_clock import SpoolClock


def test_tm_02_a_disk_whose_clock_is_ahead_is_noticed_and_said_once(tmp_path: Path) -> None:
    behind = 3600.0
    clock = SpoolClock(tmp_path, lambda: time.time() - behind)
    with capture_logs() as lines:
        clock.look()
        clock.look()
    assert [(line["event"], round(line["delay"], -1)) for line in lines] == [("spool.clock_off", 3600)]
    assert REGISTRY.get_sample_value("broker_spool_clock_ahead_seconds") == pytest.approx(3600, abs=60)
    [note] = clock.notes()
    assert note.english(UTC, 0).startswith("the clock of the spool's disk is 1 h ahead of that of this machine")
    behind = 0.0
    with capture_logs() as lines:
        clock.look()
    assert [line["event"] for line in lines] == ["spool.clock_right"]
    assert clock.notes() == ()


def test_a_disk_whose_clock_is_behind_is_noticed_too(tmp_path: Path) -> None:
    clock = SpoolClock(tmp_path, lambda: time.time() + 60)
    clock.look()
    assert (
        clock.notes()[0]
        .english(UTC, 0)
        .startswith("the clock of the spool's disk is 1 min behind that of this machine")
    )


def test_the_time_is_that_of_files_written_there(tmp_path: Path) -> None:
    clock = SpoolClock(tmp_path)
    first = clock.now()
    (tmp_path / "file").write_bytes(b"x")
    assert first <= (tmp_path / "file").stat().st_mtime <= clock.now()
    assert abs(first - time.time()) < 60


def test_a_disk_that_cannot_be_written_tells_no_time(tmp_path: Path) -> None:
    clock = SpoolClock(tmp_path / "missing")
    with pytest.raises(SpoolUnavailable) as caught:
        clock.now()
    assert caught.value.code == "spool-ENOENT"
    clock.look()
    assert clock.notes() == ()
