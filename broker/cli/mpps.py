"""`broker mpps`: list performed procedure steps and decide about them. Asks the running broker."""

from __future__ import annotations

from typing import Annotated

import typer

from broker.cli.asking.running import ask
from broker.cli.common import Config, exit_on_error, wall_clock
from broker.cli.output import say, show_table

app = typer.Typer(no_args_is_help=True, help="List performed procedure steps (MPPS) and decide about them.")
Number = Annotated[int, typer.Argument(help="Number of a performed step, as `broker mpps list` shows it.")]
Reason = Annotated[str, typer.Option(help="Say why; the audit trail keeps it.")]


@app.command("list")
def list_(
    config: Config = None,
    status: Annotated[str, typer.Option(help='Show only these: "IN PROGRESS", COMPLETED or DISCONTINUED.')] = "",
    linking: Annotated[
        str,
        typer.Option(help="Show only these: linked, partly, unscheduled, ambiguous, mismatch or set-aside."),
    ] = "",
    waiting: Annotated[bool, typer.Option("--waiting", help="Show only those that a person must look at.")] = False,
) -> None:
    """List performed procedure steps, newest first."""
    from urllib.parse import urlencode

    query = {"status": status, "linking": linking, "waiting": str(waiting).lower(), "limit": 1000}
    with exit_on_error():
        clock = wall_clock(config)
        performed = ask(config, "GET", f"/mpps?{urlencode(query)}")
    rows = [
        (
            str(step["id"]),
            clock(step["started_at"]),
            step["station"],
            step["modality"],
            step["status"],
            step["linking"],
            step["attention"],
            " ".join(step["findings"]),
        )
        for step in performed
    ]
    show_table(("number", "began", "station", "modality", "status", "linking", "attention", "findings"), rows)


@app.command()
def link(
    number: Number,
    step: Annotated[int, typer.Argument(help="Number of the scheduled step.")],
    config: Config = None,
    item: Annotated[
        int | None, typer.Option(min=0, help="Link this of its items, from 0; else the first without a step.")
    ] = None,
) -> None:
    """Link a performed step to the scheduled step that it means; that one follows at once."""
    with exit_on_error():
        ask(config, "POST", f"/mpps/{number}/link", {"step": step, "item": item})
    say(f"{number}: linked to step {step}")


@app.command("set-aside")
def set_aside(number: Number, reason: Reason, config: Config = None) -> None:
    """Note that nobody needs to look at a performed step any more."""
    with exit_on_error():
        ask(config, "POST", f"/mpps/{number}/set-aside", {"reason": reason})
    say(f"{number}: set aside")


@app.command()
def end(
    number: Number,
    status: Annotated[str, typer.Argument(help="How it ended: COMPLETED or DISCONTINUED.")],
    reason: Reason,
    config: Config = None,
) -> None:
    """End a performed step that is IN PROGRESS, in place of its modality."""
    with exit_on_error():
        ask(config, "POST", f"/mpps/{number}/end", {"status": status.upper(), "reason": reason})
    say(f"{number}: {status.upper()}")
