"""What `broker hl7` shows: the origin of each attribute, acknowledgements, differences of worklist entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from broker.tools.hl7_send import Answered

_HOW = {"table": "value table", "station": "station rule", "default": "default value", "identifiers": "made here"}
_COLOURS = {"AA": "green", "CA": "green"}


def show_test(found: dict[str, Any]) -> None:
    """A message: its answer, findings, and a table for each part."""
    console = Console(highlight=False)
    console.print(
        Text.assemble(
            ("answer ", "bold"), (found["code"], _COLOURS.get(found["code"], "red")), f"  profile {found['profile']}"
        )
    )
    for finding in found["findings"]:
        console.print(Text(f"  {_severity(finding)} {finding['code']} at {finding['location']}: {finding['text']}"))
    for part in found["parts"]:
        table = Table(box=None, pad_edge=False, title=Text(part["title"]), title_justify="left", title_style="bold")
        for title in ("attribute", "value", "from", "how"):
            table.add_column(title, overflow="fold", no_wrap=title == "attribute")
        for row in part["rows"]:
            place = f"{row['path']} ({row['location']})" if row["path"] else ""
            table.add_row(Text(row["keyword"]), Text(_text(row["value"])), Text(place), Text(_how(row)))
        console.print()
        console.print(table)


def _how(row: dict[str, Any]) -> str:
    if row["how"] == "message":
        return ""
    detail = row["note"] or (f"{row['raw']!r}" if row["how"] == "table" else "")
    return _HOW[row["how"]] + (f": {detail}" if detail else "")


def _severity(finding: dict[str, Any]) -> str:
    return {"E": "error", "W": "warning"}.get(finding["severity"], "information")


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(map(_text, value))
    if isinstance(value, dict):
        return ", ".join(f"{keyword} {_text(inner)}" for keyword, inner in value.items())
    return "(nothing)" if value in (None, "") else str(value)


def show_answer(answered: Answered) -> None:
    """One acknowledgement with its findings in words."""
    reply = answered.reply
    typer.echo(f"{answered.index + 1}: {reply.code or '??'} {reply.words}  {answered.seconds * 1000:.1f} ms")
    for line in reply.lines:
        typer.echo(f"   {line}")


def show_replay(done: list[dict[str, Any]], *, write: bool) -> None:
    """Messages that were run again, and what differs in the worklist."""
    changed = 0
    for one in done:
        head = (
            f"message {one['message']} {one['message_type']} from {one['sender']}: {one['answered']} -> {one['code']}"
        )
        typer.echo(f"{head} by {one['profile'] or 'no profile'}")
        for finding in one["findings"]:
            typer.echo(f"   {_severity(finding)} {finding['code']} at {finding['location']}: {finding['text']}")
        for entry in one["differences"]:
            place = f"step {entry['step']}" if entry["step"] else "new step"
            typer.echo(f"   {place} {entry['keyword']}: {_text(entry['before'])} -> {_text(entry['after'])}")
        changed += bool(one["differences"])
    what = "changed the worklist" if write else "would change the worklist; nothing is written without --write"
    typer.echo(f"{len(done)} messages, {changed} {what}")
