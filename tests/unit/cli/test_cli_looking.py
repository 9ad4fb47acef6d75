"""The commands that look and change nothing: that they are there, and how retention is printed."""

from __future__ import annotations

import time
from typing import Any

import pytest
from typer.testing import CliRunner

from broker.cli.main import app
from broker.cli.support import looking
from broker.cli.views import retention_view


def test_they_are_commands() -> None:
    told = CliRunner().invoke(app, ["--help"]).output
    for command in looking.COMMANDS:
        assert f" {command.__name__} " in told


def rule(**more: Any) -> dict[str, Any]:
    values = {"name": "jobs", "what": "jobs", "key": "retention.jobs_days", "days": 30.0, "over": 7, "soon": 2}
    return values | {
        "kept": 0, "more": False, "bytes_over": None, "bytes_soon": None, "oldest": None, "after": [], "last_run": None,
    } | more  # fmt: skip


def test_retention_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ran = {"last_at": time.time() - 90, "failures": 0, "error": "", "deleted": 12}
    monkeypatch.setenv("COLUMNS", "150")
    rules = [
        rule(last_run=ran),
        rule(name="delivered-objects", key="delivery.keep_days", days=0, bytes_over=3_400_000,
             oldest=time.time() - 864_000),
        rule(name="audit", days=0, over=0, soon=0, last_run=ran | {"failures": 2, "error": "OSError at sweep.py:9"}),
        rule(name="orders", kept=10_000, more=True, after=["mpps", "jobs"], last_run=ran | {"deleted": None}),
        rule(name="appointments", key=""),
    ]  # fmt: skip
    monkeypatch.setattr(retention_view, "ask", lambda *_: {"at": time.time(), "days_ahead": 7, "rules": rules})
    retention_view.run(None, as_json=False)
    title, jobs, files, audit, orders, appointments, why, *_ = capsys.readouterr().out.splitlines()
    assert title.split()[:6] == ["rule", "days", "now", "in", "7", "d"]
    assert jobs.split()[:5] == ["jobs", "30", "7", "2", "0"]
    assert "12 deleted 1 min ago" in jobs
    assert files.split()[:5] == ["delivered-objects", "0", "7", "(3.4", "MB)"]
    assert "10 d" in files
    assert audit.split()[:2] == ["audit", "never"]
    assert "failed 1 min ago: OSError at sweep.py:9" in audit
    assert orders.split()[:5] == ["orders", "30", "7+", "2+", "10000+"]
    assert appointments.split()[-1] == "fixed"
    assert why == "orders: 10000+ old ones stay; these may free them: mpps, jobs"
