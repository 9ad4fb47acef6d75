"""Says what the decision about a series or study means for one of its objects. Pure: no clock, no database.

An object that waited goes where the rules of its own level and of this one send it. If the series or study was judged
before, the object came late: each destination that has the rest gets of it what its policy says. A destination that no
rule named before gets all objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from broker.routing.levels.gathering import STATES
from broker.routing.rules.completion import LateImages
from broker.routing.rules.evaluate import PlannedDelivery, PlannedNotice, RoutingDecision, by_default, waiting_for
from broker.routing.rules.levels import ALL, LevelDecision, for_object
from broker.routing.rules.ruleset import Level, RuleAction, RuleSet
from broker.store.images.gathered import GatheredObject
from broker.store.images.instances import InstanceState

CAME_LATE = "came-late"  # why an object is held that no destination wants, since it came after its study was judged


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedRound:
    """A decision that is carried out. `had`: the nodes that got it in an earlier round; None in the first one.

    `judged_to`: the row of the last object of the earlier rounds. `since`: seconds from the first judgement to the last
    arrival. `late`: something has come since. `person`: a person lets objects go, so that none counts as late.
    """

    rules: RuleSet
    level: Level
    decision: LevelDecision
    had: frozenset[str] | None = None
    judged_to: int = 0
    since: float = 0.0
    late: bool = False
    person: bool = False

    def policy(self, node: str) -> LateImages:
        """What a destination that has the rest gets of late images."""
        return self.rules.completion.late_of(node).at(self.since)


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What the rules of its own level mean for an object by the rules in force.

    `cut`: how many rules of the list count for it. `waits`: the levels it waits for. `decision`: made anew, since it
    met other rules when it came; None if it did not.
    """

    cut: int = ALL
    waits: frozenset[Level] = frozenset()
    decision: RoutingDecision | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectOutcome:
    """What becomes of an object. `state` is None if it stays as it is; `again`: nodes that get it once more.

    `whole`: a destination gets the whole study again, bytes that it has included. `notices`: who is told of it, unless
    they were told before.
    """

    state: InstanceState | None
    reason: str = ""
    deliveries: tuple[PlannedDelivery, ...] = ()
    rules: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    whole: bool = False
    notices: tuple[PlannedNotice, ...] = ()

    @property
    def idle(self) -> bool:
        """Nothing is to be done."""
        return self.state is None and not self.deliveries and not self.again and not self.notices


def touches(one: GatheredObject, judged: JudgedRound) -> bool:
    """Something may become of an object."""
    if one.state == InstanceState.WAITING:
        return True
    return one.state == InstanceState.ROUTED and judged.had is not None and judged.late


def failed(problem: ValueError) -> RoutingDecision:
    """An object of which too little is known is held."""
    return RoutingDecision(RuleAction.HOLD, (), (), f"rule-error:{type(problem).__name__}")


def outcome(one: GatheredObject, own: Own, judged: JudgedRound) -> ObjectOutcome:
    """What becomes of an object of a series or study."""
    if one.state == InstanceState.WAITING:
        return _of_waiting(one, own, judged)
    if touches(one, judged) and judged.had is not None:
        return _of_routed(own, judged, judged.had)
    return ObjectOutcome(state=None)


def _of_waiting(one: GatheredObject, own: Own, judged: JudgedRound) -> ObjectOutcome:
    anew = own.decision if own.decision is not None and not own.decision.unmatched else None
    told = _told_anew(one, own)
    if anew is not None and anew.action == RuleAction.HOLD:
        return ObjectOutcome(state=InstanceState.HELD, reason=anew.reason, rules=anew.rules, notices=told)
    if anew is not None and anew.action == RuleAction.DISCARD and not one.planned:
        return ObjectOutcome(state=InstanceState.DISCARDED, reason=anew.reason, rules=anew.rules, notices=told)
    mine = anew.deliveries if anew is not None else ()
    planned = one.planned or bool(mine)
    decision = for_object(judged.rules, judged.decision, own.cut, planned=planned)
    told = (*told, *decision.notices)
    if decision.action != RuleAction.SEND:
        return ObjectOutcome(state=STATES[decision.action], reason=decision.reason, rules=decision.rules, notices=told)
    wanted = [delivery for delivery in decision.deliveries if _wants(one, delivery.node, judged)]
    deliveries = _together(mine, wanted)
    names = tuple(dict.fromkeys((*(anew.rules if anew is not None else ()), *decision.rules)))
    rest = frozenset(level for level in own.waits if level.depth > judged.level.depth)
    if rest:
        return ObjectOutcome(
            state=InstanceState.WAITING, reason=waiting_for(rest), deliveries=deliveries, rules=names, notices=told
        )
    if deliveries or planned:
        whole = judged.late and any(judged.policy(delivery.node) == LateImages.ALL for delivery in wanted)
        return ObjectOutcome(state=InstanceState.ROUTED, deliveries=deliveries, rules=names, whole=whole, notices=told)
    if decision.deliveries:
        return ObjectOutcome(state=InstanceState.HELD, reason=CAME_LATE, rules=names, notices=told)
    default = by_default(judged.rules)
    return ObjectOutcome(
        state=STATES[default.action],
        reason=default.reason,
        deliveries=default.deliveries,
        rules=default.rules,
        notices=told,
    )


def _told_anew(one: GatheredObject, own: Own) -> tuple[PlannedNotice, ...]:
    """What the rules of its own level tell that it met only now. A discard does not act on what was planned before."""
    notices = own.decision.notices if own.decision is not None else ()
    return tuple(notice for notice in notices if not one.planned or notice.rule.action != RuleAction.DISCARD)


def _wants(one: GatheredObject, node: str, judged: JudgedRound) -> bool:
    """A node gets an object that waited."""
    if judged.had is None or node not in judged.had or one.id <= judged.judged_to or judged.person:
        return True
    policy = judged.policy(node)
    return policy in (LateImages.ALL, LateImages.UPDATES) or (policy == LateImages.NEW and one.version == 1)


def _of_routed(own: Own, judged: JudgedRound, had: frozenset[str]) -> ObjectOutcome:
    """An object of an earlier round: for destinations that no rule named then, and those that get all again."""
    decision = for_object(judged.rules, judged.decision, own.cut, planned=True)
    if decision.action != RuleAction.SEND:
        return ObjectOutcome(state=None)  # what was sent is not recalled
    new = tuple(delivery for delivery in decision.deliveries if delivery.node not in had)
    again = tuple(
        delivery.node
        for delivery in decision.deliveries
        if delivery.node in had and judged.policy(delivery.node) == LateImages.ALL
    )
    return ObjectOutcome(state=None, deliveries=new, rules=decision.rules, again=again, notices=decision.notices)


def _together(*parts: tuple[PlannedDelivery, ...] | list[PlannedDelivery]) -> tuple[PlannedDelivery, ...]:
    """One delivery for each node: as urgent as the most urgent, held if one is."""
    found: dict[str, PlannedDelivery] = {}
    for delivery in (one for part in parts for one in part):
        before = found.get(delivery.node, delivery)
        found[delivery.node] = PlannedDelivery(
            delivery.node, min(delivery.priority, before.priority), delivery.held or before.held
        )
    return tuple(found.values())


def nodes_of(judged: JudgedRound) -> Mapping[str, None]:
    """All nodes that the rules of its level name, in their order."""
    return dict.fromkeys(node for place in judged.decision.matched for node in judged.rules.rules[place].send)
