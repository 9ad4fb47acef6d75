"""Rules as data: a tree of `all` / `any` / `not` over `{field, op, value}`. No expression language, nothing runs code.

Loading checks everything that can be checked: fields, operators, types of values, patterns, destinations, limits,
and the examples attached to each rule.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import re2

from broker.errors import ConfigurationError
from broker.routing.fields import Kind, kind_of

Value = str | float | tuple[str, ...] | tuple[float, ...]
TEXT_OPERATORS = frozenset({"is", "in", "contains", "starts_with", "glob", "regex", "exists"})
NUMBER_OPERATORS = frozenset({"is", "in", "lt", "le", "gt", "ge", "exists"})
MAX_LEAVES, MAX_DEPTH, MAX_PATTERN, MAX_RULES = 200, 8, 500, 1000


class RuleAction(StrEnum):
    """The actions that rules decide on, as site.toml spells them."""

    SEND = "send"
    HOLD = "hold"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True)
class Test:
    """A leaf: one field compared with one value."""

    field: str
    op: str
    value: Value
    pattern: Any = None  # compiled RE2


@dataclass(frozen=True, slots=True)
class Group:
    """`all`, `any` or `not` of conditions."""

    kind: Literal["all", "any", "not"]
    members: tuple[Condition, ...]


Condition = Test | Group


@dataclass(frozen=True, slots=True)
class Example:
    """Facts and the destinations the rule set must give for them."""

    facts: Mapping[str, Any]
    sends: frozenset[str]


@dataclass(frozen=True, slots=True)
class Rule:
    """When `when` is true, send to `send`; then go on with the next rule or stop."""

    name: str
    when: Condition
    send: tuple[str, ...]
    then: Literal["continue", "stop"]
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Ordered rules and what happens when none matched. `version` is 0 until stored."""

    rules: tuple[Rule, ...]
    default_action: RuleAction = RuleAction.HOLD
    default_send: tuple[str, ...] = ()
    version: int = 0


def parse_rules(document: Mapping[str, Any], destinations: Collection[str], version: int = 0) -> RuleSet:
    """A rule set from the tables `rule` and `default` of site.toml.

    Raises ConfigurationError that names the rule and what is wrong. Examples are not run here (`evaluate.check`).
    """
    tables = _list(document.get("rule", []), f"rule: a list of at most {MAX_RULES} tables")
    if len(tables) > MAX_RULES:
        raise ConfigurationError(f"rule: a list of at most {MAX_RULES} tables")
    rules: list[Rule] = []
    for position, table in enumerate(tables, 1):
        name = table.get("name") if isinstance(table, Mapping) else None
        label = f"rule {name if isinstance(name, str) and name.strip() else position!r}"
        rule = _rule(table, label, destinations)
        if any(other.name == rule.name for other in rules):
            raise ConfigurationError(f"{label}: the name is used twice")
        rules.append(rule)
    default = document.get("default", {})
    _keys(default, {"action", "send"}, "default")
    action = default.get("action", RuleAction.HOLD)
    if action not in tuple(RuleAction):
        raise ConfigurationError("default: action: hold, send or discard")
    send = _destinations(default.get("send", []), destinations, "default")
    if (action == RuleAction.SEND) != bool(send):
        raise ConfigurationError('default: send: destinations go with action = "send" and only with it')
    return RuleSet(tuple(rules), RuleAction(action), send, version)


def _rule(table: Mapping[str, Any], label: str, destinations: Collection[str]) -> Rule:
    _keys(table, {"name", "when", "send", "then", "example"}, label)
    name = table.get("name")
    if not isinstance(name, str) or not name.strip():
        raise ConfigurationError(f"{label}: name: required")
    if "when" not in table:
        raise ConfigurationError(f"{label}: when: required")
    when = _condition(table["when"], label, 1, [0])
    send = _destinations(table.get("send", []), destinations, label)
    if not send:
        raise ConfigurationError(f"{label}: send: at least one destination")
    then = table.get("then", "continue")
    if then not in ("continue", "stop"):
        raise ConfigurationError(f"{label}: then: continue or stop")
    examples = _list(table.get("example", []), f"{label}: example: a list of tables")
    return Rule(name, when, send, then, tuple(_example(example, label, destinations) for example in examples))


