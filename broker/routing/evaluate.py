"""Evaluates a rule set over facts, with a trace that says for each test what was seen and what it gave.

Three values: true, false, unknown. A missing attribute is unknown, not false; `not unknown` is unknown; a rule that
ends unknown does not match. Destinations are the union of all matching rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from broker.errors import ConfigurationError
from broker.routing.rules import Condition, Group, RuleAction, RuleSet, Test

Facts = Mapping[str, Sequence[str | float]]  # a field that is missing or empty is not there
Truth = bool | None
_SEEN = 64  # characters of a value kept in a trace


@dataclass(frozen=True, slots=True)
class RoutingDecision:
    """What happens with an instance, and why."""

    action: RuleAction
    destinations: tuple[str, ...]
    rules: tuple[str, ...]  # names of the rules that matched
    reason: str
    trace: list[dict[str, Any]]


def decide(rules: RuleSet, facts: Facts) -> RoutingDecision:
    """Evaluate all rules in order. An error holds the instance, earlier matches included."""
    destinations: dict[str, None] = {}
    matched: list[str] = []
    trace: list[dict[str, Any]] = []
    for rule in rules.rules:
        leaves: list[dict[str, Any]] = []
        try:
            truth = _truth(rule.when, facts, leaves)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            trace.append({"rule": rule.name, "result": "error", "tests": leaves})
            return RoutingDecision(RuleAction.HOLD, (), (), f"rule-error:{type(error).__name__}", trace)
        trace.append({"rule": rule.name, "result": _name(truth), "tests": leaves})
        if truth:
            matched.append(rule.name)
            destinations.update(dict.fromkeys(rule.send))
            if rule.then == "stop":
                break
    if matched:
        return RoutingDecision(RuleAction.SEND, tuple(destinations), tuple(matched), "", trace)
    if rules.default_action == RuleAction.SEND:
        return RoutingDecision(RuleAction.SEND, rules.default_send, ("default",), "", trace)
    return RoutingDecision(rules.default_action, (), (), "no-rule-matched", trace)


def check(rules: RuleSet) -> None:
    """Run the examples of all rules. Raises ConfigurationError that names the rule whose example fails."""
    for rule in rules.rules:
        for number, example in enumerate(rule.examples, 1):
            got = frozenset(decide(rules, as_facts(example.facts)).destinations)
            if got != example.sends:
                raise ConfigurationError(
                    f"rule {rule.name!r}: example {number}: sends {sorted(got)}, expected {sorted(example.sends)}"
                )


def as_facts(values: Mapping[str, Any]) -> dict[str, tuple[str | float, ...]]:
    """Facts from plain values: single ones or lists, numbers or text."""
    facts: dict[str, tuple[str | float, ...]] = {}
    for field, value in values.items():
        many = value if isinstance(value, list | tuple) else [value]
        facts[field] = tuple(float(v) if isinstance(v, int | float) else str(v) for v in many)
    return facts


def _name(truth: Truth) -> str:
    return "unknown" if truth is None else "true" if truth else "false"


def _truth(condition: Condition, facts: Facts, leaves: list[dict[str, Any]]) -> Truth:
    if isinstance(condition, Test):
        return _leaf(condition, facts, leaves)
    results = [_truth(member, facts, leaves) for member in condition.members]
    return _combine(condition, results)


def _combine(group: Group, results: Sequence[Truth]) -> Truth:
    if group.kind == "not":
        return None if results[0] is None else not results[0]
    decisive = group.kind == "any"  # one true decides an `any`, one false an `all`
    if any(result is decisive for result in results):
        return decisive
    return None if None in results else not decisive


def _leaf(test: Test, facts: Facts, leaves: list[dict[str, Any]]) -> Truth:
    seen = facts.get(test.field)
    if test.op == "exists":
        truth: Truth = bool(seen)
    elif not seen:
        truth = None
    else:
        truth = any(_compare(test, value) for value in seen)
    shown = [str(value)[:_SEEN] for value in (seen or ())[:8]]
    leaves.append({"field": test.field, "op": test.op, "seen": shown, "result": _name(truth)})
    return truth


def _compare(test: Test, value: str | float) -> bool:
    """Raises TypeError for a fact of another kind than the test's: neither a silent yes nor a silent no."""
    sample = test.value[0] if isinstance(test.value, tuple) else test.value
    if isinstance(sample, str) != isinstance(value, str):
        raise TypeError("fact and test are of different kinds")
    return _compare_text(test, value) if isinstance(value, str) else _compare_number(test, value)


def _compare_number(test: Test, value: float) -> bool:
    if isinstance(test.value, tuple):
        return value in test.value
    wanted = float(test.value)
    match test.op:
        case "lt":
            return value < wanted
        case "le":
            return value <= wanted
        case "gt":
            return value > wanted
        case "ge":
            return value >= wanted
    return value == wanted


def _compare_text(test: Test, text: str) -> bool:
    """Text compares without regard to case."""
    if test.pattern is not None:
        return test.pattern.search(text) is not None
    value = text.casefold()
    if isinstance(test.value, tuple):
        return any(value == str(wanted).casefold() for wanted in test.value)
    wanted = str(test.value).casefold()
    match test.op:
        case "contains":
            return wanted in value
        case "starts_with":
            return value.startswith(wanted)
    return value == wanted
