"""`broker holds`: jobs and objects that wait for a person, and what can be done with them. Asks the running broker.

A job has a plain number, an object one that begins with `o`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from broker.cli.asking.running import ask
from broker.cli.common import CommandRefused, Config, exit_on_error, wall_clock
from broker.cli.output import say, say_json
from broker.cli.routing.endings import HELD, endings_text
from broker.cli.views.holds_view import show_discarded, show_gathering, show_waiting

app = typer.Typer(no_args_is_help=True, help="List what waits for a person; route, send, release or discard it.")
Numbers = Annotated[
    list[str] | None, typer.Argument(help="Numbers, as `broker holds list` shows them.", show_default=False)
]
Reason = Annotated[str, typer.Option(help="Say why; the audit trail keeps it.")]
Every = Annotated[bool, typer.Option("--all", help="All objects that match the filters.")]
EveryJob = Annotated[bool, typer.Option("--all", help="All jobs that match the filters.")]
Cause = Annotated[str, typer.Option(help="Only what waits for this cause, such as no-rule-matched.")]
Node = Annotated[str, typer.Option(help="Only objects that this node sent, and jobs that are for it.")]
Study = Annotated[str, typer.Option(help="Only what is of this Study Instance UID.")]
Accession = Annotated[str, typer.Option(help="Only what is of the order with this accession number.")]
Device = Annotated[str, typer.Option(help="Only what came from this calling AE title.")]
Older = Annotated[float | None, typer.Option(min=0, help="Only what waits for so many hours.")]
Discarded = Annotated[bool, typer.Option("--discarded", help="Objects that were discarded instead.")]
Anyway = Annotated[bool, typer.Option("--anyway", help="Also an older version of an object over a newer one.")]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
MOST = 10_000


@app.command("list")
def list_(
    config: Config = None,
    cause: Cause = "",
    node: Node = "",
    study: Study = "",
    accession: Accession = "",
    device: Device = "",
    older: Older = None,
    discarded: Discarded = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Show so many.")] = 100,
    as_json: Json = False,
) -> None:
    """List everything that waits for a person, the oldest first; or the objects that were discarded."""
    with exit_on_error():
        clock = wall_clock(config)
        query = _filters(cause, node, study, accession, device, older, discarded) | {"limit": limit}
        found = ask(config, "GET", f"/holds/{'objects' if 'state' in query else 'all'}?{urlencode(query)}")
    if as_json:
        say_json(found)
    elif discarded:
        show_discarded(found, clock)
    elif "state" in query:
        show_gathering(found, clock)
    else:
        show_waiting(found, clock)


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
    node: Node = "",
    study: Study = "",
    accession: Accession = "",
    device: Device = "",
    older: Older = None,
    discarded: Discarded = False,
    as_json: Json = False,
) -> None:
    """Let objects go the way of the rules in force."""
    with exit_on_error():
        body = _body(config, numbers, every, _filters(cause, node, study, accession, device, older, discarded), reason)
        _say(ask(config, "POST", "/holds/objects/route", body), as_json)


@app.command()
def send(
    to: Annotated[list[str], typer.Option(help="Name of a node; may be given several times.")],
    reason: Reason,
    numbers: Numbers = None,
    every: Every = False,
    config: Config = None,
    cause: Cause = "",
    node: Node = "",
    study: Study = "",
    accession: Accession = "",
    device: Device = "",
    older: Older = None,
    discarded: Discarded = False,
    as_json: Json = False,
) -> None:
    """Send objects to chosen nodes, whatever the rules say."""
    with exit_on_error():
        body = _body(config, numbers, every, _filters(cause, node, study, accession, device, older, discarded), reason)
        _say(ask(config, "POST", "/holds/objects/send", body | {"to": to}), as_json)


@app.command()
def release(
    numbers: Numbers = None,
    every: EveryJob = False,
    config: Config = None,
    cause: Cause = "",
    node: Node = "",
    study: Study = "",
    accession: Accession = "",
    device: Device = "",
    older: Older = None,
    anyway: Anyway = False,
    as_json: Json = False,
) -> None:
    """Try held jobs again, as if for the first time."""
    with exit_on_error():
        if every == bool(numbers):
            raise CommandRefused("say which jobs: their numbers, or --all with filters")
        for job in _jobs(numbers):
            ask(config, "POST", f"/holds/{job}/release", {"anyway": anyway})
            if not as_json:
                say(f"job {job}: released")
        number = len(set(numbers or ()))
        if every:
            body = _every_job(config, _filters(cause, node, study, accession, device, older, False))
            number = ask(config, "POST", "/holds/release", body | {"anyway": anyway})["jobs"]
    if as_json:
        say_json({"released": number})
    elif every:
        say(f"jobs: {number} released")


@app.command()
def discard(
    reason: Reason,
    numbers: Numbers = None,
    every: Annotated[bool, typer.Option("--all", help="All objects and jobs that match the filters.")] = False,
    config: Config = None,
    cause: Cause = "",
    node: Node = "",
    study: Study = "",
    accession: Accession = "",
    device: Device = "",
    older: Older = None,
    as_json: Json = False,
) -> None:
    """Give up jobs and objects. That of an object can be undone as long as it is kept."""
    with exit_on_error():
        if every == bool(numbers):
            raise CommandRefused("say what: numbers, or --all with filters")
        if every:
            filters = _filters(cause, node, study, accession, device, older, False)
            objects, jobs = _discard_all(config, filters, reason)
        else:
            objects, jobs = _discard_each(config, numbers or [], reason, say_each=not as_json)
    if as_json:
        say_json({"objects": objects, "jobs": jobs})
        return
    if objects:
        _say(objects)
    if jobs and every:
        say(f"jobs: {jobs} discarded")


def _discard_each(
    config: Path | None, numbers: Sequence[str], reason: str, *, say_each: bool
) -> tuple[dict[str, int], int]:
    """Give up jobs and objects by their numbers; what became of the objects, and how many jobs."""
    jobs = [number for number in numbers if number.isdecimal()]
    body = {"rows": list(_objects([number for number in numbers if number not in jobs])), "reason": reason}
    for job in jobs:
        ask(config, "POST", f"/holds/{job}/discard", {"reason": reason})
        if say_each:
            say(f"job {job}: discarded")
    return ask(config, "POST", "/holds/objects/discard", body) if body["rows"] else {}, len(jobs)


def _discard_all(config: Path | None, filters: dict[str, Any], reason: str) -> tuple[dict[str, int], int]:
    """Give up all objects and jobs that match, as `_discard_each` says. Raises CommandRefused for none."""
    objects, jobs = (_count(config, filters, what) for what in ("objects", "jobs"))
    if not objects and not jobs:
        raise CommandRefused("nothing matches")
    body = {"matching": filters, "reason": reason}
    done = ask(config, "POST", "/holds/objects/discard", body | {"expected": objects}) if objects else {}
    return done, ask(config, "POST", "/holds/discard", body | {"expected": jobs})["jobs"] if jobs else 0


@app.command()
def undo(
    reason: Reason,
    numbers: Numbers = None,
    every: Every = False,
    config: Config = None,
    cause: Cause = "",
    node: Node = "",
    study: Study = "",
    accession: Accession = "",
    device: Device = "",
    older: Older = None,
    as_json: Json = False,
) -> None:
    """Take discards of objects back: they wait for a person again."""
    with exit_on_error():
        body = _body(config, numbers, every, _filters(cause, node, study, accession, device, older, True), reason)
        _say(ask(config, "POST", "/holds/objects/undo", body), as_json)


@app.command()
def purge(
    reason: Reason,
    numbers: Numbers = None,
    every: Every = False,
    config: Config = None,
    cause: Cause = "",
    node: Node = "",
    study: Study = "",
    accession: Accession = "",
    device: Device = "",
    older: Older = None,
    as_json: Json = False,
) -> None:
    """Delete the bytes of discarded objects now, before their time. It cannot be undone."""
    with exit_on_error():
        body = _body(config, numbers, every, _filters(cause, node, study, accession, device, older, True), reason)
        _say(ask(config, "POST", "/holds/objects/purge", body), as_json)


def filters_of(cause: str, node: str, study: str, accession: str, device: str, older: float | None) -> dict[str, Any]:
    """The filters that are set, as REST takes them; `older`: hours."""
    found: dict[str, Any] = {"cause": cause, "node": node, "study": study, "accession": accession, "device": device}
    found = {name: value for name, value in found.items() if value}
    if older is not None:
        found["older"] = round(time.time() - older * 3600, 3)
    return found


def _filters(
    cause: str, node: str, study: str, accession: str, device: str, older: float | None, discarded: bool
) -> dict[str, Any]:
    found = filters_of(cause, node, study, accession, device, older)
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
    expected = _count(config, filters, "objects")
    if not expected:
        raise CommandRefused("no object matches")
    return {"matching": filters, "expected": expected, "reason": reason}


def _every_job(config: Path | None, filters: dict[str, Any]) -> dict[str, Any]:
    """All held jobs that match. Raises CommandRefused for none."""
    expected = _count(config, filters, "jobs")
    if not expected:
        raise CommandRefused("no job matches")
    return {"matching": filters, "expected": expected}


def _count(config: Path | None, filters: dict[str, Any], what: str) -> int:
    """How many objects or jobs match. Raises CommandRefused for more than one decision may be about."""
    if what == "jobs" and "state" in filters:
        return 0  # what waits for its study is an object
    after, count = "", 0
    discarded = "state" in filters
    query = filters | ({} if discarded else {"what": what}) | {"limit": 1000}
    while count <= MOST:
        page = ask(config, "GET", f"/holds/{'objects' if discarded else 'all'}?{urlencode(query | {'after': after})}")
        count += len(page)
        if len(page) < 1000:
            return count
        last = page[-1]
        after = f"{last['received_at']!r},{last['id']}" if discarded else last["place"]
    raise CommandRefused(f"more than {MOST} {what} match: add a filter")


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


def _say(done: dict[str, int], as_json: bool = False) -> None:
    if as_json:
        say_json({"objects": done})
    else:
        say(f"objects: {endings_text(done, HELD) or 'none'}")
