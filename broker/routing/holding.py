"""Does with objects that wait for a person what the person decided, and notes each in the audit trail.

An object that is held or was discarded can be routed again by today's rules or sent to chosen nodes. So can one that
waits for its series or study: that counts as complete then. A held one can be discarded, and a discard can be undone as
long as the bytes are kept. Each function is part of a transaction.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection

from broker.routing.levels.gathering import joining, state_of
from broker.routing.notifying import notices_of
from broker.routing.recording import enqueue_deliveries
from broker.routing.rejudging import Judged
from broker.routing.rules.evaluate import PlannedDelivery
from broker.routing.rules.ruleset import RuleSet, Urgency
from broker.store import notices
from broker.store.audit.adding import add_audit
from broker.store.images import gatherings, held_objects
from broker.store.images.instances import InstanceState

DISCARDED_BY_PERSON, DISCARD_UNDONE = "discarded-by-person", "discard-undone"


class Ending(StrEnum):
    """Says what became of an object that a person decided about."""

    ROUTED = "routed"  # deliveries were enqueued
    HELD = "held"  # it waits still: no rule matched, or one holds it
    DISCARDED = "discarded"
    WAITING = "waiting"  # it joined its series or study, which is judged next
    PURGED = "purged"  # its bytes were deleted just now
    GONE = "gone"  # its bytes are missing, or were deleted before
    CHANGED = "changed"  # somebody else decided meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class Deciding:
    """Who decides, when (s since the epoch), from where, and why."""

    actor: str
    at: float
    address: str = ""
    reason: str = ""

    def note(self, connection: Connection, action: str, row: int, **more: object) -> None:
        """Leave a row in the audit trail about an object."""
        detail = ({"reason": self.reason} if self.reason else {}) | more
        add_audit(connection, self.at, self.actor, action, "objects", row, detail, address=self.address)


def route(connection: Connection, judged: Judged, rules: RuleSet, who: Deciding) -> Ending:
    """Let an object go the way that rules decided. What waits for its series or study lets these be judged."""
    held, decision = judged.held, judged.decision
    if decision is None:
        return Ending.GONE
    state, reason = state_of(decision, held.study_instance_uid, held.series_instance_uid)
    if not held_objects.change(connection, held.id, [InstanceState(held.state)], state, reason, who.at):
        return Ending.CHANGED
    outcomes = json.dumps(decision.outcomes)
    held_objects.judged(connection, held.id, rules.version, outcomes, json.dumps(judged.facts, ensure_ascii=False))
    detail: dict[str, object] = {"rules": list(decision.rules), "rules_version": rules.version}
    enqueue_deliveries(connection, held.id, held.sop_instance_uid, decision.deliveries, detail, who.at)
    if decision.notices:
        study, sop = held.study_instance_uid, held.sop_instance_uid
        told = notices_of(decision.notices, study, sop, judged.facts, rules.version, who.at)
        notices.enqueue(connection, told, who.at)
    if state == InstanceState.WAITING:
        whole = held.state == InstanceState.WAITING  # a person says that nothing more comes
        for arrival in joining(rules, held.study_instance_uid, held.series_instance_uid, who.at).arrivals:
            gatherings.let_go(connection, arrival.study, arrival.series, who.at, whole=whole)
    who.note(connection, "objects.rerouted", held.id, to=list(decision.destinations), **detail)
    return Ending(state.value)


def send(connection: Connection, row: int, sop_instance_uid: str, nodes: Sequence[str], who: Deciding) -> Ending:
    """Send an object to chosen nodes, whatever the rules say."""
    if not held_objects.change(connection, row, held_objects.WAITING, InstanceState.ROUTED, "", who.at):
        return Ending.CHANGED
    deliveries = [PlannedDelivery(node, Urgency.NORMAL.level) for node in nodes]
    enqueue_deliveries(connection, row, sop_instance_uid, deliveries, {"by": who.actor}, who.at)
    who.note(connection, "objects.sent-by-hand", row, to=list(nodes))
    return Ending.ROUTED


def discard(connection: Connection, row: int, who: Deciding) -> Ending:
    """Give up an object that is held or waits for its study. Its bytes stay until they are purged."""
    before, discarded = [InstanceState.HELD, InstanceState.WAITING], InstanceState.DISCARDED
    if not held_objects.change(connection, row, before, discarded, DISCARDED_BY_PERSON, who.at):
        return Ending.CHANGED
    who.note(connection, "objects.discarded", row)
    return Ending.DISCARDED


def undo(connection: Connection, row: int, who: Deciding) -> Ending:
    """Take a discard back: the object waits for a person again."""
    if not held_objects.change(connection, row, [InstanceState.DISCARDED], InstanceState.HELD, DISCARD_UNDONE, who.at):
        return Ending.CHANGED
    who.note(connection, "objects.undiscarded", row)
    return Ending.HELD
