"""What `broker doctor` says of machines, settings and databases that are well, and of others."""

from __future__ import annotations

import re
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from broker.seats import BACKLOG
from broker.service.datadir import DataDirectory
from broker.service.doctor import checks, machine
from broker.service.doctor.machine import OpenFiles
from broker.settings import Settings
from broker.store.db.database import Database
from broker.store.room import measure

GIB = 1024**3
TOKEN = "0123456789abcdef"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture(autouse=True)
def sound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which all is well."""
    monkeypatch.setattr(machine, "open_files", lambda process=None: OpenFiles(1024, 65536))
    monkeypatch.setattr(machine, "memory", lambda: 16 * GIB)
    monkeypatch.setattr(machine, "synchronised", lambda: True)
    monkeypatch.setattr(checks, "system_backlog", lambda: 4096)
    on_disk(monkeypatch, 100 * GIB)


def on_disk(monkeypatch: pytest.MonkeyPatch, free: int, inodes: int = 10**6) -> None:
    """All file systems have so many bytes and inodes free."""
    blocks = {"f_bavail": free // 4096, "f_frsize": 4096, "f_blocks": 250 * GIB // 4096}
    found = SimpleNamespace(**blocks, f_favail=inodes, f_files=10**7)
    monkeypatch.setattr(checks, "measure", partial(measure, statvfs=lambda _: found))


def verdicts(data: Path, config: Path | None = None, **sections: dict[str, Any]) -> dict[str, str]:
    """The worst verdict of each check. What is not well has a next step."""
    given = {"service": {"data_dir": str(data)}} | sections
    found = checks.examine(Settings.model_validate(given), config)
    assert all(bool(finding.next_step) == (finding.verdict != "ok") for finding in found)
    worst: dict[str, str] = {}
    for finding in found:
        if worst.get(finding.check, "ok") == "ok" or finding.verdict == "bad":
            worst[finding.check] = str(finding.verdict)
    return worst


def test_all_is_well_before_the_first_start_and_after_it(data: Path) -> None:
    names = ("descriptors", "memory", "somaxconn", "disk", "clock", "rights", "database")
    assert verdicts(data) == dict.fromkeys(names, "ok")
    assert not list(data.iterdir())  # nothing is made
    Database(f"sqlite:///{data / 'broker.db'}").close()
    assert verdicts(data) == dict.fromkeys(names, "ok")
    assert verdicts(data / "not" / "there") == dict.fromkeys(names, "ok")


@pytest.mark.parametrize(("hard", "verdict"), [(65536, "ok"), (1024, "warn"), (200, "bad")])
def test_descriptors(data: Path, monkeypatch: pytest.MonkeyPatch, hard: int, verdict: str) -> None:
    monkeypatch.setattr(machine, "open_files", lambda process=None: OpenFiles(200, hard))
    assert verdicts(data)["descriptors"] == verdict
    assert verdicts(data, limits={"associations": 40, "hl7_connections": 40})["descriptors"] == (
        "bad" if hard < 256 else "ok"
    )


@pytest.mark.parametrize(("there", "verdict"), [(16 * GIB, "ok"), (GIB, "warn"), (GIB // 2, "bad"), (None, "ok")])
def test_memory(data: Path, monkeypatch: pytest.MonkeyPatch, there: int | None, verdict: str) -> None:
    monkeypatch.setattr(machine, "memory", lambda: there)
    assert verdicts(data)["memory"] == verdict


@pytest.mark.parametrize(("most", "verdict"), [(BACKLOG, "ok"), (BACKLOG - 1, "warn"), (None, "ok")])
def test_waiting_connections(data: Path, monkeypatch: pytest.MonkeyPatch, most: int | None, verdict: str) -> None:
    monkeypatch.setattr(checks, "system_backlog", lambda: most)
    assert verdicts(data)["somaxconn"] == verdict


@pytest.mark.parametrize(
    ("free", "inodes", "verdict"),
    [
        (3 * GIB, 10**6, "ok"),
        (GIB, 10**6, "warn"),
        (GIB // 4, 10**6, "bad"),
        (1024**2, 10**6, "bad"),
        (GIB * 9, 10, "bad"),
    ],
)
def test_disk(data: Path, monkeypatch: pytest.MonkeyPatch, free: int, inodes: int, verdict: str) -> None:
    on_disk(monkeypatch, free, inodes)
    assert verdicts(data)["disk"] == verdict


@pytest.mark.parametrize(("ago", "verdict"), [(3600, "ok"), (-3600, "warn"), (30 * 86400, "warn")])
def test_the_clock_beside_that_of_the_last_run(data: Path, ago: float, verdict: str) -> None:
    (data / "last-clock").write_text(f"{time.time() - ago:.0f}\n")
    assert verdicts(data)["clock"] == verdict


def test_a_clock_that_nobody_sets(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "synchronised", lambda: False)
    assert verdicts(data)["clock"] == "warn"


def test_rights(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "broker.toml"
    config.touch(0o644)
    assert verdicts(data, config)["rights"] == "ok"
    assert verdicts(data, config, web={"admin_token": TOKEN})["rights"] == "warn"
    config.chmod(0o600)
    assert verdicts(data, config, web={"admin_token": TOKEN})["rights"] == "ok"
    data.chmod(0o755)
    assert verdicts(data)["rights"] == "warn"
    monkeypatch.setattr("os.access", lambda *_: False)
    assert verdicts(data)["rights"] == "bad"


def test_database(data: Path) -> None:
    (data / "broker.db").write_bytes(b"no database" * 1000)
    assert verdicts(data)["database"] == "bad"
    nobody = "postgresql+psycopg://broker:opensesame@127.0.0.1:9/broker"
    assert verdicts(data, database={"url": nobody})["database"] == "bad"
    found = checks.examine(Settings.model_validate({"database": {"url": nobody}}), None)
    assert "opensesame" not in str(found)


def test_the_database_of_the_settings_answers(data: Path, database: Database, database_url: str) -> None:
    if database.dialect == "postgresql":
        found = verdicts(data, database={"url": database_url})
        assert (found["database"], found["database clock"]) == ("ok", "ok")


@pytest.mark.parametrize("ahead", [0, 4, 90, -90, 1e8])
def test_the_clock_of_the_database(
    data: Path, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    """That of this machine is as much behind it."""
    sections: dict[str, Any] = {} if database.dialect == "sqlite" else {"database": {"url": database_url}}
    monkeypatch.setattr("broker.store.db.question.time", SimpleNamespace(
        monotonic=time.monotonic, time=lambda: time.time() - ahead
    ))  # fmt: skip
    given = {"service": {"data_dir": str(data)}} | sections
    found = [one for one in checks.examine(Settings.model_validate(given), None) if one.check == "database clock"]
    if database.dialect == "sqlite":  # it has none of its own
        assert found == []
        return
    assert [one.verdict for one in found] == ["ok" if abs(ahead) < 5 else "warn"]
    if abs(ahead) > 5:
        assert ("ahead of" if ahead > 0 else "behind") in found[0].text
        assert re.search(rf" {abs(ahead):.0f} s ", found[0].text)


def test_the_running_broker_is_found_by_its_lock(data: Path) -> None:
    assert machine.running_broker(data) is None
    running = DataDirectory(data)
    assert machine.running_broker(data) is None  # it has not opened its doors
    running.announce({"pid": 4711})
    assert machine.running_broker(data) == 4711
    running.close()
    assert machine.running_broker(data) is None
