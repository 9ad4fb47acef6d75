"""Runs the examples of rules, and tells what a rule set says although nobody can have meant it."""

from __future__ import annotations

from collections.abc import Iterator

from broker.errors import ConfigurationError
from broker.routing.rules.evaluate import as_facts, decide
from broker.routing.rules.ruleset import RuleAction, RuleSet


def check(rules: RuleSet) -> None:
    """Run the examples of all rules. Raises ConfigurationError that names the rule whose example fails."""
    for failure in failures(rules):
        raise ConfigurationError(failure)


def failures(rules: RuleSet) -> Iterator[str]:
    """The examples that fail: each names its rule, what comes out, and what was expected."""
    for rule in rules.rules:
        for number, example in enumerate(rule.examples, 1):
            decision = decide(rules, as_facts(example.facts))
            got = frozenset(decision.destinations)
            place = f"rule {rule.name!r}: example {number}"
            if got != example.sends:
                yield f"{place}: sends {sorted(got)}, expected {sorted(example.sends)}"
            elif example.action is not None and decision.action != example.action:
                yield f"{place}: the action is {decision.action}, expected {example.action}"


def doubts(rules: RuleSet) -> Iterator[str]:
    """What is allowed, but hardly meant."""
    sending = ""
    for rule in rules.rules:
        if not rule.enabled:
            continue
        if sending and rule.action == RuleAction.DISCARD:
            yield (
                f"rule {rule.name!r}: discards nothing that rule {sending!r} or a later one has sent: "
                "move it before them, or let them stop"
            )
        if rule.action == RuleAction.HOLD and not rule.send and rule.then == "stop":
            yield f"rule {rule.name!r}: then: a rule that holds the object ends the list anyway"
        if rule.action != RuleAction.DISCARD and rule.send and rule.then == "continue":
            sending = sending or rule.name
