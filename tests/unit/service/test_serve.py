"""A start that fails is one line in the log."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from broker import telemetry
from broker.service.serve import serve
from broker.settings import Settings


def test_no_threads_is_one_line_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    monkeypatch.setattr(telemetry, "configure", lambda *_, **__: None)  # of the process that runs all tests
    monkeypatch.setattr("os.umask", lambda mode: mode)
    settings = Settings.model_validate({"service": {"data_dir": tmp_path}})
    assert serve(settings) == 1
    said = "".join(capfd.readouterr())  # where the log goes depends on the tests before
    assert said.count("service.no_threads") == 1
    assert "Traceback" not in said
