"""Exit codes and messages of commands, and what a refusal of the running broker becomes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import typer

from broker.cli.asking import control, running
from broker.cli.common import CommandRefused, exit_on_error
from broker.cli.output import show_table
from broker.errors import BadContent, ConfigurationError


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ConfigurationError("key: wrong"), 2, "configuration error: key: wrong\n"),
        (CommandRefused("no\nnever"), 1, "no\nnever\n"),
        (BadContent("no data set"), 1, "no data set\n"),
    ],
)
def test_an_error_becomes_message_and_exit_code(
    capsys: pytest.CaptureFixture[str], error: Exception, code: int, text: str
) -> None:
    with pytest.raises(typer.Exit) as caught, exit_on_error():
        raise error
    assert (caught.value.exit_code, capsys.readouterr().err) == (code, text)


def test_an_error_of_the_program_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), exit_on_error():
        raise ZeroDivisionError


def test_a_table_reads_no_value_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("name", "value"), [("a", "[red]b[/red]")])
    assert "[red]b[/red]" in capsys.readouterr().out


def answering(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    monkeypatch.setattr(control, "call", lambda *_: answer)


def test_the_running_broker_answers_or_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, SimpleNamespace(good=True, body={"version": 1}, problem=""))
    assert running.ask(None, "GET", "/rules") == {"version": 1}
    answering(monkeypatch, SimpleNamespace(good=False, body=None, problem="rule 1: send"))
    with pytest.raises(CommandRefused, match="rule 1: send"):
        running.ask(None, "GET", "/rules")
    answering(monkeypatch, None)
    with pytest.raises(CommandRefused, match="no broker runs"):
        running.ask(None, "GET", "/rules")
