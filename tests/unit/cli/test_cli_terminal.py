"""Texts from outside cannot steer the terminal of whoever looks at them, and break no command."""

from __future__ import annotations

import json

import pytest
from rich.table import Table

from broker.cli import output

EVIL = "[/b]X[red] :smile: \x1b[2J\x9b31m\x07\u202egpj.exe\ud800\r"


def harmless(text: str) -> None:
    assert not any(c in text for c in "\x1b\x9b\x07\u202e\r")
    assert "[/b]X[red] :smile:" in text


def test_every_way_is_harmless(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    output.say(EVIL)
    harmless(capsys.readouterr().out)
    output.say(EVIL, err=True)
    harmless(capsys.readouterr().err)
    output.show_table(("title",), [(EVIL,), ("[/b]",)])
    harmless(capsys.readouterr().out)
    table = Table(title=EVIL)
    table.add_column(EVIL)
    table.add_row(EVIL)
    screen = output.console()
    screen.print(EVIL, style="bold")
    screen.print(table)
    screen.print(output.joined(("answer ", "bold"), EVIL))
    harmless(capsys.readouterr().out)


def test_json_holds_the_same_values(capsys: pytest.CaptureFixture[str]) -> None:
    document = {"station": EVIL, "name": "Müller^Käthe"}
    for ascii_only in (False, True):
        output.say_json(document, indent=2, ascii_only=ascii_only)
        said = capsys.readouterr().out
        assert json.loads(said) == document
        assert not any(c in said for c in "\x1b\x9b\x07\u202e\r")


def test_a_document_for_a_file_stays_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    output.say_document('a = "\u202e"\r\n')
    assert capsys.readouterr().out == 'a = "\u202e"\r\n'


def test_line_feeds_and_tabs_stay() -> None:
    assert output.printable("a\n\tb") == "a\n\tb"
