"""`broker order`: find exams, and show one. Asks the running broker."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from broker.cli.asking.running import ask
from broker.cli.common import Config, exit_on_error
from broker.cli.output import say, say_json, show_table

app = typer.Typer(no_args_is_help=True, help="Find exams by what is known of them, and show one with its whole story.")
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


class ExamStateChoice(StrEnum):
    """The states that exams are found by."""

    OPEN = "open"
    ENDED = "ended"
    SCHEDULED = "scheduled"
    ARRIVED = "arrived"
    READY = "ready"
    STARTED = "started"
    COMPLETED = "completed"
    DISCONTINUED = "discontinued"
    CANCELED = "canceled"


@app.command()
def find(
    name: Annotated[str, typer.Argument(help="Beginnings of words of the patient's name, in any order.")] = "",
    number: Annotated[str, typer.Option(help="Beginning of an accession number, or a whole order number.")] = "",
    patient: Annotated[str, typer.Option(help="Beginning of a Patient ID.")] = "",
    born: Annotated[str, typer.Option(help="Birth date, like 1976-02-29.")] = "",
    station: Annotated[str, typer.Option(help="Scheduled Station AE Title.")] = "",
    day: Annotated[str, typer.Option(help="Day on which it is planned, like 2026-03-12.")] = "",
    state: Annotated[ExamStateChoice | None, typer.Option(help="State of a step.")] = None,
    modality: Annotated[str, typer.Option(help="Modality, like CT.")] = "",
    procedure: Annotated[str, typer.Option(help="Words of what is to be done.")] = "",
    referring: Annotated[str, typer.Option(help="Name of who refers or requests.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many.")] = 50,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Find exams: those of a day by their time, others the newest order first. All that is given must fit."""
    wish = {
        "name": name,
        "number": number,
        "patient_id": patient,
        "born": born.replace("-", ""),
        "station": station,
        "day": day.replace("-", ""),
        "state": state.value if state else "",
        "modality": modality,
        "procedure": procedure,
        "referring": referring,
        "limit": limit,
    }
    with exit_on_error():
        found = ask(config, "POST", "/orders/find", wish)
    if as_json:
        say_json(found, indent=2)
        return
    titles = ("order", "accession", "patient", "name", "born", "planned", "station", "modality", "state", "what")
    show_table(titles, [_row(exam) for exam in found["exams"]])
    more = "" if found["counted_all"] else " or more"
    say(f"{found['total']}{more} found" + ("; see more with --limit or narrower filters" if found["after"] else ""))
    if found["not_findable_yet"]:
        say(f"{found['not_findable_yet']} patients of before the update cannot be found by name yet: try again soon")


def _row(exam: dict[str, Any]) -> tuple[str, ...]:
    steps = exam["steps"]
    return (
        str(exam["order"]),
        exam["AccessionNumber"],
        exam["PatientID"],
        exam["PatientName"],
        exam["PatientBirthDate"],
        "\n".join(_clock(step["start"]) for step in steps),
        "\n".join(", ".join(step["ScheduledStationAETitle"]) for step in steps),
        "\n".join(step["Modality"] for step in steps),
        "\n".join(step["status"] + (" (held)" if step["held"] else "") for step in steps),
        "\n".join(exam["RequestedProcedureDescription"]),
    )


def _clock(start: str) -> str:
    """`20300312103000` as `2030-03-12 10:30`; a dash for none."""
    return f"{start[:4]}-{start[4:6]}-{start[6:8]} {start[8:10]}:{start[10:12]}" if start else "-"
