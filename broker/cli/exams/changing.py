"""`broker order create`, `emergency`, `edit`, `move`, `cancel`, `reopen`, `merge`: one exam by hand.

Asks the running broker.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from broker.cli.asking.running import ask
from broker.cli.common import CommandRefused, Config, exit_on_error
from broker.cli.exams.finding import Json, number_of
from broker.cli.exams.finding import app as app
from broker.cli.output import say, say_json, show_table

Accession = Annotated[str, typer.Option(help="In place of the number: the accession number of the order.")]
AnyOrder = Annotated[int, typer.Argument(help="Our own number of the order, as `broker order find` shows it.")]
Order = Annotated[int, typer.Argument(help="Our own number of the order, as `broker order find` shows it.", min=1)]
Document = Annotated[
    typer.FileText,
    typer.Argument(help="The order as JSON, as `broker order show --json` has it; - reads standard input."),
]
Reason = Annotated[str, typer.Option(help="Say why; the audit trail keeps it.")]
Step = Annotated[str, typer.Option(help="Its Scheduled Procedure Step ID; needed if there are several.")]


@app.command()
def create(document: Document, as_json: Json = False, config: Config = None) -> None:
    """Place an order; one that is known by its numbers is updated."""
    with exit_on_error():
        placed = ask(config, "POST", "/orders", _order(document))
    _told(placed, as_json=as_json)


@app.command()
def emergency(
    modality: Annotated[str, typer.Option(help="Modality, like CT.")],
    procedure: Annotated[str, typer.Option(help="What is to be done, like `CT polytrauma`.")],
    station: Annotated[str, typer.Option(help="Scheduled Station AE Title.")] = "",
    sex: Annotated[str, typer.Option(help="M, F or O, if it is known.")] = "",
    age: Annotated[str, typer.Option(help="About, as DICOM writes it: 040Y, 006M.")] = "",
    family: Annotated[str, typer.Option(help="Family name, if it is known.")] = "",
    given: Annotated[str, typer.Option(help="Given name, if it is known.")] = "",
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Place an order that begins now, for somebody whom nobody knows yet. Merge the patient later by `merge`."""
    body = {
        "Modality": modality,
        "RequestedProcedureDescription": procedure,
        "ScheduledStationAETitle": station,
        "PatientSex": sex,
        "PatientAge": age,
        "FamilyName": family,
        "GivenName": given,
    }
    with exit_on_error():
        placed = ask(config, "POST", "/orders/emergency", body)
    _told(placed, as_json=as_json)


@app.command()
def edit(order: Order, document: Document, reason: Reason, as_json: Json = False, config: Config = None) -> None:
    """Make an order what a document says, if it has not changed since the document was made.

    Steps that the document leaves out are cancelled, attributes of the order deleted.
    """
    with exit_on_error():
        whole = _order(document)
        if not isinstance(whole.get("revision"), str):
            raise CommandRefused("the document has no `revision`: take it from `broker order show --json`")
        headers = {"If-Match": f'"{whole["revision"]}"'}
        placed = ask(config, "PUT", f"/orders/{order}", whole | {"reason": reason}, headers)
    _told(placed, as_json=as_json)


@app.command()
def move(
    reason: Reason,
    order: AnyOrder = 0,
    accession: Accession = "",
    step: Step = "",
    station: Annotated[list[str] | None, typer.Option(help="Scheduled Station AE Title; may be repeated.")] = None,
    date: Annotated[str, typer.Option(help="Day, like 2026-03-12.")] = "",
    time: Annotated[str, typer.Option(help="Time, like 10:30.")] = "",
    config: Config = None,
) -> None:
    """Move a step that has not begun to another station or another time."""
    with exit_on_error():
        order = order or number_of(config, accession)
        body = {
            "ScheduledProcedureStepID": step or _only_step(config, order),
            "ScheduledStationAETitle": station or [],
            "ScheduledProcedureStepStartDate": date,
            "ScheduledProcedureStepStartTime": time,
            "reason": reason,
        }
        placed = ask(config, "POST", f"/orders/{order}/move", body)
    _told(placed)


