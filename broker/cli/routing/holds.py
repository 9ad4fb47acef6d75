"""`broker holds`: jobs and objects that wait for a person, and what can be done with them. Asks the running broker.

A job has a plain number, an object one that begins with `o`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from broker.cli.asking.running import ask
from broker.cli.common import CommandRefused, Config, exit_on_error, wall_clock
from broker.cli.output import say, say_json, show_table

app = typer.Typer(no_args_is_help=True, help="List what waits for a person; route, send, release or discard it.")
Numbers = Annotated[
    list[str] | None, typer.Argument(help="Numbers, as `broker holds list` shows them.", show_default=False)
]
Reason = Annotated[str, typer.Option(help="Say why; the audit trail keeps it.")]
Every = Annotated[bool, typer.Option("--all", help="All objects that match the filters.")]
Cause = Annotated[str, typer.Option(help="Only what waits for this cause, such as no-rule-matched.")]
Study = Annotated[str, typer.Option(help="Only objects of this Study Instance UID.")]
Device = Annotated[str, typer.Option(help="Only objects of this calling AE title.")]
Older = Annotated[float | None, typer.Option(min=0, help="Only objects that wait for so many hours.")]
Discarded = Annotated[bool, typer.Option("--discarded", help="Objects that were discarded instead.")]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
MOST = 10_000


@app.command("list")
def list_(
    config: Config = None,
    cause: Cause = "",
    node: Annotated[str, typer.Option(help="Only jobs for this node.")] = "",
    study: Study = "",
    device: Device = "",
    older: Older = None,
    discarded: Discarded = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Show so many of each.")] = 100,
    as_json: Json = False,
) -> None:
    """List objects and jobs that wait for a person, the oldest first."""
    with exit_on_error():
        clock = wall_clock(config)
        query = _filters(cause, study, device, older, discarded) | {"limit": limit}
        objects = [] if node else ask(config, "GET", f"/holds/objects?{urlencode(query)}")
        jobs = [] if study or device or discarded or older else ask(config, "GET", "/holds?limit=1000")
    kept = [job for job in jobs if node in ("", job["lane"].partition(":")[2]) and cause in ("", job["error"])][:limit]
    if as_json:
        say_json({"objects": objects, "jobs": kept})
        return
    rows = [
        (f"o{one['id']}", clock(one["received_at"]), one["cause"], one["device"], one["modality"], one["study"])
        for one in objects
    ]
    rows += [(str(job["id"]), clock(job["created_at"]), job["error"], job["lane"], "", "") for job in kept]
    show_table(("number", "since", "cause", "from or for", "modality", "study"), rows, whole=("number", "since"))


@app.command()
def show(numbers: Numbers, config: Config = None, as_json: Json = False) -> None:
    """Show objects: what the rules saw and decided, and what those of today would do."""
    from broker.cli.routing.trying import show_trace

    with exit_on_error():
        found = [ask(config, "GET", f"/holds/objects/{row}") for row in _objects(numbers)]
    if as_json:
        say_json(found)
        return
    for one in found:
        say(f"o{one['id']}: {one['state']}, {one['cause']}, from {one['device']}, study {one['study']}")
        say(f"  the rules of version {one['rules_version']} saw:")
        show_trace(one["trace"])
        where = f" to {', '.join(one['today_to'])}" if one["today_to"] else ""
        say(f"  the rules of today would: {one['today']}{where}")
        show_trace(one["today_trace"])


@app.command()
def route(
    reason: Reason,
    numbers: Numbers = None,
    every: Every = False,
    config: Config = None,
    cause: Cause = "",
    study: Study = "",
    device: Device = "",
    older: Older = None,
    discarded: Discarded = False,
) -> None:
    """Let objects go the way of the rules in force."""
    with exit_on_error():
        body = _body(config, numbers, every, _filters(cause, study, device, older, discarded), reason)
        _say(ask(config, "POST", "/holds/objects/route", body))


@app.command()
def send(
    to: Annotated[list[str], typer.Option(help="Name of a node; may be given several times.")],
    reason: Reason,
    numbers: Numbers = None,
    every: Every = False,
    config: Config = None,
    cause: Cause = "",
    study: Study = "",
    device: Device = "",
    older: Older = None,
    discarded: Discarded = False,
) -> None:
    """Send objects to chosen nodes, whatever the rules say."""
    with exit_on_error():
        body = _body(config, numbers, every, _filters(cause, study, device, older, discarded), reason)
        _say(ask(config, "POST", "/holds/objects/send", body | {"to": to}))


@app.command()
def release(numbers: Numbers, config: Config = None) -> None:
    """Try held jobs again, as if for the first time."""
    with exit_on_error():
        for job in _jobs(numbers):
            ask(config, "POST", f"/holds/{job}/release")
            say(f"job {job}: released")


@app.command()
def discard(
    reason: Reason,
    numbers: Numbers = None,
    every: Every = False,
    config: Config = None,
    cause: Cause = "",
    study: Study = "",
    device: Device = "",
    older: Older = None,
) -> None:
    """Give up jobs and objects. That of an object can be undone as long as it is kept."""
    with exit_on_error():
        jobs = [number for number in numbers or [] if number.isdecimal()]
        for job in jobs:
            ask(config, "POST", f"/holds/{job}/discard", {"reason": reason})
            say(f"job {job}: discarded")
        objects = [number for number in numbers or [] if number not in jobs]
        if objects or every:
            body = _body(config, objects, every, _filters(cause, study, device, older, False), reason)
            _say(ask(config, "POST", "/holds/objects/discard", body))


@app.command()
def undo(
    reason: Reason,
    numbers: Numbers = None,
    every: Every = False,
    config: Config = None,
    cause: Cause = "",
    study: Study = "",
    device: Device = "",
    older: Older = None,
) -> None:
    """Take discards of objects back: they wait for a person again."""
    with exit_on_error():
        body = _body(config, numbers, every, _filters(cause, study, device, older, True), reason)
        _say(ask(config, "POST", "/holds/objects/undo", body))


def _filters(cause: str, study: str, device: str, older: float | None, discarded: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"cause": cause, "study": study, "device": device}
    found = {name: value for name, value in found.items() if value}
    if older is not None:
        found["older"] = round(time.time() - older * 3600, 3)
    if cause.startswith("waits-for-"):  # for a series or study, not for a person
        return found | {"state": "waiting"}
    return found | ({"state": "discarded"} if discarded else {})


def _body(
    config: Path | None, numbers: list[str] | None, every: bool, filters: dict[str, Any], reason: str
) -> dict[str, Any]:
    """The objects that are meant. Raises CommandRefused."""
    if every == bool(numbers):
        raise CommandRefused("say which objects: their numbers, or --all with filters")
    if numbers:
        return {"rows": list(_objects(numbers)), "reason": reason}
    expected = _count(config, filters)
    if not expected:
        raise CommandRefused("no object matches")
    return {"matching": filters, "expected": expected, "reason": reason}


def _count(config: Path | None, filters: dict[str, Any]) -> int:
    """How many objects match. Raises CommandRefused for more than one decision may be about."""
    after, count = "", 0
    while count <= MOST:
        page = ask(config, "GET", f"/holds/objects?{urlencode(filters | {'limit': 1000, 'after': after})}")
        count += len(page)
        if len(page) < 1000:
            return count
        after = f"{page[-1]['received_at']!r},{page[-1]['id']}"
    raise CommandRefused(f"more than {MOST} objects match: add a filter")


def _objects(numbers: list[str] | None) -> Iterator[int]:
    """Rows of objects. Raises CommandRefused for a number that is no object's."""
    for number in numbers or []:
        if not number.startswith("o") or not number[1:].isdecimal():
            raise CommandRefused(f"{number}: no object; their numbers begin with o")
        yield int(number[1:])


def _jobs(numbers: list[str] | None) -> Iterator[int]:
    """Rows of jobs. Raises CommandRefused for a number that is no job's."""
    for number in numbers or []:
        if not number.isdecimal():
            raise CommandRefused(f"{number}: no job; objects are routed or sent, not released")
        yield int(number)


def _say(done: dict[str, int]) -> None:
    words = {"routed": "routed", "held": "wait still", "discarded": "discarded", "gone": "have lost their bytes"}
    words["waiting"] = "go with their studies"
    parts = [f"{count} {words.get(name, 'were changed by others')}" for name, count in done.items() if count]
    say(f"objects: {', '.join(parts) or 'none'}")
