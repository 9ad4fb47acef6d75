"""Sends the objects of a study to a destination anew: also what it had, and what was held or given up for it.

Of an object the newest version is sent. What waits or is being sent goes on. What an MPPS called made by a wrong entry
stays where it is, and so does an object about which a person must decide first, unless that is decided by this.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection

from broker.delivery.rerouting import RerouteEnding, reroute
from broker.errors import BadContent
from broker.model.lane import JobState, LaneKind
from broker.queue.steering import STEP, Steering
from broker.routing import holding
from broker.routing.holding import Deciding, Ending
from broker.routing.recording import enqueue_deliveries, lane_of
from broker.routing.rules.evaluate import PlannedDelivery
from broker.routing.rules.ruleset import Urgency
from broker.store import jobs
from broker.store.audit.adding import add_audit
from broker.store.db.database import Database
from broker.store.holds.held_jobs import HeldFilter
from broker.store.images import instances
from broker.store.images.instances import InstanceState
from broker.store.mpps import objects as mpps_objects
from broker.store.queued import steering, waiting_jobs
from broker.store.queued.waiting_jobs import Waits
from broker.store.studies import objects
from broker.store.studies.objects import StudyObject

MOST = 10_000  # versions that are looked at in one round


class ResendEnding(StrEnum):
    """Says what became of an object that a person wanted to be sent anew."""

    AGAIN = "again"  # it is sent
    WAITS = "waits"  # it waits for that destination, or is being sent to it
    GONE = "gone"  # the bytes are no longer there
    OLDER = "older"  # a newer version of it came
    KEPT_BACK = "kept-back"  # an MPPS says that it was made by a wrong entry
    UNDECIDED = "undecided"  # it is held, waits for its study, or was discarded


@dataclass(frozen=True, slots=True, kw_only=True)
class ResentStudy:
    """A study, the destination of its objects, and which: received before a time (s since the epoch).

    `undecided`: also objects that are held, wait for their study, or were discarded; a person has decided then.
    """

    row: int
    study: str
    node: str
    until: float
    undecided: bool = False


@dataclass(frozen=True, slots=True)
class ResentRound:
    """What became of objects. `after`: the row behind which the next round begins; 0 if all were looked at."""

    endings: Counter[ResendEnding]
    after: int


def resend(
    database: Database,
    wanted: ResentStudy,
    destinations: frozenset[str],
    who: Steering,
    wake: Callable[[], None],
    after: int = 0,
) -> ResentRound:
    """Let a node have the objects of a study anew, MOST at most. Raises BadContent, StoreUnavailable.

    `destinations` are the nodes that take objects. `wake` tells the queue that there is work.
    """
    if wanted.node not in destinations:
        raise BadContent("not a destination", code="unknown-node")

    def sent(connection: Connection, page: Sequence[StudyObject]) -> Counter[ResendEnding]:
        done = Counter(_send(connection, one, wanted, who) for one in page)
        if done[ResendEnding.AGAIN]:
            detail = {"study": wanted.study, "to": wanted.node, "objects": done[ResendEnding.AGAIN]}
            detail |= {"reason": who.reason} if who.reason else {}
            add_audit(
                connection, who.at, who.actor, "study.sent-again", "study", wanted.row, detail, address=who.address
            )
        return done

    endings: Counter[ResendEnding] = Counter()
    looked = 0
    while page := database.read(objects.page, wanted.study, after, wanted.until, STEP).result():
        endings += database.execute(sent, page)
        wake()
        after, looked = page[-1].id, looked + len(page)
        if looked >= MOST:
            return ResentRound(endings, after)
    return ResentRound(endings, 0)


def _send(connection: Connection, one: StudyObject, wanted: ResentStudy, who: Steering) -> ResendEnding:
    known = instances.versions(connection, one.sop_instance_uid)  # a purge of them waits for us
    if known[0].id != one.id:
        return ResendEnding.OLDER
    if known[0].state == InstanceState.PURGED:
        return ResendEnding.GONE
    if mpps_objects.is_kept_back(connection, one.sop_instance_uid):
        return ResendEnding.KEPT_BACK
    if known[0].state != InstanceState.ROUTED:
        if not wanted.undecided:
            return ResendEnding.UNDECIDED
        decided = Deciding(actor=who.actor, at=who.at, address=who.address, reason=who.reason)
        done = holding.send(connection, one.id, one.sop_instance_uid, [wanted.node], decided)
        return ResendEnding.AGAIN if done is Ending.ROUTED else ResendEnding.UNDECIDED
    return _deliver(connection, one, wanted.node, who)


def _deliver(connection: Connection, one: StudyObject, node: str, who: Steering) -> ResendEnding:
    delivery = steering.delivery_of(connection, lane_of(node), one.id)
    if delivery is None or delivery[1] is JobState.DISCARDED:
        planned = [PlannedDelivery(node, Urgency.NORMAL.level)]
        enqueue_deliveries(connection, one.id, one.sop_instance_uid, planned, {"by": who.actor}, who.at)
        return ResendEnding.AGAIN
    job, state = delivery
    if state is JobState.DONE and steering.send_again(connection, job, who.at):
        return ResendEnding.AGAIN
    if state is JobState.HELD and jobs.end_hold(connection, job, JobState.READY, who.at):
        return ResendEnding.AGAIN
    return ResendEnding.WAITS


def reroute_study(
    database: Database,
    wanted: ResentStudy,
    before: str,
    destinations: frozenset[str],
    who: Steering,
    wake: Callable[[], None],
) -> Counter[RerouteEnding]:
    """Let a node have what waits or is held of a study for another one, `before`; empty: for all others.

    Raises BadContent for a node that is no destination, StoreUnavailable.
    """
    done: Counter[RerouteEnding] = Counter()
    of_study = HeldFilter(study=wanted.study, node=before, kind=LaneKind.DELIVER, before=wanted.until)
    waits: Waits
    for waits in ("waiting", "held"):
        after = 0
        while True:
            rows = database.read(waiting_jobs.rows, of_study, waits, after, MOST).result()
            done += reroute(database, rows, wanted.node, destinations, who, wake)
            if len(rows) < MOST:
                break
            after = rows[-1]
    return done
