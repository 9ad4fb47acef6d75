"""`broker worklist explain`: say why a device shows an exam or not. Asks the running broker."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from broker.cli.asking.running import ask
from broker.cli.common import Config, exit_on_error
from broker.cli.output import console, say_json

app = typer.Typer(no_args_is_help=True, help="Show and explain what devices see; import other worklists.")
_MARKS = {True: "yes", False: "NO", None: "?"}
_SHOWN = {True: "shown", False: "not shown", None: "cannot be told"}


@app.command()
def explain(
    device: Annotated[str, typer.Option(help="Name of a node of the site, or an AE title.")],
    accession: Annotated[str, typer.Option(help="Accession number of the exam.")] = "",
    order: Annotated[int, typer.Option(help="Instead: our own number of its order.")] = 0,
    step: Annotated[int, typer.Option(help="Instead: our own number of one step.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON document.")] = False,
    config: Config = None,
) -> None:
    """Explain why a device shows an exam or not: each condition of its last queries, and the first reason.

    Exits with 0 if the exam is shown, with 3 if it is not or that cannot be told.
    """
    exam = {"AccessionNumber": accession, "order": order, "step": step}
    body = {"device": device, **{name: value for name, value in exam.items() if value}}
    with exit_on_error():
        explanation = ask(config, "POST", "/worklist/explain", body)
    if as_json:
        say_json(explanation, indent=2)
    else:
        _show(explanation)
    raise typer.Exit(0 if explanation["shown"] else 3)


def _show(explanation: dict[str, Any]) -> None:
    from rich.table import Table

    screen = console()
    screen.print(f"{_SHOWN[explanation['shown']]}: {explanation['reason']}", style="bold", soft_wrap=True)
    for step in explanation["steps"]:
        stations = ", ".join(step["ScheduledStationAETitle"]) or "no station"
        screen.print(
            f"\nstep {step['ScheduledProcedureStepID']} (order {step['order']}, step {step['step']}): "
            f"{step['Modality']}, {step['start'] or 'no date'}, {step['status']}, on {stations}",
            soft_wrap=True,
        )
        screen.print(f"  {_SHOWN[step['shown']]}: {step['reason']}", soft_wrap=True)
        for number, query in enumerate(step["queries"]):
            screen.print(f"\n  {_title(query)}", soft_wrap=True)
            if number >= 3 and not query["shown"]:
                screen.print(f"    {_SHOWN[query['shown']]}: {query['reason']}", soft_wrap=True)
                continue
            table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
            for title in ("    passes", "condition", "asked or allowed", "the step has"):
                table.add_column(title, overflow="fold")
            for check in query["checks"]:
                hint = f" ({check['hint']})" if check["hint"] else ""
                table.add_row(f"    {_MARKS[check['passed']]}", check["name"], check["asked"], check["found"] + hint)
            screen.print(table)


def _title(query: dict[str, Any]) -> str:
    if query["at"] is None:
        return "It has never asked. Supposed query: all steps of its AE title"
    keys = ", ".join(f"{keyword}={value}" for keyword, value in query["keys"].items()) or "no values"
    often = f"{query['times']} times, " if query["times"] > 1 else ""
    trouble = f" {query['comment']}" if query["comment"] else ""
    return f"Query at {query['at']} ({often}{query['count']} answers, status {query['status']}{trouble}): {keys}"
