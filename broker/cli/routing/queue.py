"""`broker queue`: what waits, by destination and age; retries, moves, gives up, pauses. Asks the running broker.

The older commands about held jobs are `held` and `release`; `discard JOB` gives up a held job or one that waits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from broker.cli.asking.running import ask
from broker.cli.common import CommandRefused, Config, exit_on_error, wall_clock
from broker.cli.output import counted, say, say_json, show_table
from broker.cli.routing.endings import JOBS, endings_text
from broker.cli.routing.holds import (
    Accession,
    Anyway,
    Cause,
    Device,
    EveryJob,
    Json,
    Older,
    Reason,
    Study,
    filters_of,
)

app = typer.Typer(
    invoke_without_command=True,
    help="List what waits to be sent; try it now, send it elsewhere, pause a node. Without a command: summary.",
)
Job = Annotated[int, typer.Argument(help="Number of a job, as `broker queue held` shows it.")]
Jobs = Annotated[
    list[int] | None, typer.Argument(help="Numbers of jobs, as `broker queue list` shows them.", show_default=False)
]
Node = Annotated[str, typer.Option(help="Only jobs that are for this node.")]
NodeName = Annotated[str, typer.Argument(help="Name of a node.")]
Held = Annotated[bool, typer.Option("--held", help="Jobs that wait for a person instead.")]
Why = Annotated[str, typer.Option(help="Say why; the audit trail keeps it.")]
_AGES = ("5 min", "30 min", "2 h", "8 h", "1 day", "older")
_CAP = 10_000


@app.callback()
def bare(context: typer.Context, config: Config = None, as_json: Json = False) -> None:
    """Show the summary, unless a command follows: that takes the options from here."""
    if context.invoked_subcommand is None:
        summary(config, as_json)
    given = {name: value for name, value in (("config", config), ("as_json", as_json)) if value}
    context.default_map = {context.invoked_subcommand or "": given}


@app.command()
def summary(config: Config = None, as_json: Json = False) -> None:
    """Show what waits by destination and age, and how each lane is."""
    with exit_on_error():
        clock = wall_clock(config)
        lanes = ask(config, "GET", "/deliveries/summary")
    if as_json:
        say_json(lanes)
        return
    if not lanes:
        say("nothing waits")
        return
    head = ("lane", "waits", *_AGES, "ready", "retry", "sending", "held", "state")
    rows = [
        (
            one["lane"],
            *(_number(value) for value in (one["waiting"], *one["ages"])),
            *(_number(one[name]) for name in ("ready", "put_off", "sending", "held")),
            one["state"],
        )
        for one in lanes
    ]
    show_table(head, rows, whole=head)
    for one in lanes:
        if one["why"]:
            say(f"{one['lane']}: {one['state']} {one['why']}. {one['advice']}")
        if one["oldest"] is not None and one["failures"]:
            say(f"{one['lane']}: the oldest waits since {clock(one['oldest'])}")


@app.command("list")
def list_(
    config: Config = None,
    cause: Cause = "",
    node: Node = "",
    study: Study = "",
    accession: Accession = "",
    device: Device = "",
    older: Older = None,
    waits_held: Held = False,
    after: Annotated[int, typer.Option(min=0, help="Only those behind this job.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Show so many.")] = 100,
    as_json: Json = False,
) -> None:
    """List jobs that wait to be sent, by lane and the oldest first."""
    with exit_on_error():
        clock = wall_clock(config)
        query = filters_of(cause, node, study, accession, device, older) | {"limit": limit, "after": after}
        found = ask(config, "GET", f"/deliveries?{urlencode(query | {'state': _state(waits_held)})}")
    if as_json:
        say_json(found)
        return
    last = ("why", "device", "accession", "study")
    rows = [
        (str(one["id"]), clock(one["since"]), one["lane"], str(one["tries"]), clock(one["due_at"]), *map(one.get, last))
        for one in found
    ]
    head = ("job", "since", "lane", "tries", "next try", "cause", "from", "accession", "study")
    show_table(head, rows, whole=("job", "since", "next try"))


@app.command()
def retry(
    jobs: Jobs = None,
    every: EveryJob = False,
    config: Config = None,
    reason: Why = "",
    cause: Cause = "",
    node: Node = "",
    study: Study = "",
    accession: Accession = "",
    device: Device = "",
    older: Older = None,
    as_json: Json = False,
) -> None:
    """Try jobs at once that wait for a retry, and their lanes. What is not sent all the same is told, and why."""
    notes = list[str]()
    with exit_on_error():
        filters = filters_of(cause, node, study, accession, device, older)
        done = _decide(config, "retry", jobs, every, filters, {"reason": reason}, notes)
    if as_json:
        say_json(done | {"notes": notes})
        return
    _say(done, as_json)
    for note in notes:
        say(f"not sent now: {note}")


@app.command()
def discard(
    reason: Reason,
    jobs: Jobs = None,
    every: EveryJob = False,
    config: Config = None,
    cause: Cause = "",
    node: Node = "",
    study: Study = "",
    accession: Accession = "",
    device: Device = "",
    older: Older = None,
    waits_held: Held = False,
    as_json: Json = False,
) -> None:
    """Give up jobs that wait or are held, so that what is behind them goes on."""
    with exit_on_error():
        filters = filters_of(cause, node, study, accession, device, older)
        body = {"reason": reason, "state": _state(waits_held)}
        done = _decide(config, "discard", jobs, every, filters, body)
        given_up, asked = done.get("discarded", 0), len(set(jobs or ()))
        if given_up < asked:
            raise CommandRefused(
                f"{given_up} of {counted(asked, 'job')} discarded: what is left does not wait and is not held"
            )
    _say(done, as_json, jobs)


@app.command()
def reroute(
    to: Annotated[str, typer.Option(help="Name of the node that gets the objects instead.")],
    reason: Reason,
    jobs: Jobs = None,
    every: EveryJob = False,
    config: Config = None,
    cause: Cause = "",
    node: Node = "",
    study: Study = "",
    accession: Accession = "",
    device: Device = "",
    older: Older = None,
    waits_held: Held = False,
    as_json: Json = False,
) -> None:
    """Send what waits for a destination to another one. What that has already is not sent again."""
    with exit_on_error():
        filters = filters_of(cause, node, study, accession, device, older)
        body = {"reason": reason, "to": to, "state": _state(waits_held)}
        done = _decide(config, "reroute", jobs, every, filters, body)
    _say(done, as_json)


@app.command()
def pause(name: NodeName, reason: Reason, config: Config = None, as_json: Json = False) -> None:
    """Send nothing more to a node until it is resumed: what is for it waits. What is being sent just now ends."""
    _steer(config, name, "pause", reason, as_json, "paused: what is for it waits until `broker queue resume`")


@app.command()
def resume(name: NodeName, reason: Reason, config: Config = None, as_json: Json = False) -> None:
    """Send again what is for a node that was paused."""
    _steer(config, name, "resume", reason, as_json, "resumed")


@app.command()
def drain(name: NodeName, reason: Reason, config: Config = None, as_json: Json = False) -> None:
    """Send what is there for a node now, then pause it. What comes later waits."""
    _steer(config, name, "drain", reason, as_json, "drains: it is paused once what is there now is sent")


@app.command()
def held(
    config: Config = None,
    lane: Annotated[str, typer.Option(help="Show only the jobs of this lane, such as feedback:ris.")] = "",
    as_json: Json = False,
) -> None:
    """List held jobs, oldest first."""
    with exit_on_error():
        clock = wall_clock(config)
        jobs = ask(config, "GET", f"/holds?limit=1000&lane={quote(lane)}")
    if as_json:
        say_json(jobs)
        return
    rows = [(str(job["id"]), clock(job["created_at"]), job["lane"], str(job["failures"]), job["error"]) for job in jobs]
    show_table(("job", "since", "lane", "failures", "error"), rows)


@app.command()
def release(job: Job, config: Config = None, anyway: Anyway = False, as_json: Json = False) -> None:
    """Try a held job again, as if for the first time."""
    with exit_on_error():
        ask(config, "POST", f"/holds/{job}/release", {"anyway": anyway})
    if as_json:
        say_json({"released": 1})
    else:
        say(f"job {job}: released")


def _steer(config: Path | None, name: str, what: str, reason: str, as_json: bool, done: str) -> None:
    with exit_on_error():
        ask(config, "POST", f"/deliveries/nodes/{quote(name, safe='')}/{what}", {"reason": reason})
    if as_json:
        say_json({"node": name, "done": what})
    else:
        say(f"{name}: {done}")


def _decide(
    config: Path | None,
    what: str,
    jobs: Sequence[int] | None,
    every: bool,
    filters: dict[str, Any],
    more: dict[str, Any],
    notes: list[str] | None = None,
) -> dict[str, Any]:
    """Act on jobs, on all that match in rounds; how many ended how. Raises CommandRefused for none.

    `notes` gets why some wait on, each once.
    """
    if every == bool(jobs):
        raise CommandRefused("say which jobs: their numbers, or --all with filters")
    if jobs:
        found = ask(config, "POST", f"/deliveries/{what}", more | {"rows": list(jobs), "state": "waiting"})
        _take(found, notes)
        return dict(found["endings"])
    endings: Counter[str] = Counter()
    after = 0
    while True:
        found = ask(config, "POST", f"/deliveries/{what}", more | {"matching": filters, "after": after})
        endings.update(found["endings"])
        _take(found, notes)
        after = found["after"]
        if not after:
            break
    if not endings:
        raise CommandRefused("no job matches")
    return dict(endings)


def _take(found: dict[str, Any], notes: list[str] | None) -> None:
    """Keep the notes of an answer that are new."""
    if notes is not None:
        notes.extend(note for note in found["notes"] if note not in notes)


def _say(endings: dict[str, int], as_json: bool, jobs: Sequence[int] | None = None) -> None:
    if as_json:
        say_json(endings)
    elif jobs:
        for job in dict.fromkeys(jobs):
            say(f"job {job}: discarded")
    else:
        say(f"jobs: {endings_text(endings, JOBS) or 'none waits'}")


def _state(waits_held: bool) -> str:
    return "held" if waits_held else "waiting"


def _number(value: int) -> str:
    return f"{_CAP}+" if value > _CAP else str(value)
