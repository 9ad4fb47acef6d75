"""Prints nodes and devices for `broker nodes`, and reads `--set KEY=VALUE`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from broker.cli.common import CommandRefused
from broker.cli.output import say, show_table
from broker.settings.toml_text import NotToml, parse_toml

Clock = Callable[[float], str]


def assigned(settings: Iterable[str], table: dict[str, Any], *, null: bool = False) -> dict[str, Any]:
    """A table with keys set as `KEY=VALUE` says: dotted keys, values as in site.toml or plain text.

    `null`: the value is none, whatever is given. Raises CommandRefused.
    """
    for setting in settings:
        key, mark, text = setting.partition("=")
        parts = [part.strip() for part in key.split(".")]
        if not mark or not all(parts):
            raise CommandRefused(f"{setting}: not KEY=VALUE")
        place = table
        for part in parts[:-1]:
            below = place.setdefault(part, {})
            if not isinstance(below, dict):
                raise CommandRefused(f"{key}: {part} has a value already")
            place = below
        place[parts[-1]] = None if null else _value(text)
    return table


def _value(text: str) -> Any:
    """A value of TOML; what is none is a text."""
    try:
        return parse_toml(f"value = {text}")["value"]
    except NotToml:
        return text


def show_list(nodes: list[dict[str, Any]], clock: Clock) -> None:
    """The nodes in force."""
    rows = [
        (
            node["name"],
            node["kind"],
            node["ae_title"] or "|".join(filter(None, (node["application"], node["facility"]))),
            _place(node),
            " ".join(node["roles"]),
            node["state"],
            _when(node["last_in"], clock),
            _when(node["last_out"], clock),
        )
        for node in nodes
    ]
    columns = ("name", "kind", "title", "address", "roles", "state", "last in", "last out")
    show_table(columns, rows, whole=("name", "title", "address", "state", "last in", "last out"))


def show_tables(tables: list[dict[str, Any]]) -> None:
    """The nodes of one version, as site.toml has them."""
    rows = []
    for node in tables:
        title = node.get("ae_title") or "|".join(filter(None, (node.get("application"), node.get("facility"))))
        state = node.get("state", "active")
        rows.append(
            (node["name"], node["kind"], title, _place(node), " ".join(node.get("roles", ())), state, _profile(node))
        )
    show_table(("name", "kind", "title", "address", "roles", "state", "profile"), rows)


def show_node(node: dict[str, Any], clock: Clock) -> None:
    """One node: what it is, when it was last in contact, what names it."""
    title = f"AE title {node['ae_title']}" if node["kind"] == "dicom" else f"application {node['application']}"
    if node["kind"] not in ("dicom", "hl7"):
        title = "by TLS" if node["tls"] else "in clear"
    words = {"active": "active", "disabled": "disabled: neither served nor sent to", "blocked": "blocked: refused"}
    say(f"{node['name']}: {node['kind']}, {title}, {_place(node)}, {' '.join(node['roles']) or 'no role'}")
    say(f"state: {words[node['state']]}")
    if profile := _profile(node):
        say(f"profile: {profile}")
    good = [one for one in node["contacts"] if one["good"]]
    for word, inward in (("last in", True), ("last out", False)):
        of_side = [one for one in good if one["inward"] is inward]
        last = f"{clock(of_side[0]['at'])} ({of_side[0]['kind']})" if of_side else "never"
        say(f"{word}: {last}")
    if node["contacts"]:
        rows = [(one["kind"], clock(one["at"]), one["words"]) for one in node["contacts"]]
        show_table(("contact", "last", "detail"), rows, whole=("last",))
    for words_of in node["named_by"]:
        say(f"named: {words_of}")


_MARKS = {"good": "ok", "warning": "look", "bad": "FAILED", "skipped": "-"}


def show_test(test: dict[str, Any], clock: Clock) -> None:
    """A test: each step with its time, what happened, and what to do next; the lanes of the node beside."""
    for step in test["steps"]:
        say(f"{_MARKS[step['outcome']]:6} {step['name']:12} {step['duration'] * 1000:8.1f} ms  {step['words']}")
        for row in step["contexts"]:
            way = f" (as {row['instead']})" if row["instead"] else ""
            mark = "takes" if row["taken"] or way else "NOT"
            say(f"{'':12} {mark:5} {row['sop_class']}: {row['transfer_syntax']}{way}")
        if step["advice"]:
            say(f"{'':12} → {step['advice']}")
    for lane in test.get("lanes", ()):
        state = f"{lane['waiting']} waiting, {lane['held']} held"
        if lane["failures"]:
            since = f"down since {clock(lane['since'])}" if lane["since"] else "down"
            state += f", {since} ({lane['last_error']}), next try {clock(lane['next_try'])}"
        say(f"lane {lane['name']}: {state}")
    if test.get("resumed"):
        say("what waits is sent now")
    say("the node works" if test["good"] else "the node does not work")


def show_tests(tests: list[dict[str, Any]], clock: Clock) -> None:
    """The last tests of a node."""
    rows = []
    for test in tests:
        bad = next((step for step in test["steps"] if step["outcome"] == "bad"), None)
        words = bad["words"] if bad is not None else ""
        rows.append((clock(test["at"]), "works" if test["good"] else "does not work", test["actor"], words))
    show_table(("when", "result", "by", "first failure"), rows, whole=("when",))


def show_knocking(found: list[dict[str, Any]], clock: Clock) -> None:
    """Devices that were not let in."""
    rows = []
    for one in found:
        asked = ", ".join(f"{keyword}={value}" for keyword, value in (one["queries"] or [{}])[0].items())
        wrong = f"calls {one['called']}" if one["called"] else ""
        who = f"node {one['node']}" if one["node"] else "unknown"
        why = ", ".join(filter(None, (who, wrong)))
        rows.append(
            (
                one["ae_title"],
                one["address"],
                str(one["count"]),
                clock(one["last_at"]),
                why,
                ", ".join(one["wants"]),
                asked,
            )
        )
    show_table(("AE title", "address", "calls", "last", "why refused", "wants", "asked last"), rows)


def _place(node: dict[str, Any]) -> str:
    return f"{node.get('host') or 'any address'}{':' + str(node['port']) if node.get('port') else ''}"


def _when(at: float | None, clock: Clock) -> str:
    """To the minute: a list has little room."""
    return clock(at)[:16] if at else "never"


def _profile(node: dict[str, Any]) -> str:
    return ", ".join(f"{key} = {_said(value)}" for key, value in (node.get("device") or {}).items())


def _said(value: Any) -> str:
    """A value of a profile, as site.toml may have it."""
    return json.dumps(value[0] if isinstance(value, list) and len(value) == 1 else value, ensure_ascii=False)
