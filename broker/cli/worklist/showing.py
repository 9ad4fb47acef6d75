"""`broker worklist show`, `board` and `unseen`: what a device sees now, what is planned, and exams that nobody sees.

Asks the running broker.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from broker.cli.asking.running import ask
from broker.cli.common import Config, exit_on_error, wall_clock
from broker.cli.output import say, say_json, show_table
from broker.cli.worklist.explaining import app as app

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
_STEP = "ScheduledProcedureStepSequence"
_WHICH = {
    "asked": "the answer to a query that it asked at {at}",
    "supposed": "it has never asked; this is the answer if it asks for the exams of its own AE title",
    "typed": "the answer to what was typed",
}


class UnseenChoice(StrEnum):
    """Why nobody sees an exam."""

    HELD = "held"
    UNSCHEDULED = "unscheduled"
    UNASSIGNED = "unassigned"
    UNKNOWN_STATION = "unknown-station"
    PAST = "past"


@app.command()
def show(
    device: Annotated[str, typer.Argument(help="Name of a node of the site, or an AE title.")],
    date: Annotated[str, typer.Option(help="Ask for this day instead: 2026-03-12, or 20260312-20260314.")] = "",
    station: Annotated[str, typer.Option(help="Ask for this Scheduled Station AE Title.")] = "",
    modality: Annotated[str, typer.Option(help="Ask for this modality, like CT.")] = "",
    name: Annotated[str, typer.Option(help="Ask for this patient's name, like WALESA*.")] = "",
    patient: Annotated[str, typer.Option(help="Ask for this Patient ID.")] = "",
    accession: Annotated[str, typer.Option(help="Ask for this accession number.")] = "",
    query: Annotated[int, typer.Option(min=1, max=20, help="Which of its queries, counted from the last.")] = 1,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Show at most so many.")] = 50,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show what a device sees now: the answer to its last query, or to what you ask in its place."""
    keys = {
        "ScheduledProcedureStepStartDate": date.replace("-", "") if date.count("-") == 2 else date,
        "ScheduledStationAETitle": station,
        "Modality": modality,
        "PatientName": name,
        "PatientID": patient,
        "AccessionNumber": accession,
    }
    body: dict[str, Any] = {"device": device, "query": query, "limit": limit}
    if any(keys.values()):
        body["keys"] = {keyword: value for keyword, value in keys.items() if value}
    with exit_on_error():
        clock = wall_clock(config)
        seen = ask(config, "POST", "/worklist/ask", body)
    if as_json:
        say_json(seen, indent=2)
        return
    at = seen["query"]["at"]
    say(f"{seen['device']} ({seen['ae_title']}): {_WHICH[seen['which']].format(at=clock(at) if at else '-')}")
    if seen["refusal"]:
        say(f"it is not let in: {seen['refusal']}")
    say(f"asks for: {_keys(seen['query']['keys'])}")
    if seen["served"] != seen["query"]["keys"]:
        say(f"its profile makes of it: {_keys(seen['served'])}")
    titles = ("order", "planned", "station", "modality", "name", "patient", "accession", "what")
    show_table(titles, [_answer(exam) for exam in seen["exams"]])
    comment = f" ({seen['comment']})" if seen["comment"] else ""
    say(f"{seen['count']} answers, status {seen['status'] or 'not known'}{comment}")
    for finding in seen["findings"]:
        say(f"- {finding}")


@app.command()
def board(
    day: Annotated[str, typer.Option(help="The day, like 2026-03-12; without it today.")] = "",
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show what is planned on a day by station and time, and when the devices asked last."""
    with exit_on_error():
        clock = wall_clock(config)
        found = ask(config, "GET", _with("/worklist/board", day=day.replace("-", "")))
    if as_json:
        say_json(found, indent=2)
        return
    for station in found["stations"]:
        asked = f", asked last at {clock(station['last_asked'])}" if station["last_asked"] else ""
        whose = f"{station['device']}{asked}" if station["device"] else "no device has this station"
        say(f"{station['ScheduledStationAETitle'] or '(no station)'}: {station['total']} planned ({whose})")
        if station["steps"]:
            show_table(_PLANNED, [_planned(step) for step in station["steps"]])
    more = "" if found["whole"] else " or more"
    say(f"{found['total']}{more} planned on {_day(found['day'])}")


@app.command()
def unseen(
    reason: Annotated[UnseenChoice | None, typer.Option(help="Only those of one reason.")] = None,
    after: Annotated[str, typer.Option(help="Where the next page begins, as the page before says.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many.")] = 50,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """List exams that nobody will see: held by the RIS, without a station or a day, or of a day that is over."""
    asked = _with("/worklist/unseen", reason=reason.value if reason else "", after=after, limit=str(limit))
    with exit_on_error():
        found = ask(config, "GET", asked)
    if as_json:
        say_json(found, indent=2)
        return
    rows = [
        (*_planned(exam), ", ".join(exam["ScheduledStationAETitle"]), exam["why"], exam["next"])
        for exam in found["exams"]
    ]
    show_table((*_PLANNED, "station", "why", "what to do"), rows)
    say(", ".join(f"{count} {name}" for name, count in found["counts"].items()))
    if found["seeing_all"]:
        say(f"these devices ask without a station and may show some all the same: {', '.join(found['seeing_all'])}")
    if found["after"]:
        say(f"see more with --after {found['after']}")


_PLANNED = ("order", "planned", "modality", "state", "name", "patient", "accession")


def _planned(step: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(step["order"]),
        _clock(step["start"]),
        step["Modality"],
        step["status"] + (" (held)" if step["held"] else ""),
        step["PatientName"],
        step["PatientID"],
        step["AccessionNumber"],
    )


def _answer(exam: dict[str, Any]) -> tuple[str, ...]:
    answer = exam["answer"]
    step: dict[str, Any] = next(iter(answer.get(_STEP) or ()), {})
    start = f"{_text(step, 'ScheduledProcedureStepStartDate')}{_text(step, 'ScheduledProcedureStepStartTime')}"
    return (
        str(exam["order"]),
        _clock(start),
        _text(step, "ScheduledStationAETitle"),
        _text(step, "Modality"),
        _text(answer, "PatientName"),
        _text(answer, "PatientID"),
        _text(answer, "AccessionNumber"),
        _text(answer, "RequestedProcedureDescription"),
    )


def _text(answer: dict[str, Any], keyword: str) -> str:
    value = answer.get(keyword) or ""
    return "\\".join(value) if isinstance(value, list) else str(value)


def _keys(keys: dict[str, str]) -> str:
    return ", ".join(f"{keyword}={value}" for keyword, value in keys.items()) or "everything (no key has a value)"


def _with(path: str, **query: str) -> str:
    return f"{path}?{urlencode({name: value for name, value in query.items() if value})}".rstrip("?")


def _day(day: str) -> str:
    return f"{day[:4]}-{day[4:6]}-{day[6:8]}"


def _clock(start: str) -> str:
    """`20300312103000` as `2030-03-12 10:30`; a dash for none."""
    return f"{_day(start)} {start[8:10]}:{start[10:12]}" if start else "-"
