"""Judges a series or study that is due: is it complete, what do the rules of its level say, who gets its objects.

The work is linear in the objects: they are read once for the facts, and once more, a page at a time, when the decision
is carried out. The decision is committed before it is carried out, so that a start after a crash goes on where it was.
An object that comes meanwhile makes it be judged again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from broker import telemetry
from broker.model.performed import PerformedStatus
from broker.mpps import meaning
from broker.mpps.attributes import SERIES
from broker.orders.core import lifecycle
from broker.routing.levels.applying import JudgedRound
from broker.routing.levels.carrying_out import LEASE, LevelWork, carry_out
from broker.routing.levels.gathering import policy_of
from broker.routing.levels.reading import FactsGone, GatheredFacts
from broker.routing.levels.study_facts import Found, TooManyValues, counted
from broker.routing.order_facts import order_facts
from broker.routing.rules.completion import (
    SETTLE,
    AtMost,
    Awaited,
    Completed,
    CompletionVerdict,
    GatheringState,
    PerformedObjects,
    lacking,
    look,
)
from broker.routing.rules.levels import LevelDecision, decide_level, kept_decision, kept_marks
from broker.routing.rules.ruleset import Level, RuleSet
from broker.store.images import gathered, gatherings
from broker.store.images.gatherings import Gathering, GatheringPhase
from broker.store.images.instances import InstanceState
from broker.store.mpps import objects, performed_steps

INCOMPLETE = "not-complete"  # why objects are held whose study was not complete at the cap


@dataclass(frozen=True, slots=True)
class _Seen:
    """The objects of a gathering (rows), and its facts. `late`: some came after it was judged. `error`: a code."""

    rows: Sequence[int]
    facts: Found
    late: bool
    error: str = ""


def judge(work: LevelWork, gathering: Gathering, because: Completed | None = None) -> bool:
    """Judge a gathering that was taken, or put it off; True if it was judged. `because`: it is complete, and why.

    Raises StoreUnavailable.
    """
    rules = work.rules()
    level = Level.SERIES if gathering.series_instance_uid else Level.STUDY
    if gathering.state == GatheringPhase.JUDGED:
        if gathering.rules_version != rules.version:
            work.pace.alone(gatherings.reopen, gathering, work.clock())
            return False
        return _resume(work, gathering, rules, level)
    now = work.clock()
    verdict, expected = _verdict(work, gathering, rules, level, now, because)
    if verdict.complete is None:
        work.pace.alone(gatherings.put_off, gathering, verdict.due_at, verdict.waits, expected)
        return False
    complete = verdict.complete
    facts = GatheredFacts(work.pace, work.database, work.files, rules)
    seen = _look_at(work, gathering, facts, level, complete, now)
    free = gathering.judged_at is not None or complete in (Completed.CAP, Completed.PERSON)
    if level is Level.STUDY and not free and lacking(rules.completion.required, seen.facts):
        cap = gathering.opened_at + policy_of(rules, level).most
        work.pace.alone(gatherings.put_off, gathering, cap, Awaited.REQUIRED, None)
        return False
    if level is Level.STUDY and not _judge_series(work, gathering.study_instance_uid):
        work.pace.alone(gatherings.put_off, gathering, now + SETTLE, Awaited.QUIET, None)
        return False
    decision = _decided(rules, seen, level, complete, gathering)
    trace, told = json.dumps(kept_marks(decision)), json.dumps(seen.facts, ensure_ascii=False)
    if not work.pace.alone(gatherings.judge, gathering, complete, rules.version, trace, told):
        return False
    telemetry.logger().info("study.judged", kind=level.value, reason=complete.value, count=len(seen.rows))
    judged = replace(gathering, state=GatheringPhase.JUDGED, complete=complete, applied_to=0)
    carry_out(work, judged, _round(judged, rules, level, decision, seen.late), facts, seen.rows)
    return True


def _judge_series(work: LevelWork, study: str) -> bool:
    """The series of a complete study are complete, and are judged before it. False if one could not be."""
    for series in work.pace.read(gatherings.open_series, study):
        for _ in range(2):  # one whose decision was not carried out is opened first if the rules have changed
            taken = work.pace.alone(gatherings.take_one, study, series, work.clock() + LEASE)
            if taken is None or judge(work, taken, Completed.STUDY):
                break
        else:
            return False
    return True


def _verdict(
    work: LevelWork, gathering: Gathering, rules: RuleSet, level: Level, now: float, because: Completed | None
) -> tuple[CompletionVerdict, int | None]:
    """Whether it is complete, and with how many objects it may be."""
    if because is None and gathering.person:
        because = Completed.PERSON
    if because is not None:
        return CompletionVerdict(complete=because), None
    policy = policy_of(rules, level)
    late = gathering.judged_at is not None
    performed = PerformedObjects()
    if "mpps" in policy.expected and not late:
        performed = work.pace.read(performed_objects, gathering.study_instance_uid, gathering.series_instance_uid)
    state = GatheringState(
        opened_at=gathering.opened_at,
        last_at=gathering.last_at,
        ended=policy.association_end and gathering.ended == gathering.arrived,
        late=late,
        performed=performed,
        order_open="order" in policy.expected and not late and _order_open(work, gathering),
    )
    expected = gathering.instances + performed.missing if performed.missing else None
    return look(policy, state, now), expected


def performed_objects(connection: Connection, study: str, series: str) -> PerformedObjects:
    """What the performed procedure steps of a study say of it, or of one of its series."""
    open_, listed = 0, set[str]()
    for row, status in gathered.performed(connection, study):
        if status == PerformedStatus.IN_PROGRESS:
            open_ += 1
        elif (step := performed_steps.load(connection, row)) is not None:
            every = step.document.get(SERIES, [])
            mine = [one for one in every if not series or one.get("SeriesInstanceUID") == series]
            listed |= set(meaning.objects({SERIES: mine}))
    missing = len(listed) - objects.here(connection, listed) if listed and not open_ else 0
    return PerformedObjects(open=open_, listed=len(listed), missing=missing)


def _order_open(work: LevelWork, gathering: Gathering) -> bool:
    """A step of the order of the first object is not over."""
    rows = work.pace.read(gathered.rows, gathering.study_instance_uid, gathering.series_instance_uid)
    first = work.pace.read(gathered.load, rows[:1])
    if not first:
        return False
    order = work.pace.read(order_facts, json.loads(first[0].facts or "{}"))
    return any(status in lifecycle.OPEN for status in order.get("order.status", ()))


def _look_at(
    work: LevelWork, gathering: Gathering, facts: GatheredFacts, level: Level, complete: Completed, now: float
) -> _Seen:
    """Read the objects and join their facts."""
    study, series = gathering.study_instance_uid, gathering.series_instance_uid
    rows = work.pace.read(gathered.rows, study, series)
    uids: set[str] = set()
    late, error = bool(gathering.again), ""
    try:
        for page in facts.pages(rows):
            for one, found in facts.read(page):
                uids.add(one.sop_instance_uid)
                late = late or (one.id > gathering.judged_to and one.state == InstanceState.WAITING)
                facts.union.add(found)
    except (FactsGone, TooManyValues) as problem:
        error = f"rule-error:{type(problem).__name__}"
    made = facts.union.facts()
    if level is Level.STUDY:
        made |= counted(made, len(uids))
        first_at = gathering.first_at
    else:
        first_at = _of_series(work, study, made, len(uids)) or gathering.first_at
    made |= {"study.age": (max(0.0, now - first_at),), "study.complete": (complete.value,)}
    return _Seen(rows, made, late and gathering.judged_at is not None, error)


def _of_series(work: LevelWork, study: str, made: Found, count: int) -> float | None:
    """Complete the facts of a series by what is known of its study; when the first object of that came."""
    series, instances = work.pace.read(gatherings.in_series, study)
    made["series.instances"] = (float(count),)
    made["study.series"], made["study.instances"] = (float(series),), (float(instances),)
    first: float | None = work.pace.read(gatherings.first_at, study)
    return first


def _decided(rules: RuleSet, seen: _Seen, level: Level, complete: Completed, gathering: Gathering) -> LevelDecision:
    if seen.error:
        return LevelDecision((), (), seen.error)
    late = gathering.judged_at is not None
    if complete is Completed.CAP and policy_of(rules, level).at_most is AtMost.HOLD and not late:
        return LevelDecision((), (), INCOMPLETE)
    return decide_level(rules, seen.facts, level)


def _round(gathering: Gathering, rules: RuleSet, level: Level, decision: LevelDecision, late: bool) -> JudgedRound:
    judged_at = gathering.judged_at
    return JudgedRound(
        rules=rules,
        level=level,
        decision=decision,
        had=None if judged_at is None else gathering.had,
        judged_to=gathering.judged_to,
        since=0.0 if judged_at is None else max(0.0, gathering.last_at - judged_at),
        late=late,
        person=bool(gathering.person),
    )


def _resume(work: LevelWork, gathering: Gathering, rules: RuleSet, level: Level) -> bool:
    """Go on with a decision that was not carried out to its end."""
    facts = GatheredFacts(work.pace, work.database, work.files, rules)
    decision = kept_decision(gathering.outcomes)
    rows = work.pace.read(gathered.rows, gathering.study_instance_uid, gathering.series_instance_uid)
    late = gathering.judged_at is not None and not gathering.person
    carry_out(work, gathering, _round(gathering, rules, level, decision, late), facts, rows)
    return True
