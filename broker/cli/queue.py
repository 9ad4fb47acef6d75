"""`broker queue`: what waits for a person, and what becomes of it. Asks the running broker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from broker.cli.asking.desk import Refusal, mistakes, settings_of, wall_clock

app = typer.Typer(no_args_is_help=True, help="Work of the queue that waits for a person.")
Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Path of broker.toml; built-in defaults without it.", show_default=False),
]
Job = Annotated[int, typer.Argument(help="A number that `broker queue held` shows.")]


def _ask(config: Path | None, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    from broker.cli.asking import control

    answer = control.call(settings_of(config), method, f"/api/v1/holds{path}", body)
    if answer is None:
        raise Refusal("no broker runs on this data directory")
    if not answer.good:
        raise Refusal(answer.problem)
    return answer.body


@app.command()
def held(
    config: Config = None, lane: Annotated[str, typer.Option(help="Of one lane only, such as feedback:ris.")] = ""
) -> None:
    """Show held jobs, oldest first."""
    from urllib.parse import quote

    from rich.console import Console
    from rich.table import Table

    with mistakes():
        clock = wall_clock(config)
        found = _ask(config, "GET", f"?limit=1000&lane={quote(lane)}")
    table = Table(box=None, pad_edge=False)
    for title in ("job", "since", "lane", "failures", "error"):
        table.add_column(title, overflow="fold")
    for one in found:
        since = clock(one["created_at"])
        table.add_row(str(one["id"]), since, one["lane"], str(one["failures"]), one["error"])
    Console().print(table)


@app.command()
def release(job: Job, config: Config = None) -> None:
    """Let a held job be tried again, as if for the first time."""
    with mistakes():
        _ask(config, "POST", f"/{job}/release")
    typer.echo(f"job {job}: released")


@app.command()
def discard(
    job: Job, reason: Annotated[str, typer.Option(help="Why; it stands in the audit trail.")], config: Config = None
) -> None:
    """Give a held job up; what waits behind it goes on."""
    with mistakes():
        _ask(config, "POST", f"/{job}/discard", {"reason": reason})
    typer.echo(f"job {job}: discarded")
