"""`broker conformance` writes files or prints, and says what it cannot write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from broker.cli.main import app

RUN = CliRunner()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "broker.toml"
    file.write_text('[dicom]\nae_title = "RAD1"\n', encoding="utf-8")
    return file


def test_it_prints_or_writes_the_same(config: Path) -> None:
    printed = RUN.invoke(app, ["conformance", "-c", str(config)])
    assert printed.exit_code == 0
    assert printed.stdout.startswith("# DICOM Conformance Statement\n")
    html, text = config.parent / "a.html", config.parent / "a.md"
    both = RUN.invoke(app, ["conformance", "-c", str(config), "--html", str(html), "--markdown", str(text)])
    assert (both.exit_code, both.stdout) == (0, "")
    assert text.read_text(encoding="utf-8") == printed.stdout
    assert "AE title RAD1" in html.read_text(encoding="utf-8")
    as_json = RUN.invoke(app, ["conformance", "-c", str(config), "--json"])
    assert json.loads(as_json.stdout)["number"] in printed.stdout
    assert sorted(one.name for one in config.parent.iterdir()) == ["a.html", "a.md", "broker.toml"]


def test_what_cannot_be_written_is_named(config: Path) -> None:
    missing = config.parent / "none" / "a.html"
    answer = RUN.invoke(app, ["conformance", "-c", str(config), "--html", str(missing)])
    assert (answer.exit_code, answer.stderr) == (1, f"{missing}: No such file or directory\n")
