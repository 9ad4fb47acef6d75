"""Records a received object in one transaction: its row, one delivery per destination, what the RIS is told.

The same SOP Instance UID again: the same bytes are a success without new work but for destinations that lack them (and
mend a file that was lost); other bytes are a new version, delivered after its predecessor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from broker import correlation, telemetry
from broker.errors import StoreUnavailable
from broker.model.lane import JobKind, Lane, LaneKind
from broker.queue.hand_over import Handed, HandOver, Reservation
from broker.routing.arrivals.news import News, Telling
from broker.routing.arrivals.registering import KnownStudies
from broker.routing.levels.gathering import NOTHING, Joining
from broker.routing.notifying import ToldNotices
from broker.routing.rules.evaluate import PlannedDelivery, RoutingDecision
from broker.routing.rules.ruleset import RuleSet
from broker.store import jobs
from broker.store import notices as store_notices
from broker.store.db.database import Database
from broker.store.images import instances
from broker.store.images.fresh_bytes import FreshBytes
from broker.store.images.instances import InstanceState, KnownVersion, NewInstance
from broker.store.images.soundness import FILE_FAULTS
from broker.store.jobs import NewJob
from broker.store.mpps import objects
from broker.store.notices import NewNotice
from broker.store.studies import registering
from broker.store.studies.registering import StudyArrival

ATTEMPTS = 3  # to commit while the same object is committed on other associations
HELD_BY_RULE = "held-by-rule"  # why a delivery waits that a rule holds for a person


class ReceptionOutcome(StrEnum):
    """Says what an arrival was, beside the versions of the same object that were known before."""

    NEW = "new"
    VERSION = "version"  # other bytes under a known UID
    DUPLICATE = "duplicate"  # the same bytes again
    REPAIRED = "repaired"  # the same bytes again, whose file was lost or damaged


@dataclass(frozen=True, slots=True)
class TakenObject:
    """What is to be recorded of an object: its row, what was decided, and the series and study that it joins."""

    new: NewInstance
    decision: RoutingDecision
    rules: RuleSet
    joining: Joining
    notices: Sequence[NewNotice] = ()
    study: StudyArrival | None = None  # None: it is known
    fresh: FreshBytes | None = None  # its bytes, if they are at hand


class Handing:
    """Leases the jobs of a new object, in its transaction, to the open lanes that have room for it."""

    def __init__(self, reservation: Reservation, taken: TakenObject) -> None:
        self._reservation = reservation
        self._taken = taken
        self.handed: list[Handed] = []

    def lease(self, connection: Connection, planned: Sequence[NewJob], now: float) -> list[NewJob]:
        """Lease what can be; the jobs that are left. A transaction that runs again begins anew."""
        self.handed = []
        left, owner, until = [], self._reservation.owner, self._reservation.until
        for one in planned:
            open_lane = one.lane in self._reservation.lanes and not one.held
            job = jobs.enqueue_leased(connection, one, now, owner, until) if open_lane else None
            if job is None:
                left.append(one)
            else:
                item = instances.as_stored(self._taken.new, one.subject, self._taken.fresh)
                self.handed.append(Handed(job, item, one.priority))
        return left


class Recorder:
    """Records received objects, and passes them on in memory to lanes of this process that are ready for them."""

    def __init__(
        self,
        database: Database,
        intact: Callable[[KnownVersion], bool],
        news: News,
        told: ToldNotices,
        studies: KnownStudies,
        wake: Callable[[], None],
        hand_over: HandOver | None,
    ) -> None:
        """`intact`: see `record`. `wake` is called after each commit that made work which the queue must look for."""
        self._database = database
        self._intact = intact
        self._news = news
        self._told = told
        self._studies = studies
        self._wake = wake
        self._hand_over = hand_over

    def record(self, taken: TakenObject) -> ReceptionOutcome:
        """Commit an object with its jobs. Raises StoreUnavailable."""
        lanes = [lane_of(one.node) for one in taken.decision.deliveries if not one.held]
        reservation = self._hand_over.reserve(lanes) if self._hand_over is not None and lanes else None
        if reservation is None or self._hand_over is None:
            return self._commit(taken, None)
        handing, handed = Handing(reservation, taken), list[Handed]()
        try:
            outcome = self._commit(taken, handing)
            handed = handing.handed
            return outcome
        finally:
            self._hand_over.hand(reservation, handed)

    def _commit(self, taken: TakenObject, handing: Handing | None) -> ReceptionOutcome:
        new, deliveries, notices = taken.new, taken.decision.deliveries, taken.notices
        for _ in range(ATTEMPTS):
            telling = self._news.of(new.study_instance_uid, new.received_at)
            try:
                outcome = self._database.execute(self._write, taken, telling, handing)
            except IntegrityError:
                continue  # the same UID was committed on another association at this moment: look again
            self._news.committed(telling)
            self._studies.committed(taken.study)
            if notices:
                self._told.committed(notices)
            handed = len(handing.handed) if handing is not None else 0
            told = telling is not None and telling.told
            if notices or told or len(deliveries) > handed or outcome == ReceptionOutcome.REPAIRED:
                self._wake()
            return outcome
        raise StoreUnavailable("the same object arrives too often at once")

    def _write(
        self, connection: Connection, taken: TakenObject, telling: Telling | None, handing: Handing | None
    ) -> ReceptionOutcome:
        """The transaction."""
        if taken.study is not None:
            registering.add(connection, taken.study)
        new, deliveries, rules = taken.new, taken.decision.deliveries, taken.decision.rules
        return record(connection, new, deliveries, rules, self._intact, telling, taken.joining, taken.notices, handing)


def record(
    connection: Connection,
    new: NewInstance,
    deliveries: Sequence[PlannedDelivery],
    rules: Sequence[str],
    intact: Callable[[KnownVersion], bool],
    telling: Telling | None = None,
    joining: Joining = NOTHING,
    notices: Sequence[NewNotice] = (),
    handing: Handing | None = None,
) -> ReceptionOutcome:
    """The transaction: instance row and one delivery per destination.

    `intact` tells whether the file of a known version is still there: a positive answer must not rest on a lost one.
    One that a sender found spoiled is replaced too.
    `telling` is what the RIS is told of it, `joining` the series and study that it may wait for, `notices` what rules
    tell nodes. `handing` leases jobs of an object that was not known.
    """
    if handing is not None:
        handing.handed = []
    if telling is not None:
        telling.write(connection)
    if notices:
        store_notices.enqueue(connection, notices, new.received_at)
    detail = {"rules": list(rules), "rules_version": new.rules_version, **_named(new.sop_instance_uid)}
    held = _kept_back(connection, new.sop_instance_uid)
    first = instances.add_first(connection, new)
    if first is not None:
        _enqueue(connection, first, deliveries, detail, new.received_at, None, held, handing=handing)
        joining.arrived(connection)
        return ReceptionOutcome.NEW
    known = instances.versions(connection, new.sop_instance_uid)
    twins = [version for version in known if version.digest == new.digest]
    same = next((version for version in twins if version.state != InstanceState.PURGED), None)
    if same is not None:
        changed = instances.reroute(connection, same.id, new)
        _enqueue(connection, same.id, deliveries, detail, new.received_at, None, held, known=True)
        if changed and new.state == InstanceState.WAITING:
            joining.arrived(connection)
        else:
            joining.came_again(connection)
        if intact(same) and not jobs.held_subjects(connection, JobKind.DELIVER, [same.id], FILE_FAULTS):
            return ReceptionOutcome.DUPLICATE
        instances.refile(connection, same.id, new)
        jobs.release_held(connection, JobKind.DELIVER, [same.id], FILE_FAULTS, new.received_at)
        return ReceptionOutcome.REPAIRED
    if twins:  # purged since: only destinations that never had these bytes; what was discarded is decided anew
        had = jobs.lanes_done(connection, JobKind.DELIVER, [version.id for version in twins])
        deliveries = [one for one in deliveries if lane_of(one.node) not in had]
        if not deliveries and had and new.state != InstanceState.WAITING:
            joining.came_again(connection)
            return ReceptionOutcome.DUPLICATE
    # none is known if the rows that were there are thinned at this moment
    subject = instances.add(connection, new, known[0].version + 1 if known else 1)
    group = _join(connection, known, deliveries)
    _enqueue(connection, subject, deliveries, detail, new.received_at, group, held)
    joining.arrived(connection)
    return ReceptionOutcome.NEW if twins or not known else ReceptionOutcome.VERSION


def enqueue_deliveries(
    connection: Connection,
    subject: int,
    sop_instance_uid: str,
    deliveries: Sequence[PlannedDelivery],
    detail: dict[str, object],
    now: float,
) -> None:
    """Enqueue deliveries of an object that is there (row). One that a person gave up before begins anew.

    Versions of one object stay in one group: they are delivered one after the other.
    """
    known = instances.versions(connection, sop_instance_uid)
    group = _join(connection, known, deliveries) if len(known) > 1 else None
    held = _kept_back(connection, sop_instance_uid)
    detail = {**detail, **_named(sop_instance_uid)}
    _enqueue(connection, subject, deliveries, detail, now, group, held, known=True)


def _named(sop_instance_uid: str) -> dict[str, str]:
    """Lets the log lines of deliveries have the name that those of the object's reception have."""
    return {correlation.KEY: telemetry.hashed(sop_instance_uid)}


