"""Shows how a rule set decides: for each rule that is tried, what each of its tests saw and what that gave.

The same evaluation as `evaluate.py`, with each test of a group looked at. It is made of the facts and the version of
the rules, which are kept with each object.
"""

from __future__ import annotations

from typing import Any

from broker.routing.rules.evaluate import ERRORS, Facts, Place, SeenFacts, Truth, leaf_truth
from broker.routing.rules.ruleset import Condition, Group, ItemTest, Level, RuleAction, RuleSet, inside, plain_tests

Leaves = list[dict[str, Any]]
_LONGEST, _SHOWN = 64, 8  # characters of a value, and values, that are shown
_NAMES: dict[Truth, str] = {True: "true", False: "false", None: "unknown"}


def trace(
    rules: RuleSet, facts: Facts, level: Level = Level.INSTANCE, *, below: bool = True, planned: bool = False
) -> list[dict[str, Any]]:
    """The rules up to a level as far as they are tried, each with its result and its tests in their order.

    A result is true, false, unknown, off, waits (for a higher level) or error. A test has its field, operator and
    result, and the values seen. Without `below` only the rules of the level itself are told, as they are tried for a
    complete series or study. `planned`: deliveries were planned before. A rule that acts tells of its `notify` nodes.
    """
    seen = SeenFacts(facts, rules)
    told: list[dict[str, Any]] = []
    for rule in rules.rules:
        if not below and rule.level is not level:
            continue
        leaves: Leaves = []
        entry = {"rule": rule.name, "result": "off", "tests": leaves}
        told.append(entry)
        if not rule.acts_at(seen.local_time):
            continue
        if rule.level.depth > level.depth:
            entry["result"] = "waits"
            continue
        try:
            truth = _truth(rule.when, seen, leaves)
        except ERRORS:
            entry["result"] = "error"
            break
        entry["result"] = _NAMES[truth]
        if not truth:
            continue
        if rule.notify and not (rule.action == RuleAction.DISCARD and planned):
            entry["notify"] = list(rule.notify)
        whole = rule.action == RuleAction.HOLD and not rule.send
        if whole or (rule.action == RuleAction.DISCARD and not planned) or rule.then == "stop":
            break
        planned = planned or bool(rule.send)
    if not any(entry["result"] == "error" for entry in told) and (failing := _failing(rules, seen)):
        told.append({"rule": failing, "result": "error", "tests": []})
    return told


def _failing(rules: RuleSet, seen: SeenFacts) -> str:
    """The first rule that tests a fact of a wrong kind: an error wherever the list ended. Empty for none."""
    for rule in rules.rules:
        for test in plain_tests(rule.when) if rule.enabled else ():
            try:
                seen.comparable(test, test.field)
            except ERRORS:
                return rule.name
    return ""


def _truth(condition: Condition, seen: SeenFacts, leaves: Leaves, place: Place | None = None) -> Truth:
    if isinstance(condition, ItemTest):
        return _items(condition, seen, leaves, place)
    if isinstance(condition, Group):
        results = [_truth(member, seen, leaves, place) for member in condition.members]
        if condition.kind == "not":
            return None if results[0] is None else not results[0]
        decisive = condition.kind == "any"
        return decisive if decisive in results else None if None in results else not decisive
    truth = leaf_truth(condition, seen, place)
    values = seen.values(inside(*place, condition.field) if place else condition.field)
    shown = [str(value)[:_LONGEST] for value in values[:_SHOWN]]
    leaves.append({"field": condition.field, "op": condition.op, "seen": shown, "result": _NAMES[truth]})
    return truth


def _items(test: ItemTest, seen: SeenFacts, leaves: Leaves, place: Place | None) -> Truth:
    """A test of the same item, with what it gave for each of the first items."""
    sequence = inside(*place, test.sequence) if place else test.sequence
    items = seen.items(sequence)
    results: list[Truth] = []
    told: Leaves = []
    for item in items:
        inner: Leaves = []
        results.append(_truth(test.condition, seen, inner, (sequence, item)))
        told.append({"item": item - items.start + 1, "result": _NAMES[results[-1]], "tests": inner})
    truth = True if True in results else None if not results or None in results else False
    entry = {"field": test.sequence, "op": "item", "seen": [str(len(items))], "result": _NAMES[truth]}
    leaves.append(entry | {"items": told[:_SHOWN]})
    return truth
