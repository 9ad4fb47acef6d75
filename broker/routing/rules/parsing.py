"""Rules as data: from the tables of site.toml to a rule set. Nothing here runs code.

Loading checks all that can be checked: fields, operators, kinds of values, patterns, destinations, limits. The examples
are run by `checking.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from broker.errors import ConfigurationError
from broker.routing.rules.completion_parsing import parse_completion
from broker.routing.rules.conditions import ConditionReader, a_list, keys, scalar
from broker.routing.rules.fields import OF_SERIES, OF_STUDY, kind_of
from broker.routing.rules.ruleset import (
    Condition,
    Example,
    Level,
    Rule,
    RuleAction,
    RuleSet,
    Urgency,
    condition_fields,
)
from broker.routing.rules.tag_paths import NoSuchField
from broker.site.times.week_window import NoWindow, check_holiday

MAX_RULES, MAX_TAGS, MAX_HOLIDAYS, MAX_NAME = 1000, 20, 400, 200
DOCUMENT_KEYS = ("rule", "default", "calendar", "completion")
_FOR_PEOPLE = ("owner", "reason", "tags", "example")
_DOES = ("action", "send", "notify", "then", "priority")
_RULE = {"name", "level", "when", "enabled", "from", "until", *_DOES, *_FOR_PEOPLE}
_Choice = TypeVar("_Choice", bound=StrEnum)


def parse_rules(
    document: Mapping[str, Any], destinations: Collection[str], version: int = 0, *, notified: Collection[str] = ()
) -> RuleSet:
    """A rule set from the tables of a document. `notified`: the nodes that rules may tell.

    Raises ConfigurationError that names the rule and what is wrong. Examples are not run here.
    """
    tables = a_list(document.get("rule", []), f"rule: a list of at most {MAX_RULES} tables")
    if len(tables) > MAX_RULES:
        raise ConfigurationError(f"rule: a list of at most {MAX_RULES} tables")
    holidays = _holidays(document.get("calendar", {}))
    rules: list[Rule] = []
    for position, table in enumerate(tables, 1):
        name = table.get("name") if isinstance(table, Mapping) else None
        label = f"rule {name if isinstance(name, str) and name.strip() else position!r}"
        rule = _rule(table, label, destinations, notified, holidays)
        if any(other.name == rule.name for other in rules):
            raise ConfigurationError(f"{label}: the name is used twice")
        rules.append(rule)
    default = document.get("default", {})
    keys(default, {"action", "send", "reason"}, "default")
    action = _choice(RuleAction, default.get("action", RuleAction.HOLD), "default: action")
    _text(default, "reason", "default")
    send = _destinations(default.get("send", []), destinations, "default")
    if (action == RuleAction.SEND) != bool(send):
        raise ConfigurationError('default: send: destinations go with action = "send" and only with it')
    completion = parse_completion(document.get("completion", {}), destinations)
    return RuleSet(tuple(rules), action, send, version, holidays, completion)


def _rule(
    table: Mapping[str, Any],
    label: str,
    destinations: Collection[str],
    notified: Collection[str],
    holidays: Collection[str],
) -> Rule:
    keys(table, _RULE, label)
    name = table.get("name")
    if not isinstance(name, str) or not name.strip():
        raise ConfigurationError(f"{label}: name: required")
    if "when" not in table:
        raise ConfigurationError(f"{label}: when: required")
    action = _choice(RuleAction, table.get("action", RuleAction.SEND), f"{label}: action")
    send = _destinations(table.get("send", []), destinations, label)
    notify = _notified(table, notified, label, name)
    if action == RuleAction.SEND and not send and not notify:
        raise ConfigurationError(f"{label}: send: at least one destination")
    if action == RuleAction.DISCARD and (send or not _text(table, "reason", label)):
        raise ConfigurationError(f"{label}: discard needs a reason, and has no destinations")
    then = table.get("then", "continue")
    if then not in ("continue", "stop"):
        raise ConfigurationError(f"{label}: then: continue or stop")
    enabled = table.get("enabled", True)
    if not isinstance(enabled, bool):
        raise ConfigurationError(f"{label}: enabled: true or false")
    begins, ends = (_moment(table, key, label) for key in ("from", "until"))
    if begins and ends and ends <= begins:
        raise ConfigurationError(f"{label}: until: later than from")
    examples = a_list(table.get("example", []), f"{label}: example: a list of tables")
    level = _choice(Level, table.get("level", Level.INSTANCE), f"{label}: level")
    return Rule(
        name=name,
        level=level,
        when=_of_level(ConditionReader(label, holidays).condition(table["when"]), level, label),
        action=action,
        send=send,
        notify=notify,
        then=then,
        priority=_choice(Urgency, table.get("priority", Urgency.NORMAL), f"{label}: priority"),
        enabled=enabled,
        begins=begins,
        ends=ends,
        owner=_text(table, "owner", label),
        reason=_text(table, "reason", label),
        tags=_tags(table.get("tags", []), label),
        examples=tuple(_example(example, f"{label}: example", destinations) for example in examples),
    )


def _of_level(condition: Condition, level: Level, label: str) -> Condition:
    """The condition. Raises ConfigurationError for a field that is not known at this level."""
    for field in condition_fields(condition):
        if field.startswith(OF_SERIES) and level != Level.SERIES:
            raise ConfigurationError(f"{label}: {field}: only a rule of level series knows it")
        if field == "study.modalities" and level != Level.STUDY:
            raise ConfigurationError(f"{label}: {field}: only a rule of level study knows it")
        if field.startswith(OF_STUDY) and level == Level.INSTANCE:
            raise ConfigurationError(f"{label}: {field}: only a rule of level series or study knows it")
    return condition


def _choice(kind: type[_Choice], value: Any, label: str) -> _Choice:
    if not isinstance(value, str) or value not in tuple(kind):
        *most, last = tuple(kind)
        raise ConfigurationError(f"{label}: {', '.join(most)} or {last}")
    return kind(value)


def _text(table: Mapping[str, Any], key: str, label: str) -> str:
    value = table.get(key, "")
    if not isinstance(value, str) or len(value) > 500:
        raise ConfigurationError(f"{label}: {key}: text of at most 500 characters")
    return value.strip()


def _tags(value: Any, label: str) -> tuple[str, ...]:
    text = f"{label}: tags: a list of at most {MAX_TAGS} words"
    tags = a_list(value, text)
    if len(tags) > MAX_TAGS or not all(isinstance(tag, str) and 0 < len(tag) <= 50 for tag in tags):
        raise ConfigurationError(text)
    return tuple(tags)


def _moment(table: Mapping[str, Any], key: str, label: str) -> str:
    """A local time as the fact `time.local` is written; empty for none."""
    value = table.get(key, "")
    if value == "":
        return ""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ConfigurationError(f"{label}: {key}: a local time like 2026-12-24T18:00") from None
    if moment.tzinfo is not None:
        raise ConfigurationError(f"{label}: {key}: a local time has no offset from UTC")
    return moment.isoformat(timespec="seconds")


def _holidays(table: Any) -> frozenset[str]:
    keys(table, {"holidays"}, "calendar")
    text = f"calendar: holidays: a list of at most {MAX_HOLIDAYS} days"
    days = a_list(table.get("holidays", []), text)
    if len(days) > MAX_HOLIDAYS:
        raise ConfigurationError(text)
    for day in days:
        try:
            check_holiday(day if isinstance(day, str) else "")
        except NoWindow as error:
            raise ConfigurationError(f"calendar: holidays: {day!r}: {error}") from None
    return frozenset(days)


def _example(table: Any, label: str, destinations: Collection[str]) -> Example:
    keys(table, {"facts", "sends", "action"}, label)
    facts = table.get("facts", {})
    if not isinstance(facts, Mapping):
        raise ConfigurationError(f"{label}: facts: must be a table")
    check_facts(facts, label)
    action = table.get("action")
    sends = frozenset(_destinations(table.get("sends", []), destinations, label, "sends"))
    return Example(facts, sends, None if action is None else _choice(RuleAction, action, f"{label}: action"))


def check_facts(facts: Mapping[str, Any], label: str) -> None:
    """Raises ConfigurationError for facts that no object can have."""
    for field, value in facts.items():
        try:
            kind = kind_of(field if isinstance(field, str) else "")
        except NoSuchField as error:
            raise ConfigurationError(f"{label}: unknown field {field!r}: {error}") from None
        for one in value if isinstance(value, list) else [value]:
            scalar(one, kind, f"{label}: {field}")


def _notified(table: Mapping[str, Any], known: Collection[str], label: str, rule: str) -> tuple[str, ...]:
    """The nodes that a rule tells. Its name is part of the key of a notice, which has bounds."""
    names = a_list(table.get("notify", []), f"{label}: notify: a list of node names")
    for name in names:
        if not isinstance(name, str) or name not in known:
            raise ConfigurationError(f"{label}: notify: unknown node {name!r} (or not one with role notify)")
    if names and (len(rule) > MAX_NAME or not rule.isprintable()):
        raise ConfigurationError(f"{label}: notify: its name is one line of at most {MAX_NAME} characters")
    return tuple(dict.fromkeys(names))


def _destinations(names: Any, known: Collection[str], label: str, key: str = "send") -> tuple[str, ...]:
    names = a_list(names, f"{label}: {key}: a list of node names")
    for name in names:
        if not isinstance(name, str) or name not in known:
            raise ConfigurationError(f"{label}: {key}: unknown node {name!r} (or not a destination)")
    return tuple(dict.fromkeys(names))
