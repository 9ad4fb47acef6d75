"""Decides how a node is, and what a person should know of it. The table in `judging.py` is the whole policy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from broker.model.lane import LaneKind
from broker.model.wording import Instant, Lasting, Sentence
from broker.status.causes import reason, work_of
from broker.status.facts import BrokerFacts, LaneFact, NodeFact
from broker.store.overview import CAP

WAIT = 900.0  # seconds
QUIET = 86_400.0  # without contact


class Weight(IntEnum):
    """How much a finding says: NOTE leaves the broker well."""

    NOTE = 0
    DEGRADED = 1
    DOWN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusFinding:
    """Something that a person should know. `since`: when it began, if that is known; `node`: whose it is."""

    weight: Weight
    text: Sentence
    since: float | None = None
    node: str = ""


class NodeState(StrEnum):
    """How a node is, by its lanes and by when it was last in contact."""

    DOWN = "down"
    LATE = "late"  # work for it waits too long
    HELD = "held"
    WORKING = "working"  # work for it waits, as it should
    WELL = "well"  # in contact within a day
    QUIET = "quiet"  # no contact for longer: at night and at weekends devices are off
    NEW = "new"  # no contact yet
    CLOSED = "closed"  # objects for it wait for its send window
    PAUSED = "paused"  # by a person, or it drains: what is for it waits
    DISABLED = "disabled"  # by a person: what is for it waits
    BLOCKED = "blocked"


def state_of(node: NodeFact, now: float) -> NodeState:
    """How a node is; the worst of its lanes counts."""
    if node.rests:
        return NodeState(node.rests)
    if node.paused == "paused":
        return NodeState.PAUSED
    if any(lane.failures for lane in node.lanes):
        return NodeState.DOWN
    if node.paused:
        return NodeState.PAUSED
    if any(_late(lane, now) for lane in _open(node)):
        return NodeState.LATE
    if any(lane.held for lane in node.lanes):
        return NodeState.HELD
    if any(lane.waiting for lane in _open(node)):
        return NodeState.WORKING
    if any(lane.waiting for lane in node.lanes):
        return NodeState.CLOSED
    last = max((at for at in (node.last_in, node.last_out) if at is not None), default=None)
    if last is None:
        return NodeState.NEW
    return NodeState.WELL if now - last <= QUIET else NodeState.QUIET


def _open(node: NodeFact) -> Iterator[LaneFact]:
    """The lanes whose work is sent now: objects may wait for the send window of their node."""
    return (lane for lane in node.lanes if node.closed_until is None or lane.lane.kind is not LaneKind.DELIVER)


def _late(lane: LaneFact, now: float) -> bool:
    return lane.waiting > 0 and lane.oldest is not None and now - lane.oldest > WAIT


def node_findings(facts: BrokerFacts) -> Iterator[StatusFinding]:
    """What a person should know of the nodes and their lanes, by the table of `judging`."""
    for node in facts.nodes:
        if node.paused:
            yield _paused(node)
        if node.closed_until is not None and not node.rests and not node.paused:
            yield from _closed(node)
        if node.goes_to:
            values = {"node": node.name, "other": node.goes_to}
            text = Sentence("%(node)s is away: its images go to %(other)s", values)
            yield StatusFinding(weight=Weight.NOTE, text=text, node=node.name)
        opened = list(_open(node))
        for lane in () if node.rests or node.paused == "paused" else node.lanes:
            if lane.failures:
                yield _away(node.name, lane, facts.now)
            elif lane in opened and lane.oldest is not None and not node.paused and _late(lane, facts.now):
                yield StatusFinding(
                    weight=Weight.DEGRADED,
                    text=Sentence(
                        "%(node)s: %(work)s wait too long: %(count)s, the oldest since %(at)s (%(span)s)",
                        {
                            "node": node.name,
                            "work": work_of(lane.lane.kind),
                            "count": waiting(lane),
                            "at": Instant(lane.oldest),
                            "span": Lasting(facts.now - lane.oldest),
                        },
                    ),
                    since=lane.oldest,
                    node=node.name,
                )


def _closed(node: NodeFact) -> Iterator[StatusFinding]:
    """That objects wait for a send window. It is as it should be, if one comes."""
    until = node.closed_until or 0.0
    for lane in node.lanes:
        if lane.lane.kind is LaneKind.DELIVER and lane.waiting:
            values = {"node": node.name, "count": waiting(lane)}
            if math.isinf(until):
                text = Sentence("%(node)s is closed, and opens at no time within a year: %(count)s waiting", values)
            else:
                text = Sentence("%(node)s is closed until %(at)s: %(count)s waiting", values | {"at": Instant(until)})
            weight = Weight.DEGRADED if math.isinf(until) else Weight.NOTE
            yield StatusFinding(weight=weight, text=text, node=node.name)


def _paused(node: NodeFact) -> StatusFinding:
    jobs = sum(min(lane.waiting, CAP) for lane in node.lanes)
    more = any(lane.waiting > CAP for lane in node.lanes)
    values = {"node": node.name, "at": Instant(node.paused_at or 0.0), "count": amount(jobs, more=more)}
    if node.paused == "draining":
        text = Sentence("%(node)s drains since %(at)s and is paused then: %(count)s waiting", values)
    else:
        text = Sentence("%(node)s is paused by a person since %(at)s: %(count)s waiting", values)
    return StatusFinding(weight=Weight.DEGRADED, text=text, since=node.paused_at, node=node.name)


def _away(node: str, lane: LaneFact, now: float) -> StatusFinding:
    return StatusFinding(
        weight=Weight.DEGRADED,
        text=Sentence(
            "%(node)s is down since %(at)s (%(span)s): %(why)s (%(work)s: %(count)s waiting)",
            {
                "node": node,
                "at": Instant(lane.since),
                "span": Lasting(now - lane.since),
                "why": reason(lane.error),
                "work": work_of(lane.lane.kind),
                "count": waiting(lane),
            },
        ),
        since=lane.since,
        node=node,
    )


def waiting(lane: LaneFact) -> int | Sentence:
    """How many jobs wait in a lane, as far as they were counted."""
    return amount(min(lane.waiting, CAP), more=lane.waiting > CAP)


def amount(number: int, *, more: bool) -> int | Sentence:
    """A number that may be higher."""
    return Sentence("%(n)s or more", {"n": number}) if more else number
