"""`broker rules`: shows, checks and publishes the rules that say where images go."""

from __future__ import annotations

import json
from typing import Any

import typer

from broker.cli import documents
from broker.cli.common import Config, exit_on_error, wall_clock
from broker.cli.documents import Json, Number
from broker.cli.output import say, say_json, show_table
from broker.cli.routing.drafts import add_drafts
from broker.cli.routing.trying import add_trying

app = typer.Typer(no_args_is_help=True, help="Show, check and publish the rules that say where images go.")
documents.add_editing(app, "rules")
documents.add_versions(app, "rules")
add_trying(app)
add_drafts(app)


@app.command("list")
def list_(config: Config = None, as_json: Json = False) -> None:
    """Show the rules in force."""
    _show(config, None, as_json)


@app.command()
def show(number: Number, config: Config = None, as_json: Json = False) -> None:
    """Show the rules of one version."""
    _show(config, number, as_json)


def _show(config: Any, number: int | None, as_json: bool) -> None:
    with exit_on_error():
        clock = wall_clock(config)
        version = documents.document(config, "rules", number)
    if as_json:
        say_json(version, ascii_only=True)
        return
    found = version["document"]
    rows = [
        (str(place), rule["name"], condition(rule["when"]), *_does(rule))
        for place, rule in enumerate(found.get("rule", []), 1)
    ]
    default = found.get("default", {})
    does = ", ".join(default.get("send", [])) or default.get("action", "hold")
    rows.append(("", "default", "no rule matched", does, ""))
    show_table(("", "rule", "when", "send to", "then"), rows)
    if version["version"]:
        author = version["author"] or version["source"]
        why = f": {version['reason']}" if version["reason"] else ""
        say(f"version {version['version']}, {clock(version['at'])}, {author}{why}")


def _does(rule: dict[str, Any]) -> tuple[str, str]:
    """What a rule does, and how it goes on."""
    action, where = rule.get("action", "send"), ", ".join(rule.get("send", []))
    does = where if action == "send" else f"{action} {where}".strip()
    if told := ", ".join(rule.get("notify", [])):
        does = "; ".join(filter(None, (does, f"notify {told}")))
    if rule.get("priority", "normal") != "normal":
        does += f" ({rule['priority']})"
    limits = [f"{key} {rule[key]}" for key in ("from", "until") if rule.get(key)]
    return does, ", ".join(["off"] * (not rule.get("enabled", True)) + limits + [rule.get("then", "continue")])


def condition(when: dict[str, Any]) -> str:
    """A condition as a person reads it."""
    if "field" in when:
        value = json.dumps(when["value"], ensure_ascii=False) if "value" in when else ""
        how = when.get("values", "any")
        field = {"all": f"all of {when['field']}", "count": f"number of {when['field']}"}.get(how, when["field"])
        missing = "or is missing" if when.get("missing") else ""
        return " ".join(
            filter(None, (field, when.get("op", "is"), value, "exactly" * when.get("exact", False), missing))
        )
    if "not" in when:
        return f"not ({condition(when['not'])})"
    word = "all" if "all" in when else "any"
    joint = " and " if word == "all" else " or "
    text = joint.join(f"({condition(one)})" if "field" not in one else condition(one) for one in when[word])
    return f"an item of {when['item']} has ({text})" if "item" in when else text
