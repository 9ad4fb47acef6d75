"""Says how the objects of a study were decided on: by which rules, what each test saw, and how far the objects are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from broker.model.lane import parts_of
from broker.routing.rules.completion import Awaited
from broker.routing.rules.ruleset import Level, RuleSet
from broker.routing.rules.tracing import trace
from broker.routing.site import Site, rules_of_version
from broker.store import notices
from broker.store.db.database import Database
from broker.store.images import decisions, gatherings
from broker.store.images.decisions import DecisionGroup
from broker.store.images.gatherings import Gathering, GatheringPhase
from broker.store.notices import NoticeState
from broker.versions.in_force import InForce

Trace = Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedGroup:
    """Objects that met the same rules with the same result. `rules`: those of then; None, without a trace: gone."""

    group: DecisionGroup
    rules: RuleSet | None
    trace: Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedLevel:
    """A series or study that waits or was judged; without a trace until it is judged."""

    gathering: Gathering
    level: Level
    rules: RuleSet | None
    trace: Trace

    @property
    def waits(self) -> str:
        """What keeps an open one from being complete (`Awaited`); nothing of one that is not open."""
        return self.gathering.waits or (Awaited.QUIET if self.gathering.state == GatheringPhase.OPEN else "")


@dataclass(frozen=True, slots=True)
class StudyDelivery:
    """How many objects of a study are in a state (of their jobs) on their way to a node."""

    node: str
    state: str
    objects: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedStudies:
    """All of it, in the order in which things came."""

    groups: Sequence[ExplainedGroup]
    levels: Sequence[ExplainedLevel]
    deliveries: Sequence[StudyDelivery]
    notices: Sequence[NoticeState]

    @property
    def objects(self) -> int:
        """How many there are."""
        return sum(one.group.count for one in self.groups)


def explain_studies(database: Database, site: InForce[Site], studies: Sequence[str]) -> ExplainedStudies:
    """How the objects of some studies (UIDs) were decided on."""
    groups, facts, levels, deliveries, told = database.read(_rows, studies).result()
    return ExplainedStudies(
        groups=[_group(site, group, json.loads(facts.get(group.one) or "{}")) for group in groups],
        levels=[_level(site, one) for one in levels],
        deliveries=[StudyDelivery(parts_of(lane)[1], state, count) for lane, state, count in deliveries],
        notices=told,
    )


def _rows(
    connection: Connection, studies: Sequence[str]
) -> tuple[list[DecisionGroup], dict[int, str], list[Gathering], list[tuple[str, str, int]], list[NoticeState]]:
    """What is stored of the studies: groups, facts of one object of each, levels, deliveries, notices."""
    groups = [group for study in studies for group in decisions.of_study(connection, study)]
    return (
        groups,
        decisions.facts_of(connection, [group.one for group in groups]),
        [one for study in studies for one in gatherings.of_study(connection, study)],
        [one for study in studies for one in decisions.deliveries(connection, study)],
        [one for study in studies for one in notices.of_study(connection, study)],
    )


def _group(site: InForce[Site], group: DecisionGroup, facts: dict[str, Any]) -> ExplainedGroup:
    rules = rules_of_version(site, group.rules_version)
    return ExplainedGroup(group=group, rules=rules, trace=[] if rules is None else trace(rules, facts))


def _level(site: InForce[Site], one: Gathering) -> ExplainedLevel:
    level = Level.SERIES if one.series_instance_uid else Level.STUDY
    rules = rules_of_version(site, one.rules_version) if one.complete else None
    told = [] if rules is None else trace(rules, json.loads(one.facts), level, below=False)
    return ExplainedLevel(gathering=one, level=level, rules=rules, trace=told)
