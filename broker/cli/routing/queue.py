"""`broker queue`: list jobs that wait for a person, release or discard them. Asks the running broker."""

from __future__ import annotations

from typing import Annotated

import typer

from broker.cli.asking.running import ask
from broker.cli.common import Config, exit_on_error, wall_clock
from broker.cli.output import say, show_table

app = typer.Typer(no_args_is_help=True, help="List, release and discard jobs that wait for a person.")
Job = Annotated[int, typer.Argument(help="Number of a job, as `broker queue held` shows it.")]


@app.command()
def held(
    config: Config = None,
    lane: Annotated[str, typer.Option(help="Show only the jobs of this lane, such as feedback:ris.")] = "",
) -> None:
    """List held jobs, oldest first."""
    from urllib.parse import quote

    with exit_on_error():
        clock = wall_clock(config)
        jobs = ask(config, "GET", f"/holds?limit=1000&lane={quote(lane)}")
    rows = [(str(job["id"]), clock(job["created_at"]), job["lane"], str(job["failures"]), job["error"]) for job in jobs]
    show_table(("job", "since", "lane", "failures", "error"), rows)


@app.command()
def release(job: Job, config: Config = None) -> None:
    """Try a held job again, as if for the first time."""
    with exit_on_error():
        ask(config, "POST", f"/holds/{job}/release")
    say(f"job {job}: released")


@app.command()
def discard(
    job: Job,
    reason: Annotated[str, typer.Option(help="Say why; the audit trail keeps it.")],
    config: Config = None,
) -> None:
    """Give up a held job, so that the jobs behind it go on."""
    with exit_on_error():
        ask(config, "POST", f"/holds/{job}/discard", {"reason": reason})
    say(f"job {job}: discarded")
