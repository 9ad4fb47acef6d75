"""Judges a complete series or study: which rules of its level match, and what that means for each of its objects.

The rules are tried once, over the facts of the series or study (`routing.levels.study_facts`). For an object those
count that stand before the rule that ended its own list. What rules of a lower level planned stays: a discard counts
only where there is none of it, and what was sent is not recalled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from broker.routing.rules.evaluate import (
    ERRORS,
    FAILED,
    MARKS,
    OFF,
    REASONS,
    Facts,
    RoutingDecision,
    RoutingPlan,
    SeenFacts,
    truth_of,
)
from broker.routing.rules.ruleset import Level, RuleAction, RuleSet

ALL = 1 << 30  # an object for which all rules of the list count


@dataclass(frozen=True, slots=True)
class LevelDecision:
    """Which rules of a level match, by their places in the list from 0, and a mark for each rule that was looked at.

    `error`: the code of what failed; all that it is about is held then.
    """

    matched: tuple[int, ...]
    outcomes: tuple[str, ...]
    error: str = ""


def decide_level(rules: RuleSet, facts: Facts, level: Level) -> LevelDecision:
    """Evaluate the rules of one level in order. Never raises: an error is a decision to hold."""
    seen = SeenFacts(facts, rules)
    matched: list[int] = []
    outcomes: list[str] = []
    try:
        for test in rules.tests:
            seen.comparable(test, test.field)
        for place, rule in enumerate(rules.rules):
            if rule.level is not level or not rule.acts_at(seen.local_time):
                outcomes.append(OFF)
                continue
            marks: list[str] = []
            truth = truth_of(rule.when, seen, marks)
            outcomes.append(MARKS[truth] + "".join(marks))
            if truth:
                matched.append(place)
                if rule.then == "stop":
                    break
    except ERRORS as error:
        outcomes.append(FAILED)
        return LevelDecision((), tuple(outcomes), f"rule-error:{type(error).__name__}")
    return LevelDecision(tuple(matched), tuple(outcomes))


def kept_marks(decision: LevelDecision) -> list[str]:
    """The marks of a decision, and the code of its error behind them: all of it that has to be kept."""
    return [*decision.outcomes, decision.error] if decision.error else [*decision.outcomes]


def kept_decision(marks: Sequence[str]) -> LevelDecision:
    """The decision that was kept. A code has a hyphen, which no mark has."""
    if marks and "-" in marks[-1]:
        return LevelDecision((), tuple(marks[:-1]), marks[-1])
    matched = tuple(place for place, mark in enumerate(marks) if mark.startswith(MARKS[True]))
    return LevelDecision(matched, tuple(marks))


def for_object(rules: RuleSet, decision: LevelDecision, cut: int = ALL, *, planned: bool = False) -> RoutingDecision:
    """What the decision about a series or study means for one of its objects.

    `cut`: how many rules of the list count for it. `planned`: something was planned for it before. A decision to send
    without deliveries says that no rule of this level wants anything of it.
    """
    if decision.error:
        return RoutingDecision(RuleAction.HOLD, (), (), decision.error)
    plan = RoutingPlan(planned=planned)
    for place in decision.matched:
        if place >= cut:
            break
        rule = rules.rules[place]
        ended = plan.add(rule)
        if ended is not None:
            return RoutingDecision(ended, (), (rule.name,), REASONS[ended], notices=tuple(plan.notices))
    deliveries, names = tuple(plan.deliveries.values()), tuple(plan.rules)
    return RoutingDecision(RuleAction.SEND, deliveries, names, "", notices=tuple(plan.notices))
