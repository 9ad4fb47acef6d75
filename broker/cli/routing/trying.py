"""`broker rules test`, `explain` and `replay`: what rules do with a file, did with a study, would do with past days."""

from __future__ import annotations

import mmap
import re
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from broker.cli.asking import running
from broker.cli.common import CommandRefused, Config, exit_on_error, settings_of, wall_clock
from broker.cli.output import counted, say, say_json
from broker.cli.routing.drafts import document_of
from broker.errors import BadContent

Files = Annotated[list[Path], typer.Argument(help="DICOM files (PS3.10).")]
Facts = Annotated[
    list[str] | None,
    typer.Option("--fact", help="What a file has not, such as assoc.calling_ae=CT1; may be given several times."),
]
Draft = Annotated[Path | None, typer.Option("--rules", help="A site.toml with other rules than those in force.")]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


_OF_LEVELS = ("study.", "series.")


def add_trying(app: typer.Typer) -> None:
    """Add the commands that say what rules do."""
    app.command("test")(try_files)
    app.command()(explain)
    app.command()(replay)


def try_files(
    files: Files, config: Config = None, fact: Facts = None, rules: Draft = None, as_json: Json = False
) -> None:
    """Say what rules do with the object of each file, and what each of their tests saw. Changes nothing."""
    from broker.routing.site import read_tables

    told: list[dict[str, Any]] = []
    with exit_on_error():
        given = given_facts(fact or [])
        draft = read_tables(rules)["rules"] if rules is not None else None
        document = draft if draft is not None else running.ask(config, "GET", "/rules")["document"]
        others: dict[str, Any] = {"rule": []} | draft if draft is not None else {}
        now = datetime.now(settings_of(config).zone()).replace(tzinfo=None)
        studies: dict[str, list[int]] = {}
        for file in files:
            facts = {"time.local": now.isoformat(timespec="seconds")} | _read(file, document) | given
            told.append(
                {"file": str(file)} | running.ask(config, "POST", "/rules/test", {"facts": _own(facts)} | others)
            )
            told[-1]["facts"] = facts
            study = "".join(map(str, facts.get("tag.StudyInstanceUID", [])))
            studies.setdefault(study, []).append(len(told) - 1)
        for study, places in studies.items():
            if study and any(told[place]["waits"] for place in places):
                body = {"objects": [_own(told[place]["facts"]) for place in places], "study": _of_study(given)}
                whole = running.ask(config, "POST", "/rules/test/study", body | others)
                for place, one in zip(places, whole["objects"], strict=True):
                    told[place]["complete"] = one
                told[places[-1]]["levels"] = whole["levels"]
    for one in told:
        del one["facts"]
    if as_json:
        say_json(told)
        return
    for one in told:
        say(f"{one['file']}: {_decided(one)}")
        show_trace(one["trace"])
        if "complete" in one:
            say(f"  once its study is complete: {_decided(one['complete'])}")
        for level in one.get("levels", ()):
            what = level["reason"] or ", ".join(level["rules"]) or "no rule matches"
            say(f"  {level['level']} {level['series']}".rstrip() + f": {what}")
            show_trace(level["trace"])


def _decided(one: dict[str, Any]) -> str:
    where = ", ".join(_delivery(delivery) for delivery in one["deliveries"])
    told = ", ".join(f"{notice['node']} ({notice['rule']})" for notice in one["notices"])
    return f"{one['action']} {where or one['reason']}".rstrip() + (f"; notify {told}" if told else "")


