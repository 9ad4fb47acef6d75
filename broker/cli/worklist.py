"""`broker worklist`: why a device shows an exam or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from broker.cli.asking.desk import Refusal, mistakes, settings_of

app = typer.Typer(no_args_is_help=True, help="What modalities are shown.")
Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Path of broker.toml; built-in defaults without it.", show_default=False),
]
_MARKS = {True: "yes", False: "NO", None: "?"}
_SHOWN = {True: "shown", False: "not shown", None: "cannot be told"}


@app.callback()
def _commands() -> None:
    """Keeps `explain` a command of its own while it is the only one."""


@app.command()
def explain(
    device: Annotated[str, typer.Option(help="A node of the site by its name, or an AE title.")],
    accession: Annotated[str, typer.Option(help="Accession number of the exam.")] = "",
    order: Annotated[int, typer.Option(help="Or our own number of its order.")] = 0,
    step: Annotated[int, typer.Option(help="Or our own number of one step.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as one JSON document.")] = False,
    config: Config = None,
) -> None:
    """Say why a device shows an exam or not: each condition of its last queries, and the first reason.

    Exit code 0 if it is shown, 3 if it is not or that cannot be told.
    """
    wanted = {"AccessionNumber": accession, "order": order, "step": step}
    body = {"device": device, **{name: value for name, value in wanted.items() if value}}
    with mistakes():
        found = _ask(config, body)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        _show(found)
    raise typer.Exit(0 if found["shown"] else 3)


def _ask(config: Path | None, body: dict[str, Any]) -> Any:
    from broker.cli.asking import control

    settings = settings_of(config)
    answer = control.call(settings, "POST", "/api/v1/worklist/explain", body)
    if answer is None:
        raise Refusal("no broker runs on this data directory")
    if not answer.good:
        raise Refusal(answer.problem)
    return answer.body


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    console.print(f"{_SHOWN[found['shown']]}: {found['reason']}", style="bold", soft_wrap=True)
    for step in found["steps"]:
        stations = ", ".join(step["ScheduledStationAETitle"]) or "no station"
        console.print(
            f"\nstep {step['ScheduledProcedureStepID']} (order {step['order']}, step {step['step']}): "
            f"{step['Modality']}, {step['start'] or 'no date'}, {step['status']}, on {stations}",
            soft_wrap=True,
        )
        console.print(f"  {_SHOWN[step['shown']]}: {step['reason']}", soft_wrap=True)
        for number, query in enumerate(step["queries"]):
            console.print(f"\n  {_title(query)}", soft_wrap=True)
            if number >= 3 and not query["shown"]:
                console.print(f"    {_SHOWN[query['shown']]}: {query['reason']}", soft_wrap=True)
                continue
            table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
            for title in ("    passes", "condition", "asked or allowed", "the step has"):
                table.add_column(title, overflow="fold")
            for check in query["checks"]:
                hint = f" ({check['hint']})" if check["hint"] else ""
                table.add_row(f"    {_MARKS[check['passed']]}", check["name"], check["asked"], check["found"] + hint)
            console.print(table)


def _title(query: dict[str, Any]) -> str:
    if query["at"] is None:
        return "It has never asked. Supposed query: all steps of its AE title"
    keys = ", ".join(f"{keyword}={value}" for keyword, value in query["keys"].items()) or "no values"
    often = f"{query['times']} times, " if query["times"] > 1 else ""
    trouble = f" {query['comment']}" if query["comment"] else ""
    return f"Query at {query['at']} ({often}{query['count']} answers, status {query['status']}{trouble}): {keys}"
