"""`broker status` is read on a terminal of 80 columns, and by programs that look for a sentence."""

from __future__ import annotations

import json
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from broker.cli import status
from broker.cli.main import app

NOW = 1_900_000_000.0
FINDING = "Node pacs-archive-one is down since 2030-03-17 16:08 (38 min): it refuses us, it does not know our AE title"


def lane(waiting: int, held: int, oldest: float | None) -> dict[str, Any]:
    return {"waiting": waiting, "held": held, "oldest": oldest}


def node(name: str, state: str, *lanes: dict[str, Any], ago: float | None) -> dict[str, Any]:
    at = None if ago is None else NOW - ago
    return {
        "name": name, "state": state, "lanes": lanes, "last_in": at, "last_out": at,
        "contacts": {"query": at, "image": at} if ago else {},
    }  # fmt: skip


STATUS = {
    "health": "degraded", "now": NOW, "findings": [{"text": FINDING}],
    "needs": [
        {"cause": "held jobs", "count": 10_000, "more": True, "node": "pacs-archive-one", "what": "it said A900",
         "oldest": NOW - 7200, "latest": None, "command": "broker queue held --lane deliver:pacs-archive-one"},
    ],
    "nodes": [
        node("pacs-archive-one", "down", lane(10_001, 10_001, NOW - 8700), lane(214, 3, NOW - 90), ago=400 * 86_400),
        node("ct1", "disabled", ago=59 * 60), node("a-node-with-a-name-that-is-longer-than-most-are", "new", ago=None),
    ],
    "senders": [{"name": "RIS|HOSPITAL", "silent": True, "last_at": NOW - 4320, "expected": 40.0}],
    "backup": {
        "good_at": NOW - 7200, "seconds": 61.0, "restored": True, "proven_at": NOW - 7000, "failed": "", "failed_at": 0,
        "folder": "/backups/broker-2030-03-17",
    },
    "disks": [
        {"holds": ["data", "spool"], "free": 2e11, "size": 1e12, "forecast": {"known": True, "full_at": NOW + 18_000}}
    ],
}  # fmt: skip


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    status._show(STATUS, UTC)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_each_node_is_one_row(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = [line for line in shown(capsys) if line.strip()]
    (head,) = [line for line in lines if line.startswith("node ")]
    assert head.split() == ["node", "state", "waits", "held", "oldest", "in", "out", "query", "image"]
    rows = {line.split()[0]: " ".join(line.split()) for line in lines}
    assert rows["pacs-archive-one"] == "pacs-archive-one down 10215 10004 2 h 400 d 400 d 400 d 400 d"
    assert rows["ct1"] == "ct1 disabled 0 0 - 59 min 59 min 59 min 59 min"
    assert max(len(line.rstrip()) for line in lines if line.split()[:1] in (["node"], ["ct1"])) <= columns


def test_in_a_file_each_sentence_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = shown(capsys)
    assert f"  {FINDING}" in lines
    assert any(line.endswith("  broker queue held --lane deliver:pacs-archive-one") for line in lines)


def test_on_a_terminal_a_sentence_goes_on_below_itself(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    lines = [line.rstrip() for line in shown(capsys)]
    place = next(number for number, line in enumerate(lines) if "Node pacs-archive-one is down" in line)
    assert lines[place].startswith("  Node")
    assert lines[place + 1].startswith("  ")
    assert f"{lines[place].strip()} {lines[place + 1].strip()}" == FINDING
    assert max(map(len, lines[place : place + 2])) <= 80


def test_a_site_is_checked_for_programs_too(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text('[[node]]\nname = "ct"\nkind = "dicom"\nae_title = "CT"\nroles = ["modality"]\n')
    checked = CliRunner().invoke(app, ["site", "check", "--json", str(file)])
    assert (checked.exit_code, json.loads(checked.output)) == (0, {"nodes": 1, "rules": 0, "examples": 0})
    file.write_text('[[node]]\nname = "ct"\nkind = "dicom"\n')
    assert CliRunner().invoke(app, ["site", "check", "--json", str(file)]).exit_code == 2
