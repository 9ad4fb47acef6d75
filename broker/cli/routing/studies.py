"""`broker studies`: what each destination has of a study; sends it again or elsewhere. Asks the running broker."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from broker.cli.asking.running import ask
from broker.cli.common import CommandRefused, Config, exit_on_error, settings_of, wall_clock
from broker.cli.output import counted, say, say_json, show_table
from broker.cli.routing.endings import REROUTED, RESENT, endings_text
from broker.cli.routing.holds import Accession, Json, Reason, Study
from broker.cli.routing.trying import show_decisions
from broker.errors import ConfigurationError
from broker.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Find studies, show what each destination has, send one again.")
Uid = Annotated[str, typer.Argument(help="Study Instance UID, or number as `broker studies find` shows it.")]
To = Annotated[str, typer.Option(help="Name of the node that gets the objects.")]
_STATES = ("sent", "warning", "waiting", "sending", "held", "given-up", "elsewhere")


@app.command()
def find(
    config: Config = None,
    patient: Annotated[str, typer.Option(help="Only studies of this Patient ID.")] = "",
    accession: Accession = "",
    study: Study = "",
    day: Annotated[str, typer.Option(help="Only those whose first object came on this day, such as 2026-12-31.")] = "",
    modality: Annotated[str, typer.Option(help="Only those with objects of this modality.")] = "",
    device: Annotated[str, typer.Option(help="Only those that came from this AE title.")] = "",
    node: Annotated[str, typer.Option(help="Only those with objects for this destination.")] = "",
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Only those of which something waits, is held or was given up.")
    ] = False,
    after: Annotated[str, typer.Option(help="Go on behind the page that ended with this mark.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=200, help="Show so many.")] = 50,
    as_json: Json = False,
) -> None:
    """List studies of which objects came, the newest first, with what each destination has of them."""
    with exit_on_error():
        clock = wall_clock(config)
        body: dict[str, Any] = {"patient": patient, "accession": accession, "study": study, "modality": modality}
        body |= {"device": device, "node": node, "after": after} | _day(day, settings_of(config))
        found = ask(config, "POST", "/studies/find", body | {"incomplete": incomplete, "limit": limit})
    if as_json:
        say_json(found)
        return
    head = ("number", "since", "patient", "accession", "modality", "objects", "destinations")
    rows = [
        (
            str(one["id"]),
            clock(one["first_at"])[:16],
            *(", ".join(one[name]) for name in ("patients", "accessions", "modalities")),
            f"{one['objects']}{'+' if one['capped'] else ''}",
            "; ".join(f"{each['node']}: {_counts(each)}" for each in one["destinations"]) or _by_state(one),
        )
        for one in found["studies"]
    ]
    if rows or not found["after"]:
        show_table(head, rows, whole=("number", "since", "objects"))  # fits 80 characters
    if found["after"]:
        say(f"older ones: --after {found['after']}")


@app.command()
def show(study: Uid, config: Config = None, as_json: Json = False) -> None:
    """Show a study: its series, what each destination has and why, and the rules that its objects met."""
    with exit_on_error():
        clock = wall_clock(config)
        one = ask(config, "GET", f"/studies/{_named(study)}")
    if as_json:
        say_json(one)
        return
    say(f"study {one['study']} (number {one['id']}), {'complete' if one['complete'] else 'not complete'}")
    for name in ("patients", "accessions", "modalities", "devices"):
        say(f"{name}: {', '.join(one[name]) or 'none'}")
    versions = f" in {counted(one['versions'], 'version')}" if one["versions"] != one["objects"] else ""
    came = f"{clock(one['first_at'])} to {clock(one['last_at'])}"
    say(f"{counted(one['objects'], 'object')}{versions}, {came}: {_by_state(one)}")
    for series in one["series"]:
        say(f"  series {series['series']}: {counted(series['objects'], 'object')} since {clock(series['first_at'])}")
    for each in one["destinations"]:
        note = "" if each["known"] else " (no destination any more)"
        proven = f", {each['committed']} committed" if each["committed"] else ""
        say(f"{each['node']}: {_counts(each)}{proven}{' (paused)' if each['paused'] else note}")
        for cause in each["causes"]:
            say(f"  {cause['objects']} {cause['state']}: {cause['why']} ({cause['cause']})")
    show_decisions(one, clock)


@app.command()
def resend(
    study: Uid,
    to: To,
    reason: Reason,
    config: Config = None,
    undecided: Annotated[
        bool,
        typer.Option("--undecided", help="Also objects that are held, wait for their study, or were discarded."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Send all objects of a study to a destination, also those that it has, and those held or given up for it."""
    body: dict[str, Any] = {"to": to, "reason": reason, "undecided": undecided}
    _act(config, study, "resend", body, as_json)


@app.command()
def reroute(
    study: Uid,
    to: To,
    reason: Reason,
    config: Config = None,
    node: Annotated[str, typer.Option(help="Only what waits or is held for this node.")] = "",
    as_json: Json = False,
) -> None:
    """Send what waits or is held of a study to another destination, but for what that has already."""
    _act(config, study, "reroute", {"to": to, "node": node, "reason": reason}, as_json)


def _act(config: Path | None, study: str, what: str, body: dict[str, Any], as_json: bool) -> None:
    """Act on a study, in rounds."""
    endings: Counter[str] = Counter()
    with exit_on_error():
        path = f"/studies/{_named(study)}/{what}"
        done = ask(config, "POST", path, body)
        endings.update(done["endings"])
        while done["after"]:
            done = ask(config, "POST", path, body | {"after": done["after"]})
            endings.update(done["endings"])
        if not endings:
            raise CommandRefused("nothing of this study waits or is held")
    if as_json:
        say_json({"endings": endings, "paused": done["paused"]})
        return
    say(f"objects: {endings_text(endings, RESENT if what == 'resend' else REROUTED)}")
    if done["paused"]:
        say(f"{body['to']} is paused: what is for it waits until `broker queue resume`")


def _named(study: str) -> str:
    return quote(study.strip(), safe="")


def _counts(one: dict[str, Any]) -> str:
    return ", ".join(f"{one['states'][state]} {state}" for state in _STATES if one["states"].get(state))


def _by_state(one: dict[str, Any]) -> str:
    return ", ".join(f"{number} {state}" for state, number in sorted(one["states"].items())) or "none"


def _day(day: str, settings: Settings) -> dict[str, float]:
    """When a day begins and ends on the site's clock. Raises ConfigurationError."""
    if not day:
        return {}
    try:
        start = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=settings.zone())
        return {"since": start.timestamp(), "until": (start + timedelta(days=1)).timestamp()}
    except (ValueError, OverflowError):
        raise ConfigurationError(f"{day}: not a day like 2026-12-31") from None