@app.command()
def cancel(reason: Reason, order: AnyOrder = 0, accession: Accession = "", config: Config = None) -> None:
    """Cancel an order that has not begun. Again is no error."""
    with exit_on_error():
        order = order or number_of(config, accession)
        placed = ask(config, "POST", f"/orders/{order}/cancel", {"reason": reason})
    _told(placed)


@app.command()
def reopen(
    reason: Reason, order: AnyOrder = 0, accession: Accession = "", step: Step = "", config: Config = None
) -> None:
    """Let an ended step begin again: devices show it. No message can do this."""
    with exit_on_error():
        order = order or number_of(config, accession)
        body = {"ScheduledProcedureStepID": step or _only_step(config, order), "reason": reason}
        placed = ask(config, "POST", f"/orders/{order}/reopen", body)
    _told(placed)


@app.command()
def merge(
    stays: Annotated[int, typer.Argument(help="Our number of the patient who stays (`broker order find --json`).")],
    retired: Annotated[int, typer.Argument(help="Our number of the patient who is retired.")],
    reason: Annotated[str, typer.Option(help="Say why both are one. Without it both are only shown.")] = "",
    config: Config = None,
) -> None:
    """Show two patients side by side; with a reason, give all that the second one has to the first one."""
    with exit_on_error():
        pair = ask(config, "GET", f"/patients/{stays}/beside/{retired}")
        _compare(pair)
        if not reason:
            say("nothing was changed: merge them by --reason")
            return
        merged = ask(config, "POST", f"/patients/{stays}/merge", {"retired": retired, "reason": reason})
    for warning in merged["warnings"]:
        say(f"warning: {warning['text']}")
    say(f"patient {retired} is patient {stays} now")


def _order(document: typer.FileText) -> dict[str, Any]:
    """The order of a file; of a whole answer of `show` what stands under `document`. Raises CommandRefused."""
    try:
        found = json.load(document)
    except ValueError as error:
        raise CommandRefused(f"this is no JSON: {error}") from None
    found = found.get("document", found) if isinstance(found, dict) else found
    if not isinstance(found, dict):
        raise CommandRefused("an order is a JSON object")
    return found


def _only_step(config: Path | None, order: int) -> str:
    """The Scheduled Procedure Step ID of the one step of an order. Raises CommandRefused."""
    found = ask(config, "GET", f"/orders/{order}")
    names = [step["ScheduledProcedureStepID"] for procedure in found["procedures"] for step in procedure["steps"]]
    if len(names) != 1:
        raise CommandRefused(f"name the step by --step: {', '.join(names)}")
    return str(names[0])


def _told(placed: dict[str, Any], *, as_json: bool = False) -> None:
    if as_json:
        say_json(placed, indent=2)
        return
    order = placed["order"]
    for warning in placed["warnings"]:
        say(f"warning: {warning['path']}: {warning['text']}")
    say(f"order {order['id']}: {placed['outcome']}, accession {order['request'].get('AccessionNumber', '')}")


def _compare(pair: dict[str, Any]) -> None:
    """Print two patients beside each other, what differs marked."""
    one, other = pair["stays"], pair["retired"]
    keywords = dict.fromkeys([*one["attributes"], *other["attributes"]])
    rows = [("identifiers", _identifiers(one), _identifiers(other)), ("orders", *map(_numbers, (one, other)))]
    rows += [(name, _text(one["attributes"].get(name)), _text(other["attributes"].get(name))) for name in keywords]
    shown = [(name, mine, theirs, "" if mine == theirs else "differs") for name, mine, theirs in rows]
    show_table(("", f"stays: {one['id']}", f"retired: {other['id']}", ""), shown)


def _identifiers(patient: dict[str, Any]) -> str:
    return "\n".join(f"{one['PatientID']} {one['IssuerOfPatientID']}".strip() for one in patient["identifiers"])


def _numbers(patient: dict[str, Any]) -> str:
    return ", ".join(map(str, patient["orders"]))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