def _condition(node: Any, label: str, depth: int, leaves: list[int]) -> Condition:
    if not isinstance(node, Mapping):
        raise ConfigurationError(f"{label}: when: a condition is a table")
    if depth > MAX_DEPTH:
        raise ConfigurationError(f"{label}: when: nested deeper than {MAX_DEPTH}")
    if "field" in node:
        leaves[0] += 1
        if leaves[0] > MAX_LEAVES:
            raise ConfigurationError(f"{label}: when: more than {MAX_LEAVES} tests")
        return _test(node, label)
    for kind in ("all", "any", "not"):
        if kind in node:
            _keys(node, {kind}, f"{label}: when")
            text = f"{label}: when: {kind}: a list of conditions"
            members = [node[kind]] if kind == "not" else _list(node[kind], text)
            if not members:
                raise ConfigurationError(text)
            parsed = tuple(_condition(member, label, depth + 1, leaves) for member in members)
            return Group(kind, parsed)
    raise ConfigurationError(f"{label}: when: a condition has all, any, not or field")


def _test(node: Mapping[str, Any], label: str) -> Test:
    _keys(node, {"field", "op", "value"}, f"{label}: when")
    field, op = node["field"], node.get("op", "is")
    kind = kind_of(field) if isinstance(field, str) else None
    if kind is None:
        raise ConfigurationError(f"{label}: when: unknown field {field!r}")
    if not isinstance(op, str) or op not in (TEXT_OPERATORS if kind == "text" else NUMBER_OPERATORS):
        raise ConfigurationError(f"{label}: {field}: unknown operator {op!r} for a {kind} field")
    if op == "exists":
        _keys(node, {"field", "op"}, f"{label}: {field}")
        return Test(field, op, "")
    if "value" not in node:
        raise ConfigurationError(f"{label}: {field}: value: required")
    raw = node["value"]
    if op == "in":
        values = _list(raw, f"{label}: {field}: value: a list")
        if not values:
            raise ConfigurationError(f"{label}: {field}: value: a list with something in it")
        return Test(field, op, tuple(_scalar(v, kind, label, field) for v in values))  # type: ignore[arg-type]
    value = _scalar(raw, kind, label, field)
    if op == "glob":
        pattern = "".join(".*" if c == "*" else "." if c == "?" else re2.escape(c) for c in str(value))
        return Test(field, op, value, _pattern(f"(?s)^{pattern}$", label, field))
    return Test(field, op, value, _pattern(value, label, field) if op == "regex" else None)


def _scalar(raw: Any, kind: Kind, label: str, field: str) -> str | float:
    if kind == "number" and isinstance(raw, int | float) and not isinstance(raw, bool):
        with contextlib.suppress(OverflowError):  # TOML has integers of any size
            if math.isfinite(number := float(raw)):
                return number
    if kind == "text" and isinstance(raw, str) and len(raw) <= MAX_PATTERN:
        return raw
    raise ConfigurationError(f"{label}: {field}: value: a {kind}" + (" of 500 characters" if kind == "text" else ""))


def _pattern(value: str | float, label: str, field: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = False
    try:
        return re2.compile(str(value), options)
    except re2.error:
        raise ConfigurationError(f"{label}: {field}: value: not a regular expression of RE2") from None


def _example(table: Any, label: str, destinations: Collection[str]) -> Example:
    _keys(table, {"facts", "sends"}, f"{label}: example")
    facts = table.get("facts", {})
    if not isinstance(facts, Mapping):
        raise ConfigurationError(f"{label}: example: facts: must be a table")
    for field, value in facts.items():
        kind = kind_of(field) if isinstance(field, str) else None
        if kind is None:
            raise ConfigurationError(f"{label}: example: unknown field {field!r}")
        for one in value if isinstance(value, list) else [value]:
            _scalar(one, kind, f"{label}: example", field)
    return Example(facts, frozenset(_destinations(table.get("sends", []), destinations, f"{label}: example", "sends")))


def _destinations(names: Any, known: Collection[str], label: str, key: str = "send") -> tuple[str, ...]:
    names = _list(names, f"{label}: {key}: a list of node names")
    for name in names:
        if not isinstance(name, str) or name not in known:
            raise ConfigurationError(f"{label}: {key}: unknown node {name!r} (or not a destination)")
    return tuple(dict.fromkeys(names))


def _list(value: Any, text: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise ConfigurationError(text)
    return value


def _keys(table: Any, allowed: set[str], label: str) -> None:
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"{label}: must be a table")
    for key in table:
        if key not in allowed:
            raise ConfigurationError(f"{label}: {key}: unknown key")
