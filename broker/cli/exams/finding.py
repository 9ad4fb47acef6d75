"""`broker order find` and `show`: exams by what is known of them, and the story of one. Asks the running broker."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from broker.cli.asking.running import ask
from broker.cli.common import CommandRefused, Config, exit_on_error, wall_clock
from broker.cli.output import say, say_json, show_table

app = typer.Typer(no_args_is_help=True, help="Find, show, place and change exams.")
_SHOWN = {True: "shown", False: "not shown", None: "cannot be told"}
_COMMANDS = {"message": "broker messages show", "mpps": "broker mpps show", "node": "broker nodes show"}
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
        say(f"{found['not_findable_yet']} new or updated patients cannot be found by name yet: try again soon")


@app.command()
def show(
    order: Annotated[int, typer.Argument(help="Our own number of the order, as `broker order find` shows it.")] = 0,
    accession: Annotated[str, typer.Option(help="Instead: its accession number.")] = "",
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show an exam: patient, steps, what its stations show of it, and what happened to it. It holds patient data."""
    with exit_on_error():
        clock = wall_clock(config)
        number = order or number_of(config, accession)
        told = ask(config, "GET", f"/orders/{number}/story")
    if as_json:
        say_json(told, indent=2)
        return
    found = told["document"]
    patient, accession = found["patient"], found["request"].get("AccessionNumber", "")
    say(f"exam {number}: {patient.get('PatientName', '')}, {patient.get('PatientID', '')}, accession {accession}")
    steps = [
        (
            step.get("ScheduledProcedureStepID", ""),
            f"{step.get('ScheduledProcedureStepStartDate', '-')} {step.get('ScheduledProcedureStepStartTime', '')}",
            ", ".join(step.get("ScheduledStationAETitle", ())),
            step.get("Modality", ""),
            step["ScheduledProcedureStepStatus"] + (" (held)" if step.get("held") else ""),
        )
        for procedure in found["procedures"]
        for step in procedure["steps"]
    ]
    show_table(("step", "planned", "station", "modality", "state"), steps)
    for one in told["worklists"]:
        say(f"{one['node'] or one['device']}: {_SHOWN[one['shown']]}: {one['reason']}")
    entries = [(clock(one["at"]), one["kind"], _told(one), one["actor"], _source(one)) for one in told["entries"]]
    show_table(("when", "what", "what happened", "who", "see"), entries)


def number_of(config: Path | None, accession: str) -> int:
    """Our number of the one exam with an accession number. Raises CommandRefused."""
    if not accession:
        raise CommandRefused("name the order by its number, or by --accession")
    found = ask(config, "POST", "/orders/find", {"number": accession})["exams"]
    numbers = [exam["order"] for exam in found if exam["AccessionNumber"] == accession]
    if len(numbers) != 1:
        told = f"several orders have it: {', '.join(map(str, numbers))}" if numbers else "no order has it"
        raise CommandRefused(f"accession number {accession}: {told}")
    return int(numbers[0])


def _told(entry: dict[str, Any]) -> str:
    return f"{entry['text']} ({entry['code']})" if entry["code"] else str(entry["text"])


def _source(entry: dict[str, Any]) -> str:
    """The command that shows where an entry comes from."""
    source = entry["source"]
    command = _COMMANDS.get(source["kind"]) if source else None
    return f"{command} {source['key']}" if command else ""


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
