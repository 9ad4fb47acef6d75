"""`broker messages`: list received HL7 messages and show one with its text. Asks the running broker."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

import typer

from broker.cli.asking.running import ask
from broker.cli.common import Config, exit_on_error, moment, settings_of, wall_clock
from broker.cli.output import say, say_json, show_table

app = typer.Typer(no_args_is_help=True, help="Look at received HL7 messages and how they were answered.")
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.command("list")
def list_(
    answer: Annotated[str, typer.Option(help="Only those that were answered so, like AE.")] = "",
    sender: Annotated[str, typer.Option(help="Only those of this sender: MSH-3, or MSH-3|MSH-4.")] = "",
    type_: Annotated[str, typer.Option("--type", help="Only those of this type: ORM, or ORM^O01.")] = "",
    since: Annotated[str, typer.Option(help="Only those received since, like 2026-03-12 or 2026-03-12T08:00.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """List received messages, the newest first, with what was found wrong with them."""
    with exit_on_error():
        clock = wall_clock(config)
        start = moment(since, settings_of(config)) if since else 0
        keys = {"answer": answer, "sender": sender, "message_type": type_, "since": start, "limit": limit}
        found = ask(config, "GET", f"/messages?{urlencode(keys)}")
    if as_json:
        say_json(found, indent=2)
        return
    rows = [
        (
            str(one["row"]),
            clock(one["received_at"]),
            one["sender"],
            one["message_type"],
            one["control_id"],
            one["answer"],
            "\n".join(one["findings"]) or one["note"],
        )
        for one in found
    ]
    show_table(("message", "received", "sender", "type", "control id", "answer", "findings"), rows)


@app.command()
def show(
    number: Annotated[int, typer.Argument(help="Number of a message, as `broker messages list` shows it.")],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show a message: its text as it was read, and the answer. It holds patient data."""
    with exit_on_error():
        clock = wall_clock(config)
        found = ask(config, "GET", f"/messages/{number}")
    if as_json:
        say_json(found, indent=2)
        return
    head = f"message {number}, received {clock(found['received_at'])} at {found['listener']} from {found['peer']}"
    say(f"{head}: {found['answer']} {found['note']}".rstrip())
    for text in (found["text"], found["reply"]):
        if text:
            say("\n" + text)
