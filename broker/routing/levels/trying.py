"""Says what rules do with the objects of a study, as if all had come before it was judged. Pure but for the order.

Trials and replays are made of it, by the functions that judge what comes in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from broker.routing.levels.applying import JudgedRound, ObjectOutcome, Own, outcome
from broker.routing.levels.gathering import NO_STUDY, policy_of, state_of
from broker.routing.levels.study_facts import FactUnion, Found, TooManyValues, counted
from broker.routing.order_facts import MATCHING_FIELDS
from broker.routing.rules.completion import Completed
from broker.routing.rules.evaluate import Facts, PlannedDelivery, PlannedNotice, RoutingDecision, decide
from broker.routing.rules.levels import LevelDecision, decide_level
from broker.routing.rules.ruleset import Fact, Level, RuleAction, RuleSet, fields_of
from broker.routing.rules.tracing import trace
from broker.store.images.gathered import GatheredObject
from broker.store.images.instances import InstanceState

Order = Callable[[Facts], Facts]
_ACTIONS = {
    InstanceState.ROUTED: RuleAction.SEND,
    InstanceState.HELD: RuleAction.HOLD,
    InstanceState.DISCARDED: RuleAction.DISCARD,
}


@dataclass(slots=True)
class TriedObject:
    """An object with what its own rules decide, and what becomes of it in the end."""

    facts: Facts
    own: RoutingDecision
    action: RuleAction
    reason: str
    deliveries: tuple[PlannedDelivery, ...]
    rules: tuple[str, ...]
    waits: frozenset[Level]
    notices: tuple[PlannedNotice, ...]


@dataclass(frozen=True, slots=True)
class TriedLevel:
    """The judgement of a complete series or study; `series` is empty for the study."""

    level: Level
    series: str
    facts: Found
    decision: LevelDecision
    trace: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class TriedStudy:
    """What rules do with the objects of a study, in their order."""

    objects: list[TriedObject]
    levels: list[TriedLevel]


def try_study(
    rules: RuleSet, objects: Sequence[Facts], order: Order | None, given: Facts, *, told: bool = True
) -> TriedStudy:
    """Judge the objects of one study (blocking if `order` looks orders up).

    `given`: facts of the study that count for what its objects do not tell, such as why it is complete. Without `told`
    no traces are made.
    """
    study = _StudyTrial(rules, order, {name: tuple(values) for name, values in given.items()}, told=told)
    tried = [study.own(facts) for facts in objects]
    levels: list[TriedLevel] = []
    by_series: dict[str, list[TriedObject]] = {}
    for one in tried:
        by_series.setdefault(_text(one.facts, "tag.SeriesInstanceUID"), []).append(one)
    for series, members in by_series.items():
        if any(Level.SERIES in one.waits for one in members):
            levels.append(study.judge(Level.SERIES, series, members, tried))
    if any(Level.STUDY in one.waits for one in tried):
        levels.append(study.judge(Level.STUDY, "", tried, tried))
    return TriedStudy(tried, levels)


class _StudyTrial:
    def __init__(self, rules: RuleSet, order: Order | None, given: Found, *, told: bool) -> None:
        self._rules = rules
        self._order = order
        self._orders: dict[tuple[tuple[Fact, ...], ...], Facts] = {}
        self._given = given
        self._told = told
        self._fields = fields_of(rules)

    def own(self, facts: Facts) -> TriedObject:
        """What the rules of its own level decide of an object."""
        facts = {**self._order_of(facts), **facts}
        decision = decide(self._rules, facts)
        study, series = (_text(facts, f"tag.{name}InstanceUID") for name in ("Study", "Series"))
        _, reason = state_of(decision, study, series)
        held = reason == NO_STUDY
        return TriedObject(
            facts=facts,
            own=decision,
            action=RuleAction.HOLD if held else decision.action,
            reason=reason,
            deliveries=decision.deliveries,
            rules=decision.rules,
            waits=frozenset() if held else decision.waits,
            notices=decision.notices,
        )

    def _order_of(self, facts: Facts) -> Facts:
        """The facts of the order of an object, looked up once for all that have the same keys."""
        if self._order is None:
            return {}
        key = tuple(tuple(facts.get(name, ())) for name in sorted(MATCHING_FIELDS))
        if key not in self._orders:
            self._orders[key] = self._order(facts)
        return self._orders[key]

    def judge(
        self, level: Level, series: str, members: Sequence[TriedObject], everything: Sequence[TriedObject]
    ) -> TriedLevel:
        """Judge a series or the study, and let its objects go on."""
        error, found = "", FactUnion(self._fields, self._order)
        try:
            for one in members:
                found.add(one.facts)
        except TooManyValues as problem:
            error = f"rule-error:{type(problem).__name__}"
        facts = found.facts()
        if level is Level.STUDY:
            facts |= counted(facts, len({_text(one.facts, "tag.SOPInstanceUID") or id(one) for one in members}))
        else:
            all_series = {_text(one.facts, "tag.SeriesInstanceUID") for one in everything} - {""}
            facts |= {"series.instances": (float(len(members)),), "study.series": (float(len(all_series)),)}
            facts["study.instances"] = (float(len(everything)),)
        quiet = policy_of(self._rules, level).quiet
        facts |= {"study.age": (quiet,), "study.complete": (Completed.QUIET.value,)}
        facts |= self._given
        decision = LevelDecision((), (), error) if error else decide_level(self._rules, facts, level)
        judged = JudgedRound(rules=self._rules, level=level, decision=decision)
        for one in members:
            if level in one.waits:
                _go_on(one, judged)
        told = trace(self._rules, facts, level, below=False) if self._told else []
        return TriedLevel(level, series, facts, decision, told)


def _go_on(one: TriedObject, judged: JudgedRound) -> None:
    row = GatheredObject(
        id=1,
        sop_instance_uid="",
        version=1,
        state=InstanceState.WAITING,
        reason="",
        received_at=0.0,
        rules_version=0,
        trace="[]",
        facts="{}",
        planned=bool(one.deliveries),
    )
    done: ObjectOutcome = outcome(row, Own(cut=len(one.own.outcomes), waits=one.waits), judged)
    state = done.state or InstanceState.WAITING
    one.deliveries = _both(one.deliveries, done.deliveries)
    one.rules = tuple(dict.fromkeys((*one.rules, *done.rules)))
    one.notices = (*one.notices, *done.notices)
    one.reason = done.reason
    one.waits = one.waits - {judged.level} if state == InstanceState.WAITING else frozenset()
    if state != InstanceState.WAITING:
        one.action = _ACTIONS[state]


def _both(before: tuple[PlannedDelivery, ...], more: tuple[PlannedDelivery, ...]) -> tuple[PlannedDelivery, ...]:
    """What was planned first stays as it is: a delivery is made once."""
    had = {delivery.node for delivery in before}
    return (*before, *(delivery for delivery in more if delivery.node not in had))


def _text(facts: Facts, name: str) -> str:
    values = facts.get(name, ())
    return str(values[0]) if values else ""
