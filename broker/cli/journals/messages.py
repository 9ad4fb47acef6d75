"""`broker messages`: list HL7 messages, received and sent, and show them with their texts. Asks the running broker."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from broker.cli.asking.running import ask
from broker.cli.common import CommandRefused, Config, exit_on_error, moment, settings_of, wall_clock
from broker.cli.output import say, say_json, show_table

app = typer.Typer(no_args_is_help=True, help="Look at HL7 messages, received and sent, and how they were answered.")
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Accession = Annotated[
    str, typer.Option(help="Only those of the exam with this accession, placer or filler number.", show_default=False)
]
MOST_SHOWN = 20  # messages of one exam
TOLD = {"ready": "waits", "leased": "is being sent", "done": "heard", "held": "held", "discarded": "given up"}


@app.command("list")
def list_(
    refused: Annotated[bool, typer.Option("--refused", help="Only refused ones that wait for a person.")] = False,
    state: Annotated[str, typer.Option(help="refused, open (nobody has dealt with them) or dealt.")] = "",
    accession: Accession = "",
    patient: Annotated[str, typer.Option(help="Only those of the patient with this identifier.")] = "",
    direction: Annotated[str, typer.Option(help="in (received) or out (sent to a RIS).")] = "",
    answer: Annotated[str, typer.Option(help="Only those that were answered so, like AE.")] = "",
    finding: Annotated[str, typer.Option(help="Only those with this finding, a code like 101.")] = "",
    sender: Annotated[
        str, typer.Option(help="Only those of this sender: MSH-3, or MSH-3|MSH-4; or to this node.")
    ] = "",
    type_: Annotated[str, typer.Option("--type", help="Only those of this type: ORM, or ORM^O01.")] = "",
    since: Annotated[str, typer.Option(help="Only those since, like 2026-03-12 or 2026-03-12T08:00, or `today`.")] = "",
    until: Annotated[str, typer.Option(help="Only those before.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """List messages, the newest first, with what was found wrong with them and what the RIS answered."""
    with exit_on_error():
        clock = wall_clock(config)
        body: dict[str, Any] = {"limit": limit, "since": _moment(since, config) or 0, "until": _moment(until, config)}
        body |= {"state": "open" if refused else state, "direction": direction, "answer": answer, "finding": finding}
        body |= {"sender": sender, "message_type": type_, "AccessionNumber": accession, "PatientID": patient}
        found = ask(config, "POST", "/messages/search", body)
    if as_json:
        say_json(found, indent=2)
        return
    head = ("message", "time", "from or to", "type", "control id", "answer", "findings")
    show_table(head, [_row(one, clock) for one in found])


def _moment(text: str, config: Path | None) -> float | None:
    """Seconds since the epoch of what was typed; `today` is midnight on the site's clock."""
    settings = settings_of(config)
    if text == "today":
        return datetime.now(settings.zone()).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    return moment(text, settings) if text else None


def _row(one: dict[str, Any], clock: Callable[[float], str]) -> tuple[str, ...]:
    findings = "\n".join(one["findings"])
    if one["direction"] == "out":
        place = (f"sent {one['row']}", clock(one["at"]), f"to {one['node']}", f"{one['message_type']} {one['event']}")
        return (*place, one["control_id"], one["answer"] or "no answer", findings or one["error"])
    dealt = f"dealt with: {one['dealt']['note']}" if one["dealt"] else ""
    return (
        str(one["row"]),
        clock(one["received_at"]),
        one["sender"],
        one["message_type"],
        one["control_id"],
        one["answer"],
        "\n".join(filter(None, (findings or one["note"], dealt))),
    )


@app.command()
def show(
    number: Annotated[
        int | None, typer.Argument(help="Number of a message, as `broker messages list` shows it.", show_default=False)
    ] = None,
    sent: Annotated[bool, typer.Option("--sent", help="The number is that of a message that was sent.")] = False,
    accession: Accession = "",
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show a message with its text and the answer, or all that came about an exam. They hold patient data."""
    with exit_on_error():
        clock = wall_clock(config)
        if (number is None) == (not accession):
            raise CommandRefused("Give the number of a message, or --accession")
        if number is not None:
            found = [ask(config, "GET", f"/messages/{'sent/' if sent else ''}{number}")]
        else:
            body = {"AccessionNumber": accession, "direction": "out" if sent else "in", "limit": MOST_SHOWN}
            listed = ask(config, "POST", "/messages/search", body)
            paths = [f"/messages/{'sent/' if sent else ''}{one['row']}" for one in reversed(listed)]
            found = [ask(config, "GET", path) for path in paths]
            if not found:
                raise CommandRefused("No message here is known by this number")
    if as_json:
        say_json(found[0] if number is not None else found, indent=2)
        return
    for one in found:
        _show(one, clock)


def _show(one: dict[str, Any], clock: Callable[[float], str]) -> None:
    if one["direction"] == "out":
        head = f"message {one['row']}, sent to {one['node']}, answered {clock(one['at'])}"
        say(f"{head}: {one['answer'] or 'no answer'} {one['error']}".rstrip())
    else:
        head = f"message {one['row']}, received {clock(one['received_at'])} at {one['listener']} from {one['peer']}"
        say(f"{head}: {one['answer']} {one['note']}".rstrip())
        for effect in one["effects"]:
            say(f"  {effect['action']} {effect['accession'] or effect['object_id']}")
        if one["dealt"]:
            say(f"  dealt with by {one['dealt']['actor']} {clock(one['dealt']['at'])}: {one['dealt']['note']}")
    for text in (one["text"], one["reply"]):
        if text:
            say("\n" + text)
    say("")


Rows = Annotated[list[int], typer.Argument(help="Numbers of messages, as `broker messages list` shows them.")]
Reason = Annotated[str, typer.Option(help="Why, or what was done; it stands in the audit trail.")]


@app.command()
def dealt(numbers: Rows, reason: Reason, config: Config = None) -> None:
    """Mark refused messages as dealt with: they wait for a person no more."""
    with exit_on_error():
        done = ask(config, "POST", "/messages/dealt", {"rows": numbers, "note": reason})
    say(f"{done['dealt']} of {len(numbers)} waited for a person and were dealt with")


@app.command()
def undealt(
    number: Annotated[int, typer.Argument(help="Number of a message.")], reason: Reason, config: Config = None
) -> None:
    """Let a message wait for a person again."""
    with exit_on_error():
        ask(config, "POST", f"/messages/{number}/undealt", {"reason": reason})
    say(f"message {number} waits for a person again")


@app.command()
def feedback(
    accession: Annotated[str, typer.Argument(help="Accession, placer or filler number of an exam.")],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show what the RIS is told of an exam: what it heard and when, what waits, what is held."""
    with exit_on_error():
        clock = wall_clock(config)
        found = ask(config, "POST", "/feedback/search", {"AccessionNumber": accession})
    if as_json:
        say_json(found, indent=2)
        return
    rows = []
    for one in found:
        since = clock(one["done_at"] or one["created_at"])
        rows.append((str(one["job"]), one["node"], one["event"], TOLD[one["state"]], since, one["error"]))
    show_table(("job", "to", "what", "state", "since", "error"), rows)


@app.command("send-again")
def send_again(
    job: Annotated[int, typer.Argument(help="Number of a job, as `broker messages feedback` shows it.")],
    reason: Reason,
    config: Config = None,
) -> None:
    """Tell the RIS again, with a new control id, what a job told it."""
    with exit_on_error():
        ask(config, "POST", f"/feedback/{job}/again", {"reason": reason})
    say(f"job {job} is sent again")
