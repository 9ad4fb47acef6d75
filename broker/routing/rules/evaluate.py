"""Evaluates a rule set over facts: what happens with an object, and which rules decided it.

Three values: true, false, unknown. A missing value is unknown, not false, unless the test says what it counts as; `not
unknown` is unknown; a rule that ends unknown does not match. An error holds the object, whatever matched before.

A group is left as soon as its value is certain. `tracing.py` evaluates all of it again, to be shown.

Rules of a level above that of the decision are not tried: the object waits for its series or study (`levels.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from broker.routing.rules.comparing import NEGATIVE, PRESENCE
from broker.routing.rules.ruleset import (
    Condition,
    Fact,
    Group,
    ItemTest,
    Level,
    Rule,
    RuleAction,
    RuleSet,
    Test,
    inside,
)
from broker.routing.rules.times import LOCAL_TIME, times_of

Facts = Mapping[str, Sequence[Fact]]  # a field that is missing or empty is not there
Truth = bool | None
Place = tuple[str, int]  # a sequence and which of its items, from 1
ERRORS = (ArithmeticError, LookupError, TypeError, ValueError)
OFF, FAILED, WAITS = "o", "e", "w"  # outcomes of a rule beside those of MARKS
FIRST_ITEM = 1001  # number of the first item of a sequence in the facts of a series or study: fields name 999 at most
MARKS: dict[Truth, str] = {True: "t", False: "f", None: "u"}
REASONS = {RuleAction.HOLD: "held-by-rule", RuleAction.DISCARD: "discarded-by-rule"}


@dataclass(frozen=True, slots=True)
class PlannedDelivery:
    """A delivery that is decided on: to which node, how urgent (as the queue counts), whether it waits for a person."""

    node: str
    priority: int
    held: bool = False


@dataclass(frozen=True, slots=True)
class PlannedNotice:
    """That a node is told that a rule acted."""

    node: str
    rule: Rule


@dataclass(frozen=True, slots=True)
class RoutingDecision:
    """What happens with an object, and why. `rules`: the names of those that decided it.

    `outcomes`: for each rule that was tried a mark of it, then those of its tests, as far as they were looked at.
    `waits`: the levels whose rules are still to be tried. `unmatched`: no rule decided anything, this is the default.
    `notices`: who is told of it, of rules that decided nothing too; nobody where a rule failed.
    """

    action: RuleAction
    deliveries: tuple[PlannedDelivery, ...]
    rules: tuple[str, ...]
    reason: str
    outcomes: tuple[str, ...] = field(default=(), compare=False)
    waits: frozenset[Level] = frozenset()
    unmatched: bool = False
    notices: tuple[PlannedNotice, ...] = ()

    @property
    def words(self) -> str:
        """The action; `wait` where nothing is sent before the series or study is judged."""
        return "wait" if self.waits and not self.deliveries else self.action.value

    @property
    def destinations(self) -> tuple[str, ...]:
        """Names of the nodes that it is delivered to."""
        return tuple(one.node for one in self.deliveries)


def decide(rules: RuleSet, facts: Facts, level: Level = Level.INSTANCE) -> RoutingDecision:
    """Evaluate all rules up to a level in order. Never raises: an error is a decision to hold."""
    plan = RoutingPlan()
    seen = SeenFacts(facts, rules)
    outcomes: list[str] = []
    waits: set[Level] = set()

    def decided(action: RuleAction, names: Iterable[str], reason: str, *deliveries: PlannedDelivery) -> RoutingDecision:
        told = tuple(plan.notices)
        return RoutingDecision(action, deliveries, tuple(names), reason, tuple(outcomes), notices=told)

    try:
        for test in rules.tests:  # a fact of a wrong kind is an error, whether or not a test comes to it
            seen.comparable(test, test.field)
        for rule in rules.rules:
            if not rule.acts_at(seen.local_time):
                outcomes.append(OFF)
                continue
            if rule.level is not Level.INSTANCE and rule.level.depth > level.depth:
                outcomes.append(WAITS)
                waits.add(rule.level)
                continue
            marks: list[str] = []
            truth = truth_of(rule.when, seen, marks)
            outcomes.append(MARKS[truth] + "".join(marks))
            if truth:
                ended = plan.add(rule)
                if ended is not None:
                    return decided(ended, [rule.name], REASONS[ended])
                if rule.then == "stop":
                    break
    except ERRORS as error:
        outcomes.append(FAILED)
        plan.notices.clear()
        return decided(RuleAction.HOLD, (), f"rule-error:{type(error).__name__}")
    if waits:
        deliveries, names = tuple(plan.deliveries.values()), tuple(plan.rules)
        return RoutingDecision(
            RuleAction.SEND,
            deliveries,
            names,
            waiting_for(waits),
            tuple(outcomes),
            frozenset(waits),
            notices=tuple(plan.notices),
        )
    if plan.deliveries:
        return decided(RuleAction.SEND, plan.rules, "", *plan.deliveries.values())
    return by_default(rules, outcomes, plan.notices)


def by_default(rules: RuleSet, outcomes: Sequence[str] = (), notices: Sequence[PlannedNotice] = ()) -> RoutingDecision:
    """What happens with an object about which no rule decided anything."""
    told, marks = tuple(notices), tuple(outcomes)
    if rules.default_action == RuleAction.SEND:
        deliveries = tuple(PlannedDelivery(node, 5) for node in rules.default_send)
        return RoutingDecision(RuleAction.SEND, deliveries, ("default",), "", marks, unmatched=True, notices=told)
    return RoutingDecision(rules.default_action, (), (), "no-rule-matched", marks, unmatched=True, notices=told)


def waiting_for(levels: Collection[Level]) -> str:
    """The code of what an object waits for; empty for nothing."""
    return WAITING_FOR[frozenset(levels)]


WAITING_FOR = {
    frozenset[Level](): "",
    frozenset({Level.SERIES}): "waits-for-series",
    frozenset({Level.STUDY}): "waits-for-study",
    frozenset({Level.SERIES, Level.STUDY}): "waits-for-series-and-study",
}


class RoutingPlan:
    """What the rules that matched so far want. `planned`: deliveries were planned before."""

    def __init__(self, *, planned: bool = False) -> None:
        self.deliveries: dict[str, PlannedDelivery] = {}
        self.rules: list[str] = []
        self.notices: list[PlannedNotice] = []
        self._planned = planned

    def add(self, rule: Rule) -> RuleAction | None:
        """Let a rule act; the action if that decides about the whole object.

        A discard counts only where nothing was planned before, and tells nobody where it does not. A delivery is as
        urgent as the most urgent rule says, and waits for a person if any rule says so.
        """
        if rule.action == RuleAction.DISCARD and (self.deliveries or self._planned):
            return None
        self.notices += [PlannedNotice(node, rule) for node in rule.notify]
        if rule.action == RuleAction.DISCARD:
            return rule.action
        if rule.action == RuleAction.HOLD and not rule.send:
            return rule.action
        if not rule.only_notifies:
            self.rules.append(rule.name)
        for node in rule.send:
            before = self.deliveries.get(node)
            level, held = rule.priority.level, rule.action == RuleAction.HOLD
            if before is not None:
                level, held = min(level, before.priority), held or before.held
            self.deliveries[node] = PlannedDelivery(node, level, held)
        return None


class SeenFacts:
    """The facts of one object with what is made of them: times in parts, values that compare."""

    def __init__(self, facts: Facts, rules: RuleSet) -> None:
        self._facts = facts
        self._holidays = rules.holidays
        local = facts.get(LOCAL_TIME, ())
        self.local_time = str(local[0]) if local else ""
        self._times: Facts | None = None
        self._comparable: dict[tuple[str, str], list[Any]] = {}  # by form and field

    def values(self, name: str) -> Sequence[Fact]:
        """The values of a field, empty for none."""
        found = self._facts.get(name)
        if found is None and self.local_time and name.startswith("time."):
            if self._times is None:
                self._times = times_of(self.local_time, self._holidays)
            found = self._times.get(name)
        return found or ()

    def comparable(self, test: Test, name: str) -> list[Any]:
        """The values of a field in a form that compares, without those that are no values of its kind.

        Raises TypeError for a fact of another kind than its field.
        """
        key = (test.form, name)
        found = self._comparable.get(key)
        if found is None:
            found = [one for value in self.values(name) if (one := test.canonical(value)) is not None]
            self._comparable[key] = found
        return found

    def items(self, sequence: str) -> range:
        """The numbers of the items of a sequence; of a series or study those of the items of all its objects."""
        if together := self._facts.get(f"{sequence}[*]"):
            return range(FIRST_ITEM, FIRST_ITEM + int(float(together[0])))
        counted = self.values(sequence)
        return range(1, 1 + int(float(counted[0]))) if counted else range(0)


def as_facts(values: Mapping[str, Any]) -> dict[str, tuple[Fact, ...]]:
    """Facts from plain values: single ones or lists, numbers or text.

    What is given for an item of a sequence counts for the number of its items, and for the field in any item.
    """
    facts: dict[str, tuple[Fact, ...]] = {}
    for name, value in values.items():
        many = value if isinstance(value, list | tuple) else [value]
        facts[name] = tuple(float(v) if isinstance(v, int | float) else str(v) for v in many)
    for name in list(facts):
        sequence, bracket, rest = name.partition("[")
        number, _, inner = rest.partition("].")
        if bracket and inner and number.isdecimal():
            counted = facts.get(sequence, (0.0,))[0]
            if sequence not in values:
                facts[sequence] = (max(float(counted), float(number)),)
            if (anywhere := f"{sequence}.{inner}") not in values and "[" not in inner:
                facts[anywhere] = (*facts.get(anywhere, ()), *facts[name])
    return facts


def truth_of(condition: Condition, seen: SeenFacts, marks: list[str], place: Place | None = None) -> Truth:
    """The truth of a condition, as far as it has to be looked at; `marks` gets one for each test."""
    if isinstance(condition, Test):  # first: most are, and this is asked for each of them
        truth = leaf_truth(condition, seen, place)
    elif isinstance(condition, Group):
        return _of_group(condition, seen, marks, place)
    else:
        truth = _in_an_item(condition, seen, place)
    marks.append(MARKS[truth])
    return truth


def _of_group(group: Group, seen: SeenFacts, marks: list[str], place: Place | None) -> Truth:
    if group.kind == "not":
        truth = truth_of(group.members[0], seen, marks, place)
        return None if truth is None else not truth
    decisive, unknown = group.kind == "any", False  # one true decides an `any`, one false an `all`
    for member in group.members:
        truth = truth_of(member, seen, marks, place)
        if truth is decisive:
            return decisive
        unknown = unknown or truth is None
    return None if unknown else not decisive


def _in_an_item(test: ItemTest, seen: SeenFacts, place: Place | None) -> Truth:
    """True if the condition is true for an item, false if it is for none, unknown if there is none at all."""
    sequence = inside(*place, test.sequence) if place else test.sequence
    results = [truth_of(test.condition, seen, [], (sequence, item)) for item in seen.items(sequence)]
    return True if True in results else None if not results or None in results else False


def leaf_truth(test: Test, seen: SeenFacts, place: Place | None) -> Truth:
    """The truth of one test, in an item of a sequence if `place` says so: of any value, each, or how many there are.

    A value that is none of its kind counts as the test says of missing ones, wherever it could decide.
    """
    name = inside(*place, test.field) if place else test.field
    if test.op in PRESENCE:
        return bool(seen.values(name)) is (test.op == "exists")
    if test.values == "count":
        result = bool(test.fits(float(len(seen.values(name)))))
    else:
        comparable = seen.comparable(test, name)
        anyone = test.values == "any"
        if len(comparable) == 1:  # of most fields
            result = bool(test.fits(comparable[0]))
        else:
            result = any(map(test.fits, comparable)) if anyone else all(map(test.fits, comparable))
        # one value decides, whatever the others are
        if result is not anyone and len(comparable) < max(1, len(seen.values(name))):
            return test.missing
    return not result if test.op in NEGATIVE else result
