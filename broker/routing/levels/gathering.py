"""Lets an object join its series and study, where a rule of their level is in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from broker.routing.rules.completion import SETTLE, CompletionPolicy
from broker.routing.rules.evaluate import RoutingDecision
from broker.routing.rules.ruleset import Level, RuleAction, RuleSet
from broker.store.images import gatherings
from broker.store.images.gatherings import Arrival
from broker.store.images.instances import InstanceState

NO_STUDY = "no-study"  # why an object is held that would wait for a study or series which it does not name
STATES = {
    RuleAction.SEND: InstanceState.ROUTED,
    RuleAction.HOLD: InstanceState.HELD,
    RuleAction.DISCARD: InstanceState.DISCARDED,
}


@dataclass(frozen=True, slots=True)
class Joining:
    """Part of the transaction of one object. `again`: a destination gets the whole study again."""

    arrivals: Sequence[Arrival]
    again: bool

    def arrived(self, connection: Connection) -> None:
        """The object is new, or waits again."""
        for arrival in self.arrivals:
            gatherings.arrived(connection, arrival)

    def came_again(self, connection: Connection) -> None:
        """The object is known with these bytes."""
        for arrival in self.arrivals:
            gatherings.came_again(connection, arrival, again=self.again)


NOTHING = Joining((), again=False)  # no rule has a level, or the object names no study


def policy_of(rules: RuleSet, level: Level) -> CompletionPolicy:
    """When a series or study is complete."""
    return rules.completion.series if level is Level.SERIES else rules.completion.study


def joining(rules: RuleSet, study: str, series: str, at: float) -> Joining:
    """What an object received at a time (s since the epoch) joins."""
    if not rules.levels or not study:
        return NOTHING
    named = {Level.SERIES: series, Level.STUDY: ""}
    arrivals = []
    for level in (Level.SERIES, Level.STUDY):
        if level in rules.levels and (level is Level.STUDY or series):
            policy = policy_of(rules, level)
            arrivals.append(
                Arrival(
                    study=study,
                    series=named[level],
                    at=at,
                    quiet_at=at + policy.quiet,
                    settled_at=at + SETTLE,
                    most=policy.most,
                )
            )
    return Joining(tuple(arrivals), rules.completion.again)


def state_of(decision: RoutingDecision, study: str, series: str) -> tuple[InstanceState, str]:
    """The state of an object by what the rules of its own level decided, and the reason."""
    if not decision.waits:
        return STATES[decision.action], decision.reason
    if not study or (not series and Level.SERIES in decision.waits):
        return InstanceState.HELD, NO_STUDY
    return InstanceState.WAITING, decision.reason
