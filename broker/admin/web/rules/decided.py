"""Puts into words which rules the objects of studies met, with what each test saw. Used by the pages that show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from broker.admin.web.rules.marking import MarkedRule, marked, marked_level
from broker.admin.web.words import Sentence
from broker.exams.traffic import DELIVERED, NOTIFIED, RECEIVED
from broker.model.lane import JobState
from broker.routing.hindsight.explaining import ExplainedGroup, ExplainedLevel, ExplainedStudies, StudyDelivery
from broker.routing.rules.completion import Awaited
from broker.routing.rules.ruleset import Level
from broker.status.causes import reason as cause_words
from broker.store.images.gatherings import GatheringPhase
from broker.store.images.instances import InstanceState
from broker.store.notices import NoticeState

AWAITED: dict[str, Sentence] = {
    Awaited.QUIET: Sentence("It waits until no further object has come for a while."),
    Awaited.PERFORMED: Sentence("It waits for objects that the modality reported."),
    Awaited.ORDER: Sentence("It waits for as many objects as the order names."),
    Awaited.REQUIRED: Sentence("It waits for a series that it must have."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedGroup:
    """Objects with the same decision. `rules` is None where the rules of that version are gone."""

    tone: str
    words: Sentence
    why: Sentence | None
    first_at: float
    last_at: float
    version: int
    rules: Sequence[MarkedRule] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedLevel:
    """A series or study. `waits`: what an open one waits for; `rules` is None until it is judged."""

    title: Sentence
    objects: int
    waits: Sentence | None
    due_at: float
    sent_to: Sequence[str]
    version: int
    rules: Sequence[MarkedRule] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedStudies:
    """What rules did with the objects of some studies, in the order in which they came."""

    groups: Sequence[DecidedGroup] = ()
    levels: Sequence[DecidedLevel] = ()
    deliveries: Sequence[tuple[str, Sentence]] = ()
    notices: Sequence[tuple[str, Sentence]] = ()


NOTHING_DECIDED = DecidedStudies()


def decided(found: ExplainedStudies) -> DecidedStudies:
    """The same in words."""
    return DecidedStudies(
        groups=[_group(one) for one in found.groups],
        levels=[_level(one) for one in found.levels],
        deliveries=[_delivery(one) for one in found.deliveries],
        notices=[_notice(one) for one in found.notices],
    )


def _group(explained: ExplainedGroup) -> DecidedGroup:
    group = explained.group
    tone, words = RECEIVED.get(group.state, RECEIVED[InstanceState.ROUTED])
    return DecidedGroup(
        tone=tone,
        words=replace(words, values={"n": group.count, "device": group.calling_ae}),
        why=cause_words(group.reason) if group.reason else None,
        first_at=group.first_at,
        last_at=group.last_at,
        version=group.rules_version,
        rules=None if explained.rules is None else marked(explained.rules, explained.trace),
    )


def _level(explained: ExplainedLevel) -> DecidedLevel:
    one = explained.gathering
    series = {"series": one.series_instance_uid}
    return DecidedLevel(
        title=Sentence("Series %(series)s", series) if explained.level is Level.SERIES else Sentence("The whole study"),
        objects=one.instances,
        waits=AWAITED.get(explained.waits) if one.state == GatheringPhase.OPEN else None,
        due_at=one.due_at,
        sent_to=sorted(one.had),
        version=one.rules_version,
        rules=None if explained.rules is None else marked_level(explained.rules, explained.trace),
    )


def _delivery(one: StudyDelivery) -> tuple[str, Sentence]:
    tone, words = DELIVERED.get(one.state, DELIVERED[JobState.READY])
    return tone, replace(words, values={"n": one.objects, "node": one.node})


def _notice(one: NoticeState) -> tuple[str, Sentence]:
    tone, words = NOTIFIED.get(one.state, NOTIFIED[JobState.READY])
    return tone, replace(words, values={"rule": one.rule, "node": one.node})
