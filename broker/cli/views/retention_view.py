"""Prints what is deleted next by its age: asks the running broker, or looks into its database while none runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from broker.cli.asking.anywhere import ask
from broker.cli.output import say, say_json, show_table
from broker.model.wording import duration

_TITLES = ("rule", "days", "now", "in {} d", "kept", "oldest", "last run", "key")


def run(config: Path | None, *, as_json: bool) -> None:
    """Ask and print. Raises CommandRefused, ConfigurationError, PeerFault, StoreUnavailable."""
    found: dict[str, Any] = ask(config, "GET", "/retention")
    if as_json:
        say_json(found, indent=2)
        return
    titles = tuple(title.format(found["days_ahead"]) for title in _TITLES)
    show_table(titles, [_row(rule) for rule in found["rules"]], whole=titles[:6])
    kept = [rule for rule in found["rules"] if rule["kept"] and rule["after"]]
    for rule in kept:
        number, others = _number(rule, rule["kept"]), ", ".join(rule["after"])
        say(f"{rule['name']}: {number} old ones stay; these may free them: {others}")
    say("now: what the next run deletes; each duty runs once an hour. kept: old enough, and needed still")


def _row(rule: dict[str, Any]) -> tuple[str, ...]:
    never = not rule["days"] and rule["key"] != "delivery.keep_days"
    return (
        rule["name"],
        "never" if never else f"{rule['days']:g}",
        _counted(rule, "over"),
        _counted(rule, "soon"),
        _number(rule, rule["kept"]),
        "-" if rule["oldest"] is None else duration(time.time() - rule["oldest"]),
        _last(rule["last_run"]),
        rule["key"] or "fixed",
    )


def _number(rule: dict[str, Any], number: int) -> str:
    return f"{number}+" if rule["more"] else str(number)


def _counted(rule: dict[str, Any], name: str) -> str:
    size = rule[f"bytes_{name}"]
    number = _number(rule, rule[name])
    return number if not size else f"{number} ({size / 1e6:.1f} MB)"


def _last(duty: dict[str, Any] | None) -> str:
    if duty is None:
        return "-"
    ago = f"{duration(time.time() - duty['last_at'])} ago"
    if duty["failures"]:
        return f"failed {ago}: {duty['error']}"
    return ago if duty["deleted"] is None else f"{duty['deleted']} deleted {ago}"
