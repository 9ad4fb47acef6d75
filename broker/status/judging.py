"""Decides how the broker is: ok, degraded or down. Readiness, page, command and REST all tell this verdict.

“All well” is true only if nothing is down, waits too long, is held or full. This table is the whole policy, and each
row has a test (`tests/unit/status/test_status_judging.py`).

    What is the case                                                         Verdict
    -----------------------------------------------------------------------  --------
    a listener is closed; the worklist gives no answers                      down
    the database cannot be read, and no copy of the worklist answers         down
    the database cannot be read, and the copy answers                        degraded
    the database cannot be written, or is damaged                            degraded
    the database lacks rows that it had: deleted, emptied, or an old copy    degraded
    what waits is not known, as it cannot be counted                         degraded
    a worker is away                                                         degraded
    a disk has so little room that something is refused                      degraded
    a disk will be so full within SOON, and less than FEW of it is free      degraded
    a disk will be so full within LATER                                      ok, note
    a node cannot be reached                                                 degraded
    work that could be done waits longer than WAIT                           degraded
    a node is paused by a person, or drains: its work waits                  degraded
    objects wait for the send window of their node                           ok, note
    the same, and none comes within a year                                   degraded
    jobs or objects are held                                                 degraded
    a performed step waits for a person longer than PERFORMED_WAIT           degraded
    a sender is silent (`rhythm.py`)                                         degraded
    more than REFUSED_SHARE of the messages of a quarter hour are refused    degraded
    a duty failed twice in a row                                             degraded
    a certificate of ours has ended                                          degraded
    a certificate of ours ends within CERTIFICATE                            ok, note
    the clock was set, or that of the disk differs                           ok, note

Unknown devices that knock, messages that were refused today and performed steps of today need a person too. They are
the daily business of a hospital, and do not make a broker unwell.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Literal

from broker.model.lane import LaneKind
from broker.model.wording import Instant, Lasting, Sentence
from broker.status.causes import reason, work_of
from broker.status.facts import BrokerFacts, DiskFact, LaneFact, NeedCause, NodeFact
from broker.store.overview import CAP
from broker.store.room import Room

WAIT = 900.0  # seconds
PERFORMED_WAIT = 86_400.0
SOON, LATER, FEW = 12 * 3600.0, 48 * 3600.0, 0.3  # seconds until a disk is full; share of it that is free
REFUSED_SHARE, REFUSED_LEAST = 0.05, 5
FAILED = 2  # times in a row
CERTIFICATE = 30 * 86_400.0
QUIET = 86_400.0  # without contact

Health = Literal["ok", "degraded", "down"]


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


@dataclass(frozen=True, slots=True)
class StatusVerdict:
    """How the broker is, and why: the heaviest finding first."""

    health: Health
    findings: tuple[StatusFinding, ...]


@dataclass(frozen=True, slots=True)
class BrokerStatus:
    """What is known of the broker, and the verdict."""

    facts: BrokerFacts
    verdict: StatusVerdict


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


def judge(facts: BrokerFacts) -> StatusVerdict:
    """Decide by the table above."""
    found = [
        *_doors(facts),
        *_database(facts),
        *(StatusFinding(weight=Weight.DEGRADED, text=text) for text in facts.workers),
        *(finding for disk in facts.disks for finding in _disk(disk, facts.now)),
        *_nodes(facts),
        *_held(facts),
        *_senders(facts),
        *_upkeep(facts),
        *(StatusFinding(weight=Weight.NOTE, text=text) for text in facts.notes),
    ]
    found.sort(key=lambda finding: -finding.weight)
    heaviest = max((finding.weight for finding in found), default=Weight.NOTE)
    health: Sequence[Health] = ("ok", "degraded", "down")
    return StatusVerdict(health[heaviest], tuple(found))


def _doors(facts: BrokerFacts) -> Iterator[StatusFinding]:
    for text in facts.doors:
        yield StatusFinding(weight=Weight.DOWN, text=text)


def _database(facts: BrokerFacts) -> Iterator[StatusFinding]:
    database = facts.database
    if database.damaged:
        yield _degraded(Sentence("the database is damaged: see “A damaged database” in config/operate.md"))
    if database.behind:
        yield _degraded(
            Sentence("the database has lost what it held before: see “A database that was lost” in config/operate.md")
        )
    if not database.reachable:
        if database.copy_age is None:
            yield StatusFinding(weight=Weight.DOWN, text=Sentence("the database cannot be read"))
        else:
            yield _degraded(
                Sentence(
                    "the database cannot be read: the worklist answers from a copy of %(age)s ago, all else is refused",
                    {"age": Lasting(database.copy_age)},
                )
            )
    elif not database.writable:
        yield _degraded(Sentence("the database cannot be written: orders and images are refused, the worklist answers"))
    if database.counted_at is None:
        yield _degraded(Sentence("what waits in the queue is not known: it could not be counted yet"))
    elif database.stale:
        yield _degraded(Sentence("the numbers are of %(age)s ago", {"age": Lasting(facts.now - database.counted_at)}))


def _disk(disk: DiskFact, now: float) -> Iterator[StatusFinding]:
    if disk.room is Room.NO_LARGE:
        yield _degraded(Sentence("the disk has little room: large images are refused"))
    elif disk.room is Room.NO_OBJECTS:
        yield _degraded(Sentence("the disk has little room: images are refused"))
    elif disk.room is Room.NOTHING:
        yield _degraded(Sentence("the disk has no room: images and orders are refused, the worklist answers"))
    elif (full_at := disk.forecast.full_at) is not None:
        few = disk.free < disk.size * FEW
        if full_at - now <= LATER:
            yield StatusFinding(
                weight=Weight.DEGRADED if few and full_at - now <= SOON else Weight.NOTE,
                text=Sentence(
                    "the disk of %(what)s will be full at %(at)s (in %(span)s) if it goes on so: images are refused"
                    " then",
                    {"what": ", ".join(disk.holds), "at": Instant(full_at), "span": Lasting(full_at - now)},
                ),
            )


def _nodes(facts: BrokerFacts) -> Iterator[StatusFinding]:
    for node in facts.nodes:
        if node.paused:
            yield _paused(node)
        if node.closed_until is not None and not node.rests and not node.paused:
            yield from _closed(node)
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


def _held(facts: BrokerFacts) -> Iterator[StatusFinding]:
    for need in facts.needs:
        late = need.oldest is not None and facts.now - need.oldest > PERFORMED_WAIT
        if need.cause in (NeedCause.HELD_JOBS, NeedCause.HELD_OBJECTS):
            values = {"count": amount(need.count, more=need.more), "what": need.what, "node": need.node}
            jobs = Sentence("%(node)s: %(count)s deliveries are held: %(what)s", values)
            objects = Sentence("%(count)s objects are held: %(what)s", values)
            text = jobs if need.cause is NeedCause.HELD_JOBS else objects
            yield StatusFinding(weight=Weight.DEGRADED, text=text, since=need.oldest, node=need.node)
        elif need.cause is NeedCause.PERFORMED and late:
            yield StatusFinding(
                weight=Weight.DEGRADED,
                text=Sentence(
                    "%(count)s performed steps wait for a person for more than a day: %(what)s",
                    {"count": amount(need.count, more=need.more), "what": need.what},
                ),
                since=need.oldest,
            )


def _senders(facts: BrokerFacts) -> Iterator[StatusFinding]:
    for sender in facts.senders:
        if sender.silent:
            yield StatusFinding(
                weight=Weight.DEGRADED,
                text=Sentence(
                    "%(sender)s is silent since %(at)s (%(span)s): about %(count)s messages usually come in that time",
                    {
                        "sender": sender.name,
                        "at": Instant(sender.last_at),
                        "span": Lasting(facts.now - sender.last_at),
                        "count": round(sender.expected or 0),
                    },
                ),
                since=sender.last_at,
            )
    traffic = facts.traffic
    messages = traffic.accepted + traffic.refused
    if traffic.refused > REFUSED_LEAST and traffic.refused > REFUSED_SHARE * messages:
        yield _degraded(
            Sentence(
                "%(refused)s of %(all)s HL7 messages of the last 15 minutes were refused",
                {"refused": round(traffic.refused), "all": round(messages)},
            )
        )


def _upkeep(facts: BrokerFacts) -> Iterator[StatusFinding]:
    if (backup := facts.backup) is not None and backup.failed:
        told = {"code": backup.failed, "at": Instant(backup.failed_at)}
        yield _degraded(Sentence("the last backup, at %(at)s, failed (%(code)s)", told))
    for duty in facts.duties:
        if duty.failures >= FAILED:
            yield _degraded(
                Sentence(
                    "housekeeping fails: %(duty)s, %(count)s times in a row, the last time at %(at)s (%(error)s)",
                    {"duty": duty.name, "count": duty.failures, "at": Instant(duty.last_at), "error": duty.error},
                )
            )
    for certificate in facts.certificates:
        left = certificate.ends_at - facts.now
        if left <= 0:
            yield _degraded(
                Sentence(
                    "the certificate of %(place)s ended at %(at)s",
                    {"place": certificate.place, "at": Instant(certificate.ends_at)},
                )
            )
        elif left <= CERTIFICATE:
            yield StatusFinding(
                weight=Weight.NOTE,
                text=Sentence(
                    "the certificate of %(place)s ends in %(span)s", {"place": certificate.place, "span": Lasting(left)}
                ),
            )


def _degraded(text: Sentence) -> StatusFinding:
    return StatusFinding(weight=Weight.DEGRADED, text=text)
