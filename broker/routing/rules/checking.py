"""Runs the examples of rules, and tells what a rule set says although nobody can have meant it."""

from __future__ import annotations

from collections.abc import Iterator

from broker.errors import ConfigurationError
from broker.routing.rules.completion import CompletionTable
from broker.routing.rules.evaluate import as_facts, decide
from broker.routing.rules.ruleset import RuleAction, RuleSet


def check(rules: RuleSet) -> None:
    """Run the examples of all rules. Raises ConfigurationError that names the rule whose example fails."""
    for failure in failures(rules):
        raise ConfigurationError(failure)


def failures(rules: RuleSet) -> Iterator[str]:
    """The examples that fail: each names its rule, what comes out, and what was expected.

    The example of a rule with a level is a series or study: rules below that level are tried with its facts too.
    """
    for rule in rules.rules:
        for number, example in enumerate(rule.examples, 1):
            decision = decide(rules, as_facts(example.facts), rule.level)
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
        if rule.only_notifies and rule.then == "stop":
            yield f"rule {rule.name!r}: then: it only notifies and ends the list, so that the default decides"
        if rule.action == RuleAction.HOLD and not rule.send and rule.then == "stop":
            yield f"rule {rule.name!r}: then: a rule that holds the object ends the list anyway"
        if rule.action != RuleAction.DISCARD and rule.send and rule.then == "continue":
            sending = sending or rule.name
    yield from _doubts_of_levels(rules)


def _doubts_of_levels(rules: RuleSet) -> Iterator[str]:
    enabled = [rule for rule in rules.rules if rule.enabled]
    for place, rule in enumerate(enabled):
        sooner = [other for other in enabled[place + 1 :] if other.level.depth < rule.level.depth]
        ends = (
            rule.then == "stop"
            or rule.action == RuleAction.DISCARD
            or (rule.action == RuleAction.HOLD and not rule.send)
        )
        if ends and sooner:
            yield (
                f"rule {rule.name!r}: level: it cannot end the list for rule {sooner[0].name!r}, which acts before the "
                f"{rule.level} is complete: move that one before it, or give it the same level"
            )
    if not rules.levels and rules.completion != CompletionTable():
        yield "completion: no rule has the level series or study, so that nothing waits for it"
