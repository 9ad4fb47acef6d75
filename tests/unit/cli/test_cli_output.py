"""Checks that no text of a document or a peer steers the terminal of whoever reads it."""

from __future__ import annotations

import pytest
import typer

from broker.cli.common import CommandRefused, exit_on_error
from broker.cli.output import printable, show_table

HOSTILE = "a\x1b[31m\x9b2J\u202eb"
HARMLESS = r"a\x1b[31m\x9b2J\u202eb"


def test_control_characters_are_shown_as_escapes() -> None:
    assert printable(HOSTILE) == HARMLESS
    assert printable("Zürich\tMR\n[red]") == "Zürich\tMR\n[red]"


def test_tables_and_errors_hold_none(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("rule",), [(HOSTILE,)])
    with pytest.raises(typer.Exit), exit_on_error():
        raise CommandRefused(HOSTILE)
    shown = capsys.readouterr()
    assert HARMLESS in shown.out
    assert shown.err.strip() == HARMLESS


def test_a_row_is_one_line_for_another_program(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = tuple(f"{letter * 30}" for letter in "abcdef")
    monkeypatch.delenv("COLUMNS", raising=False)
    show_table(("one", "two", "three", "four", "five", "six"), [row])
    assert capsys.readouterr().out.splitlines()[1].split() == list(row)
    monkeypatch.setenv("COLUMNS", "80")
    show_table(("one", "two", "three", "four", "five", "six"), [row])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["one", "two", "three", "four", "five", "six"]
    assert max(map(len, lines)) <= 80
