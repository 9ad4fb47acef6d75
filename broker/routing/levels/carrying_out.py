"""Carries out what was decided about a series or study: its objects leave, some in each transaction.

The gathering notes the last object that is done, in the same transaction, and stays taken. After a crash the next who
takes it goes on behind that object.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from broker.routing.levels.applying import JudgedRound, ObjectOutcome, Own, failed, nodes_of, outcome, touches
from broker.routing.levels.reading import GatheredFacts
from broker.routing.notifying import notices_of
from broker.routing.recording import enqueue_deliveries, lacking, lane_of
from broker.routing.rules.evaluate import PlannedDelivery
from broker.routing.rules.ruleset import RuleSet
from broker.store import notices
from broker.store.db.database import Database
from broker.store.db.pace import Pace
from broker.store.images import gathered, gatherings
from broker.store.images.gathered import GatheredObject
from broker.store.images.gatherings import Gathering
from broker.store.images.instances import InstanceState
from broker.store.notices import NewNotice

LEASE = 60.0  # seconds for which a gathering is taken


class TakenByOther(Exception):
    """Somebody else took the gathering: what was not carried out is theirs."""


@dataclass(frozen=True, slots=True)
class LevelWork:
    """What series and studies are judged with. `files` is the spool folder, `rules` are those in force just then.

    `wake` wakes the queue; `clock` gives seconds since the epoch. Once the pace has stopped nothing new begins.
    """

    database: Database
    pace: Pace
    files: Path
    rules: Callable[[], RuleSet]
    wake: Callable[[], None]
    clock: Callable[[], float] = time.time


def carry_out(
    work: LevelWork, gathering: Gathering, judged: JudgedRound, facts: GatheredFacts, rows: Sequence[int]
) -> None:
    """Do what was decided with each object, some in each transaction."""
    detail: dict[str, object] = {
        "rules_version": judged.rules.version,
        "level": judged.level.value,
        "complete": gathering.complete,
    }

    def unit(connection: Connection, part: Sequence[tuple[GatheredObject, ObjectOutcome]]) -> bool:
        now = work.clock()
        sent, ours = _written(connection, part, gathering, detail, now)
        acted = [(one, done) for one, done in part if done.notices and one.id in ours]
        return bool(acted and _told(connection, acted, gathering, judged.rules.version, now)) or sent

    sent = False
    for page in facts.pages([row for row in rows if row > gathering.applied_to]):
        found = [(one, outcome(one, _own(facts, one, judged), judged)) for one in page]
        try:
            sent = any(list(work.pace.write(unit, found))) or sent
        except TakenByOther:
            return
        if work.pace.stopped:
            return
    nodes = [*gathering.had, *nodes_of(judged)]
    last = max((gathering.judged_to, *rows[-1:]))
    work.pace.alone(gatherings.finish, gathering, work.clock(), last, sorted(set(nodes)))
    if sent:
        work.wake()


def _own(facts: GatheredFacts, one: GatheredObject, judged: JudgedRound) -> Own:
    """What its own rules mean for an object, as far as anything is to be done with it."""
    if not touches(one, judged):
        return Own()
    if not facts.met_other(one):
        return facts.own(one, None)
    try:
        ((_, seen),) = facts.read([one])
        return facts.own(one, seen)
    except ValueError as problem:  # its bytes are gone, or a study has too many orders
        return Own(cut=0, decision=failed(problem))


def _written(
    connection: Connection,
    part: Sequence[tuple[GatheredObject, ObjectOutcome]],
    gathering: Gathering,
    detail: dict[str, object],
    now: float,
) -> tuple[bool, set[int]]:
    """Part of a transaction: what becomes of some objects.

    True if there is work for the queue; and the objects (rows) that were ours to decide about.
    """
    leaving: dict[tuple[InstanceState, str], list[int]] = {}
    for one, done in part:
        if done.state is not None:
            leaving.setdefault((done.state, done.reason), []).append(one.id)
    ours: set[int] = set()
    for (state, reason), rows in leaving.items():
        ours |= gathered.leave(connection, rows, state, reason, now)
    if others := [one.id for one, done in part if done.state is None and not done.idle]:
        ours |= gathered.still_routed(connection, others)
    again: dict[str, list[int]] = {}
    work = 0
    for one, done in part:
        if one.id not in ours:
            continue
        told = detail | {"rules": list(done.rules)}
        deliveries: Sequence[PlannedDelivery] = done.deliveries
        if one.version > 1 and deliveries and not done.whole:
            deliveries = lacking(connection, one.id, one.sop_instance_uid, deliveries)
        if deliveries:
            enqueue_deliveries(connection, one.id, one.sop_instance_uid, deliveries, told, now)
        for node in done.again:
            again.setdefault(node, []).append(one.id)
        work += len(done.deliveries)
    for node, rows in again.items():
        work += gathered.send_again(connection, lane_of(node), rows, now)
    if not gatherings.applied(connection, gathering, part[-1][0].id, now + LEASE):
        raise TakenByOther
    return work > 0, ours


def _told(
    connection: Connection,
    acted: Sequence[tuple[GatheredObject, ObjectOutcome]],
    gathering: Gathering,
    version: int,
    now: float,
) -> int:
    """Part of a transaction: who is told of what became of some objects; how many notices are new."""
    study = gathering.study_instance_uid
    new: dict[tuple[str, str, str], NewNotice] = {}
    for one, done in acted:
        planned = [each for each in done.notices if (each.node, each.rule.name, study) not in new]
        if planned:
            facts = json.loads(one.facts or "{}")
            made = notices_of(planned, study, one.sop_instance_uid, facts, version, now)
            new |= {notice.key: notice for notice in made}
    return notices.enqueue(connection, new.values(), now)
