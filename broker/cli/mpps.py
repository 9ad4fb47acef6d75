"""`broker mpps`: performed procedure steps, and what a person decides about them. Asks the running broker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from broker.cli.asking.desk import Refusal, mistakes, settings_of, wall_clock

app = typer.Typer(no_args_is_help=True, help="Performed procedure steps (MPPS) of the modalities.")
Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Path of broker.toml; built-in defaults without it.", show_default=False),
]
Number = Annotated[int, typer.Argument(help="A number that `broker mpps list` shows.")]
Reason = Annotated[str, typer.Option(help="Why; it stands in the audit trail.")]


def _ask(config: Path | None, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    from broker.cli.asking import control

    answer = control.call(settings_of(config), method, f"/api/v1/mpps{path}", body)
    if answer is None:
        raise Refusal("no broker runs on this data directory")
    if not answer.good:
        raise Refusal(answer.problem)
    return answer.body


@app.command("list")
def list_(
    config: Config = None,
    status: Annotated[str, typer.Option(help='"IN PROGRESS", COMPLETED or DISCONTINUED.')] = "",
    linking: Annotated[str, typer.Option(help="linked, partly, unscheduled, ambiguous, mismatch or set-aside.")] = "",
    waiting: Annotated[bool, typer.Option("--waiting", help="Only those that a person must look at.")] = False,
) -> None:
    """Show performed procedure steps, newest first."""
    from urllib.parse import urlencode

    from rich.console import Console
    from rich.table import Table

    asked = {"status": status, "linking": linking, "waiting": str(waiting).lower(), "limit": 1000}
    with mistakes():
        clock = wall_clock(config)
        found = _ask(config, "GET", f"?{urlencode(asked)}")
    table = Table(box=None, pad_edge=False)
    for title in ("number", "began", "station", "modality", "status", "linking", "attention", "findings"):
        table.add_column(title, overflow="fold")
    for one in found:
        began = clock(one["started_at"])
        table.add_row(
            str(one["id"]),
            began,
            one["station"],
            one["modality"],
            one["status"],
            one["linking"],
            one["attention"],
            " ".join(one["findings"]),
        )
    Console().print(table)


@app.command()
def link(
    number: Number,
    step: Annotated[int, typer.Argument(help="Number of the scheduled step.")],
    config: Config = None,
    item: Annotated[int | None, typer.Option(min=0, help="Which of its items; else the first without a step.")] = None,
) -> None:
    """Say which scheduled step a performed one means; that one follows at once."""
    with mistakes():
        _ask(config, "POST", f"/{number}/link", {"step": step, "item": item})
    typer.echo(f"{number}: linked to step {step}")


@app.command("set-aside")
def set_aside(number: Number, reason: Reason, config: Config = None) -> None:
    """Nobody needs to look at it any more."""
    with mistakes():
        _ask(config, "POST", f"/{number}/set-aside", {"reason": reason})
    typer.echo(f"{number}: set aside")


@app.command()
def end(
    number: Number,
    status: Annotated[str, typer.Argument(help="COMPLETED or DISCONTINUED.")],
    reason: Reason,
    config: Config = None,
) -> None:
    """End one that is IN PROGRESS, in place of its modality."""
    with mistakes():
        _ask(config, "POST", f"/{number}/end", {"status": status.upper(), "reason": reason})
    typer.echo(f"{number}: {status.upper()}")