def _join(connection: Connection, known: Sequence[KnownVersion], deliveries: Sequence[PlannedDelivery]) -> str | None:
    """Make one group of the deliveries of an object's versions, newest first; the group, None without a version."""
    if not known:
        return None
    group = f"sop:{known[-1].id}"
    for one in deliveries:
        jobs.join_group(connection, lane_of(one.node), [version.id for version in known], group)
    return group


def _kept_back(connection: Connection, sop_instance_uid: str) -> str:
    """Why the deliveries of an object are held; empty if they are not."""
    return objects.WRONG_ENTRY if objects.is_kept_back(connection, sop_instance_uid) else ""


def _enqueue(
    connection: Connection,
    subject: int,
    deliveries: Sequence[PlannedDelivery],
    detail: dict[str, object],
    now: float,
    group: str | None,
    held: str,
    *,
    known: bool = False,
    handing: Handing | None = None,
) -> None:
    """`known`: the object had deliveries before. One that was discarded is none that was made: it is made now.

    `handing` leases the jobs of a new object that it has room for.
    """
    new = [
        NewJob(
            kind=JobKind.DELIVER,
            lane=lane_of(one.node),
            subject=subject,
            detail=detail,
            group_key=group,
            priority=one.priority,
            held=held or (HELD_BY_RULE if one.held else ""),
        )
        for one in deliveries
    ]
    if known:
        jobs.revive(connection, new, now)
    if handing is not None:
        new = handing.lease(connection, new, now)
    jobs.enqueue(connection, new, now)


def lacking(
    connection: Connection, subject: int, sop_instance_uid: str, deliveries: Sequence[PlannedDelivery]
) -> list[PlannedDelivery]:
    """Those of some deliveries of an object (row) whose destinations never had its bytes from an earlier row of it."""
    known = instances.versions(connection, sop_instance_uid)
    mine = next((version.digest for version in known if version.id == subject), b"")
    twins = [version.id for version in known if version.digest == mine and version.id != subject]
    had = jobs.lanes_done(connection, JobKind.DELIVER, twins) if twins else set()
    return [one for one in deliveries if lane_of(one.node) not in had]


def lane_of(node: str) -> str:
    """The stored name of the lane in which objects go to a node."""
    return Lane(LaneKind.DELIVER, node).name
