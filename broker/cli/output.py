"""Prints what commands have to say: the one way to the terminal.

Names, texts and messages come from outside. Escape sequences would steer the terminal, overrides of direction would
show another text than is there, and rich would read `[/b]` as markup. All of it is made harmless here.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import typer

from broker.log_output import LogOutput

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_UNBROKEN = 10_000  # characters of a line that no terminal reads
# C0 but tab and line feed, DEL, C1, marks and overrides of direction, line separators, halves of surrogate pairs
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def printable(text: str) -> str:
    """A text without what steers a terminal: such characters are written as escapes."""
    return _STEERING.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def say(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print a text, to standard error with `err`; with a line feed unless `nl` is false."""
    typer.echo(printable(text), err=err, nl=nl)


def tell(text: str) -> None:
    """Write a text to standard error, if somebody reads it: whoever must go on neither waits nor ends for it."""
    LogOutput(sys.stderr, lambda: None).write(printable(text) + "\n")


def counted(number: int, noun: str) -> str:
    """`1 object`, `3 objects`: for nouns that take an s."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def say_json(document: Any, *, indent: int | None = None, ascii_only: bool = False) -> None:
    """Print a document as JSON that holds the same values, escaped where a terminal would be steered."""
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    typer.echo(_STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", text))


def say_document(text: str) -> None:
    """Print a document that may go into a file: as it is, but for a terminal."""
    typer.echo(printable(text) if sys.stdout.isatty() else text, nl=False)


@cache
def _safe() -> type[Console]:
    """A console that reads no text as markup; rich is loaded when somebody needs it, as it takes its time."""
    from rich.console import Console

    class SafeConsole(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            options |= {"markup": False, "emoji": False, "highlight": False}
            return super().render_str(printable(text), **options)

    return SafeConsole


def console(*, err: bool = False) -> Console:
    """A console of rich for tables and styles, to standard error with `err`. Give it texts and tables of texts."""
    return _safe()(stderr=err, markup=False, emoji=False, highlight=False)


def joined(*parts: str | tuple[str, str]) -> Text:
    """One line of parts, some of them with a style."""
    from rich.text import Text

    return Text.assemble(
        *(printable(part) if isinstance(part, str) else (printable(part[0]), part[1]) for part in parts)
    )


def show_table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, whole: Sequence[str] = ()) -> None:
    """Print rows under their titles. The columns `whole` are never wrapped; no value is read as markup.

    A row is one line wherever no terminal reads it: in a file, or by another program.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold", no_wrap=title in whole, min_width=len(title))
    for row in rows:
        table.add_row(*row)
    out = console()
    if not out.is_terminal and "COLUMNS" not in os.environ:
        out.width = _UNBROKEN
    out.print(table)
