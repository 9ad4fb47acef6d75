"""`broker audit`: who did or saw what, when and from where. Asks the running broker, or reads its database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.audit import actions
from broker.cli.asking.anywhere import ask, fetch
from broker.cli.common import Config, exit_on_error, moment, settings_of, wall_clock
from broker.cli.output import say, say_document, say_json, show_table
from broker.errors import ConfigurationError
from broker.model.audit import ExportForm

if TYPE_CHECKING:
    from broker.settings import Settings
    from broker.store.db.database import Database

app = typer.Typer(no_args_is_help=True, help="Look at the audit trail: who did or saw what, when and from where.")
Person = Annotated[
    str,
    typer.Option(help="Only what this one did, like user:anna or token:ris; with a colon at the end all of a kind."),
]
Patient = Annotated[str, typer.Option(help="Only what concerns the patient with this identifier.")]
Issuer = Annotated[str, typer.Option(help="Issuer of that identifier.")]
Object = Annotated[str, typer.Option("--object", help="Only what was done to this object, like order:17 or order.")]
Action = Annotated[str, typer.Option(help="Only one of `broker audit actions`; with a dot at the end all of a kind.")]
Since = Annotated[str, typer.Option(help="Only since then, like 2026-03-12 or 2026-03-12T08:00 (site's clock).")]
Until = Annotated[str, typer.Option(help="Only before then.")]


@app.command("list")
def list_(
    person: Person = "",
    patient: Patient = "",
    issuer: Issuer = "",
    object_: Object = "",
    action: Action = "",
    since: Since = "",
    until: Until = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    config: Config = None,
) -> None:
    """List rows of the audit trail, the newest first. That you looked stands there too."""
    with exit_on_error():
        clock = wall_clock(config)
        filters = _filters(config, person, patient, issuer, object_, action, since, until)
        found: list[dict[str, Any]] = []
        after: str | None = ""
        while after is not None and len(found) < limit:
            page = ask(config, "POST", "/audit/search", {**filters, "limit": limit - len(found), "after": after})
            found += page["rows"]
            after = page["after"]
    if as_json:
        say_json(found, indent=2)
        return
    rows = [
        (
            clock(one["at"]),
            one["actor"],
            one["address"],
            one["action"],
            f"{one['kind']} {one['object_id']}" if one["object_id"] else "",
            json.dumps(one["detail"], ensure_ascii=False) if one["detail"] else "",
        )
        for one in found
    ]
    show_table(("time", "who", "from", "action", "object", "detail"), rows, whole=("time", "action"))


@app.command()
def export(
    person: Person = "",
    patient: Patient = "",
    issuer: Issuer = "",
    object_: Object = "",
    action: Action = "",
    since: Since = "",
    until: Until = "",
    form: Annotated[ExportForm, typer.Option("--format", help="Form of the file.")] = ExportForm.CSV,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write this file.", show_default=False)] = None,
    config: Config = None,
) -> None:
    """Export rows of the audit trail, the newest first: CSV that is safe for spreadsheets, or JSON lines."""
    with exit_on_error():
        filters = _filters(config, person, patient, issuer, object_, action, since, until)
        body = {**filters, "form": form.value}

        def here(settings: Settings, database: Database) -> Iterator[str]:
            from broker.service.alone import offline

            return offline.export_audit(settings, database, body)

        parts = fetch(config, "/audit/export", body, here)
        if output is None:
            for part in parts:
                say_document(part)
            return
        count = 0
        try:
            with output.open("w", encoding="utf-8", newline="") as file:
                for part in parts:
                    count += file.write(part)
        except OSError as error:
            raise ConfigurationError(f"{output}: {error.strerror or 'cannot be written'}") from None
    say(f"{output}: {count} characters", err=True)


@app.command("actions")
def actions_(as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False) -> None:
    """List the actions by which rows are found, in words. One with a dot at its end means all of a kind."""
    known = actions.in_english()
    if as_json:
        say_json([{"action": action, "words": words} for action, words in known], indent=2)
        return
    show_table(("action", "what"), known)


def _filters(
    config: Path | None, person: str, patient: str, issuer: str, object_: str, action: str, since: str, until: str
) -> dict[str, Any]:
    """The filters as REST takes them. Raises ConfigurationError."""
    settings = settings_of(config)
    kind, colon, number = object_.partition(":")
    if colon and not (kind and number.isdecimal()):
        raise ConfigurationError(f"--object {object_}: not like order:17")
    if issuer and not patient:
        raise ConfigurationError("--issuer goes with --patient")
    given: dict[str, Any] = {
        "actor": person,
        "PatientID": patient,
        "IssuerOfPatientID": issuer,
        "kind": kind,
        "object_id": int(number) if number else None,
        "action": action,
        "since": moment(since, settings) if since else None,
        "until": moment(until, settings) if until else None,
    }
    return {name: value for name, value in given.items() if value not in ("", None)}
