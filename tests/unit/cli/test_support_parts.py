"""A part of a support bundle that fails, or that takes too long, keeps no other one away."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from broker.cli.asking.control import ServerAnswer
from broker.cli.support import bundle, parts
from broker.cli.support.hiding import Hiding
from broker.cli.support.parts import Surroundings
from broker.errors import StoreUnavailable
from broker.settings import Settings


@pytest.fixture
def place(tmp_path: Path) -> Surroundings:
    settings = Settings.model_validate({"service": {"data_dir": str(tmp_path)}})
    return Surroundings(settings, None, Hiding(addresses=False), None)


def test_what_fails_and_what_hangs_is_named(place: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = threading.Event()

    def away(_: Surroundings) -> Any:
        raise StoreUnavailable("10.1.2.3 does not answer")

    def broken(_: Surroundings) -> Any:
        raise ValueError("Canary^Carl")

    def hangs(_: Surroundings) -> Any:
        let_go.wait(60)
        return "late"

    some = {"away": away, "broken": broken, "hangs": hangs, "good": lambda _: {"n": 1}, "long": lambda _: "x" * 100}
    monkeypatch.setattr(bundle, "PARTS", some)
    monkeypatch.setattr(bundle, "MOST", 40)
    collected = bundle.collect(replace(place, patience=0.5))
    let_go.set()
    assert collected.parts == {"good": b'{\n "n": 1\n}', "long": b"x" * 40}
    assert collected.missing["away"] == "(address) does not answer"
    assert "ValueError" in collected.missing["broken"]
    assert "Canary" not in collected.missing["broken"]
    assert "took longer" in collected.missing["hangs"]
    assert "first" in collected.missing["long"]


def test_a_busy_broker_has_nearly_all_the_time_to_answer(place: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked again for metrics that came before its state was known, and not for ever."""
    asked: list[tuple[str, float]] = []
    answers = {"/metrics": ["broker_jobs 1", "broker_jobs 1\nbroker_health 1", "more"]}

    def call(_: Settings, method: str, path: str, *, timeout: float) -> ServerAnswer:
        asked.append((path, timeout))
        return ServerAnswer(200, answers[path].pop(0) if path in answers else {"path": path})

    monkeypatch.setattr(parts.control, "call", call)
    told = {"status.json": "/api/v1/status", "health.json": "/health/ready", "retention.json": "/api/v1/retention"}
    for patience in (parts.PATIENCE, 300):
        for name, path in told.items():
            assert parts.PARTS[name](replace(place, patience=patience)) == {"path": path}
        assert {timeout for _, timeout in asked} == {patience - parts.LEFT}
        asked.clear()
    assert parts.PARTS["metrics.txt"](place) == "broker_jobs 1\nbroker_health 1"
    assert answers["/metrics"] == ["more"]
    answers["/metrics"] = [str(number) for number in range(9)]
    assert parts.PARTS["metrics.txt"](place) == "2"


def test_the_spool_is_counted_by_day(place: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("20260101/07/a.dcm", "20260101/08/b.dcm", "unclaimed/c"):
        file = tmp_path / "spool" / name
        file.parent.mkdir(parents=True)
        file.write_bytes(b"123")
    found = parts.PARTS["files.json"](place)
    assert found["spool"] == {"files_and_bytes": {"20260101": [2, 6], "unclaimed": [1, 3]}, "more": False}
    assert all(room["free"] > 0 for room in found["disks"].values())
    monkeypatch.setattr(parts, "MOST_FILES", 0)
    assert parts.PARTS["files.json"](place)["spool"]["more"] is True


def test_of_a_log_the_lines_of_the_broker_are_taken(place: Surroundings, tmp_path: Path) -> None:
    log = tmp_path / "broker.log"
    ours = "2026-03-12T08:00:00Z [info     ] hl7.message sender=RIS"
    log.write_text(f"{ours}\nCanary^Carl\n" + '{"event": "job.done", "level": "info"}\n', encoding="utf-8")
    named = Surroundings(place.settings, None, place.hiding, log)
    text = parts.PARTS["log.txt"](named)
    assert ours in text
    assert "job.done" in text
    assert "Canary" not in text
    assert "(1 lines" in text
    open_ones = place.settings.model_copy(update={"log": place.settings.log.model_copy(update={"identifiers": True})})
    with pytest.raises(Exception, match="identifiers"):
        parts.PARTS["log.txt"](Surroundings(open_ones, None, place.hiding, log))