def _own(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts of an object."""
    return {name: value for name, value in facts.items() if not name.startswith(_OF_LEVELS)}


def _of_study(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts of its series and study among those that were given."""
    return {name: value for name, value in facts.items() if name.startswith(_OF_LEVELS)}


def explain(
    study: Annotated[str, typer.Argument(help="Study Instance UID, or accession number of the order.")],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Say which rules the objects of a study met, what each test saw, and where they were sent."""
    with exit_on_error():
        clock = wall_clock(config)
        kind = "study" if re.fullmatch(r"[0-9]+(\.[0-9]+)+", study) else "accession"
        told = running.ask(config, "POST", "/rules/explain", {kind: study})
    if as_json:
        say_json(told)
        return
    show_decisions(told, clock)
    for one in told["deliveries"]:
        say(f"{one['node']}: {one['objects']} {one['state']}")


def show_decisions(told: dict[str, Any], clock: Callable[[float], str]) -> None:
    """Which rules the objects of a study met with what result, and who was told of it."""
    for one in told["decisions"]:
        why = f", {one['reason']}" if one["reason"] else ""
        say(
            f"{counted(one['objects'], 'object')} from {one['device']}, "
            f"{clock(one['first_at'])} to {clock(one['last_at'])}: "
            f"{one['state']}{why}, by the rules of version {one['rules_version']}"
        )
        show_trace(one["trace"])
    for one in told["levels"]:
        _show_level(one, clock)
    for one in told["notices"]:
        why = f" ({one['error']})" if one["error"] else ""
        say(f"{one['node']}: notice of rule {one['rule']}, {clock(one['at'])}: {one['state'] or 'done'}{why}")


def _show_level(one: dict[str, Any], clock: Callable[[float], str]) -> None:
    """A series or study that waits or was judged."""
    place = f"{one['level']} {one['series']}".rstrip()
    came = f"{counted(one['objects'], 'object')}, {clock(one['first_at'])} to {clock(one['last_at'])}"
    if one["state"] == "open":
        say(f"{place}: {came}: waits ({one['waits']}), looked at {clock(one['due_at'])}")
    if one["complete"]:
        why = f"complete ({one['complete']}), judged by the rules of version {one['rules_version']}"
        say(f"{place}: {came}: {why}" if one["state"] != "open" else f"  before: {why}")
        show_trace(one["trace"])


def replay(
    file: Annotated[str, typer.Argument(help="A site.toml with the rules of a draft, or draft:NUMBER.")],
    since: Annotated[float, typer.Option(min=0.01, max=400, help="Days to look back.")] = 7,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Say with which objects of the last days a draft would do something else than the rules in force."""
    from broker.routing.site import read_tables

    with exit_on_error():
        rules = document_of(config, file) if file.startswith("draft:") else read_tables(Path(file))["rules"]
        body = {"rule": []} | rules | {"since": max(0.0, time.time() - since * 86_400)}
        told = running.ask(config, "POST", "/rules/replay", body)
    if as_json:
        say_json(told)
        return
    for one in told["differences"]:
        before, after = (_outcome(one[side]) for side in ("before", "after"))
        what = f"study {one['study']}, {counted(one['objects'], 'object')} from {one['device']}"
        say(f"{what}: was {before}, would be {after}")
    if told["more"]:
        say(f"and {counted(told['more'], 'further difference')}")
    objects = counted(told["objects"], "object")
    say(f"{objects}: {told['same']} would go as before, of {told['untold']} too little is kept")
    if not told["whole"]:
        say("older objects were not looked at: choose fewer days")


def _outcome(one: dict[str, Any]) -> str:
    told = f"; notify {', '.join(one['notify'])}" if one["notify"] else ""
    return f"{one['action']} {', '.join(one['to'])}".rstrip() + told


def show_trace(trace: Sequence[dict[str, Any]]) -> None:
    """Print the rules that were tried, and what each of their tests saw."""
    for entry in trace:
        told = f" (notifies {', '.join(entry['notify'])})" if entry.get("notify") else ""
        say(f"    {entry['result']:8}{entry['rule']}{told}")
        for leaf in entry["tests"]:
            seen = ", ".join(leaf["seen"]) or "nothing"
            say(f"        {leaf['result']:8}{leaf['field']} {leaf['op']}: saw {seen}")


def _delivery(one: dict[str, Any]) -> str:
    words = ["held"] * one["held"] + [{1: "stat", 3: "high", 7: "low"}.get(one["priority"], "")]
    more = ", ".join(filter(None, words))
    return f"{one['node']} ({more})" if more else str(one["node"])


def given_facts(facts: Sequence[str]) -> dict[str, Any]:
    """Facts of the command line: FIELD=VALUE. Raises CommandRefused."""
    from broker.routing.rules.fields import FieldKind, kind_of
    from broker.routing.rules.tag_paths import NoSuchField

    found: dict[str, Any] = {}
    for fact in facts:
        name, sign, value = fact.partition("=")
        try:
            kind = kind_of(name)
            found[name] = float(value) if kind in (FieldKind.NUMBER, FieldKind.ITEMS) else value
        except NoSuchField as error:
            raise CommandRefused(f"--fact {name}: {error}") from None
        except ValueError:
            raise CommandRefused(f"--fact {name}: not a number") from None
        if not sign:
            raise CommandRefused(f"--fact {fact}: write FIELD=VALUE")
    return found


def _read(file: Path, document: dict[str, Any]) -> dict[str, Any]:
    """The facts of a file that these rules, and those of each object, look at. Raises CommandRefused."""
    from broker.dicom.dataset import part10
    from broker.routing.header import BASE_FIELDS
    from broker.routing.order_facts import MATCHING_FIELDS
    from broker.routing.rejudging import element_facts
    from broker.routing.rules.ruleset import fields_of
    from broker.routing.site import build_rules

    fields = fields_of(build_rules(document, 0)) | set(BASE_FIELDS) | MATCHING_FIELDS
    try:
        header = part10.read(file)
        if header is None:
            raise CommandRefused(f"{file}: not a DICOM file")
        with (
            open(file, "rb") as opened,
            mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as whole,
            memoryview(whole) as view,
            view[header.offset : header.offset + header.length] as data,
        ):
            found = element_facts(data, header.transfer_syntax, fields)
    except (BadContent, OSError) as error:
        raise CommandRefused(f"{file}: {error}") from None
    return {name: list(values) for name, values in found.items()}
