"""Receives an object: spools it, checks it, decides by the rules, makes it durable, commits. Runs in a spool thread.

Order of events, none of which may be swapped: bytes in the spool file; walk of the whole data set; decision of the
rules; fsync of file and folder; one transaction with the instance and one job per destination; only then the caller
answers 0x0000. A small object needs no file: its bytes are part of that transaction.

`recording.py` is the transaction: it says what an object is whose SOP Instance UID is known.
"""

from __future__ import annotations

import json
import mmap
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from zoneinfo import ZoneInfo

from broker import telemetry
from broker.audit.tally import Tally
from broker.dicom.dataset import part10
from broker.dicom.dataset.scan import scan
from broker.dicom.dataset.walk import Buffer
from broker.dicom.dimse.message import PeerAE
from broker.dicom.uids import DEFLATED_SYNTAXES, is_uid
from broker.errors import BadContent, StoreUnavailable
from broker.model.audit import AuditRecord
from broker.queue.hand_over import HandOver
from broker.routing import header
from broker.routing.arrivals.news import News
from broker.routing.arrivals.registering import KnownStudies
from broker.routing.levels.associations import Associations, note_failure
from broker.routing.levels.gathering import joining, state_of
from broker.routing.notifying import ToldNotices, notices_of
from broker.routing.order_facts import MATCHING_FIELDS, needs_order, order_facts
from broker.routing.recording import ReceptionOutcome, Recorder, TakenObject
from broker.routing.rules.evaluate import RoutingDecision, decide
from broker.routing.rules.ruleset import Fact, Level, RuleSet, fields_of
from broker.site.nodes import Node
from broker.store.db.database import Database
from broker.store.images import gatherings
from broker.store.images.fresh_bytes import FreshBytes
from broker.store.images.instances import InstanceState, KnownVersion, NewInstance
from broker.store.images.spool import Spool, SpoolFile
from broker.store.notices import NewNotice

SMALL = 32 * 1024  # bytes; up to here a data set stands in the database: one sync instead of three
WARN_EVERY = 60.0  # seconds between two warnings of the same event about the same device
WARNED_KEPT = 1000  # events by device whose last warning is remembered
AT_ONCE = 64  # series that come at the same time, whose decisions are remembered


@dataclass(frozen=True, slots=True)
class IncomingObject:
    """What is known before the data set: UIDs of the command, transfer syntax of the context, the peer."""

    sop_class: str
    sop_instance: str
    transfer_syntax: str
    peer: PeerAE

    def check(self) -> None:
        """Raises BadContent for UIDs that cannot be (they never become part of a path anyway)."""
        if not is_uid(self.sop_class) or not is_uid(self.sop_instance):
            raise BadContent("SOP Class or Instance UID malformed", code="uid-invalid")


@dataclass(frozen=True, slots=True)
class _Body:
    """Where the bytes of a data set are: below `path` in the spool, or in `content`. Offset and length in bytes."""

    path: str
    offset: int
    length: int
    digest: bytes
    content: bytes | None
    fresh: FreshBytes | None = None


class _Judge:
    """A rule set with the fields and tags that it needs of an object."""

    def __init__(self, rules: RuleSet) -> None:
        self.rules = rules
        tested = fields_of(rules)
        self.of_order = needs_order(fields_of(rules, Level.INSTANCE))  # for a study it is looked up once
        keys = MATCHING_FIELDS if needs_order(tested) else frozenset[str]()
        self.fields = tested | set(header.BASE_FIELDS) | keys
        self.tags = header.tags_of(self.fields)
        self.judged = lru_cache(AT_ONCE)(self._judged)  # the objects of a series mostly have the same facts

    def _judged(self, facts: tuple[tuple[str, tuple[Fact, ...]], ...]) -> tuple[RoutingDecision, str, str]:
        """A decision about an object with these facts; its trace and the facts as they are stored."""
        seen = dict(facts)
        decision = decide(self.rules, seen)
        return decision, json.dumps(decision.outcomes), json.dumps(seen, ensure_ascii=False)


class Reception:
    """Takes objects in. One per process; its methods may run in many threads."""

    def __init__(
        self,
        database: Database,
        spool: Spool,
        rules: Callable[[], RuleSet],
        zone: ZoneInfo,
        wake: Callable[[], None],
        *,
        small: int = SMALL,
        subscribers: Callable[[], tuple[Node, ...]] = tuple,
        tally: Tally | None = None,
        hand_over: HandOver | None = None,
    ) -> None:
        """`rules` and `subscribers` are those in force just then; each object is judged by one rule set.

        `wake` is called after each commit that made work for the queue; `small` bytes and less need no file.
        `subscribers` are the nodes that may want to hear of images of an order. `tally` counts for the audit trail.
        `hand_over` passes objects on to lanes of this process that are ready for them.
        """
        self.small = small
        self._tally = tally or Tally()
        self._told = ToldNotices()
        self._studies = KnownStudies()
        self._recorder = Recorder(database, self._intact, News(subscribers), self._told, self._studies, wake, hand_over)
        self._hand_over = hand_over
        self._database = database
        self._spool = spool
        self._rules = rules
        self._judge = _Judge(rules())
        self._zone = zone
        self._warned: dict[tuple[str, str], float] = {}
        self._associations = Associations()

    def begin(self, arrival: IncomingObject, *parts: bytes) -> SpoolFile:
        """Open a spool file and write the first bytes. Raises SpoolUnavailable."""
        at_once = self._hand_over is not None and self._hand_over.is_open
        peer = arrival.peer  # a copy of the file that lost its row is received again by what its header says of it
        head = part10.header(
            arrival.sop_class,
            arrival.sop_instance,
            arrival.transfer_syntax,
            peer.calling_ae,
            peer.called_ae,
            peer.address,
        )
        file = self._spool.create(head, fresh=at_once)
        try:
            file.write(*parts)
        except BaseException:
            file.abandon()
            raise
        return file

    def whole(self, arrival: IncomingObject, data: bytes) -> ReceptionOutcome:
        """Take an object that is in memory at once; see `complete`."""
        if len(data) > self.small:
            return self.complete(arrival, self.begin(arrival, data))
        self._spool.check_room(len(data))
        taken = self._decide(arrival, data, _Body("", 0, len(data), sha256(data).digest(), data))
        outcome = self._recorder.record(taken)
        self._tell(taken.new, taken.decision, outcome)
        self._associations.brought(arrival.peer, taken.rules, taken.new.study_instance_uid)
        return outcome

    def parted(self, peer: PeerAE, released: bool) -> None:
        """An association is over. What a released one has brought may be complete by that. Does not block."""
        studies = self._associations.over(peer)
        if studies and released:
            ended = self._database.submit(gatherings.ended, studies, time.time())
            ended.add_done_callback(note_failure)

    def complete(self, arrival: IncomingObject, file: SpoolFile, *last: bytes) -> ReceptionOutcome:
        """Check, decide, make durable and commit.

        `last` are bytes that still have to be written. Raises BadContent (refuse for good), SpoolUnavailable or
        StoreUnavailable (the sender keeps its copy). The file is gone after an error or for a duplicate.
        """
        kept = False
        try:
            file.write(*last)
            taken = self._judge_file(arrival, file)
            file.keep()
            outcome = self._recorder.record(taken)
            kept = outcome != ReceptionOutcome.DUPLICATE
        except StoreUnavailable:
            # the commit may have happened although we were not told: the file must stay, the sweep decides
            kept = True
            raise
        finally:
            if kept:
                file.close()
            else:
                file.abandon()
        self._tell(taken.new, taken.decision, outcome)
        self._associations.brought(arrival.peer, taken.rules, taken.new.study_instance_uid)
        return outcome

    def _judge_file(self, arrival: IncomingObject, file: SpoolFile) -> TakenObject:
        if not file.data_length:
            raise BadContent("no data set", code="truncated")
        body = _Body(file.name, file.data_offset, file.data_length, file.digest, None, file.fresh)
        with mmap.mmap(file.descriptor, 0, prot=mmap.PROT_READ) as whole:
            view = memoryview(whole)
            data = view[file.data_offset :]
            try:
                return self._decide(arrival, data, body, lambda: whole.madvise(mmap.MADV_DONTNEED))
            finally:
                data.release()
                view.release()

    def _judge_now(self) -> _Judge:
        """The rules in force at this moment, for all that is done with one object."""
        rules = self._rules()
        judge = self._judge
        if judge.rules is not rules:
            judge = self._judge = _Judge(rules)
        return judge

    def _decide(
        self, arrival: IncomingObject, data: Buffer, body: _Body, relax: Callable[[], object] = lambda: None
    ) -> TakenObject:
        if not body.length:
            raise BadContent("no data set", code="truncated")
        judge = self._judge_now()
        scanned = scan(data, arrival.transfer_syntax, judge.tags, relax)
        if body.length % 2 and arrival.transfer_syntax not in DEFLATED_SYNTAXES:
            # PS3.5 7.1.1: values have even length. Receivers abort on the odd byte, so nobody could be sent it
            raise BadContent("an odd number of bytes", code="odd-length")
        uids = header.identity(scanned, arrival.sop_class, arrival.sop_instance)
        now = time.time()
        facts = header.facts(scanned, arrival.peer, judge.fields, datetime.fromtimestamp(now, self._zone))
        if judge.of_order:
            facts |= self._database.read(order_facts, facts).result()
        decision, trace, facts_stored = judge.judged(tuple(facts.items()))
        state, reason = state_of(decision, uids.study, uids.series)
        new = NewInstance(
            sop_instance_uid=uids.sop_instance,
            sop_class_uid=uids.sop_class,
            transfer_syntax_uid=arrival.transfer_syntax,
            study_instance_uid=uids.study,
            series_instance_uid=uids.series,
            calling_ae=arrival.peer.calling_ae,
            called_ae=arrival.peer.called_ae,
            peer=arrival.peer.address,
            path=body.path,
            data_offset=body.offset,
            data_length=body.length,
            digest=body.digest,
            received_at=now,
            state=state,
            reason=reason,
            rules_version=judge.rules.version,
            trace=trace,
            facts=facts_stored,
            discarded_at=now if state == InstanceState.DISCARDED else 0.0,
            content=body.content,
        )
        notices: Sequence[NewNotice] = ()
        if decision.notices and (planned := self._told.lacking(decision.notices, uids.study, uids.sop_instance)):
            notices = notices_of(planned, uids.study, uids.sop_instance, facts, judge.rules.version, now)
        joined = joining(judge.rules, uids.study, uids.series, now)
        study = self._studies.lacking(uids.study, facts, arrival.peer.calling_ae, now)
        return TakenObject(new, decision, judge.rules, joined, notices, study, body.fresh)

    def _intact(self, version: KnownVersion) -> bool:
        """The bytes of a known version are there in full length."""
        if not version.path:
            return True
        try:
            size = self._spool.locate(version.path).stat().st_size
        except OSError:
            return False
        return size == version.data_offset + version.data_length

    def _tell(self, new: NewInstance, decision: RoutingDecision, outcome: ReceptionOutcome) -> None:
        telemetry.child(telemetry.INSTANCES_RECEIVED, outcome.value).inc()
        telemetry.BYTES_RECEIVED.inc(new.data_length)
        row = AuditRecord(
            at=new.received_at,
            actor=f"dicom:{new.calling_ae}",
            action="objects.received",
            kind="study",
            object_id=0,
            detail={"study": new.study_instance_uid},
            address=new.peer,
        )
        key = ("received", new.calling_ae, new.peer, new.study_instance_uid)
        self._tally.transferred(key, row, new.sop_class_uid)
        if outcome == ReceptionOutcome.VERSION:
            self._warn("instance.changed", new, "other bytes under a known UID")
        if outcome == ReceptionOutcome.REPAIRED:
            self._warn("instance.repaired", new, "its file was lost or damaged")
        if new.state in (InstanceState.HELD, InstanceState.DISCARDED):
            self._warn(f"instance.{new.state}", new, new.reason)
        if telemetry.debugging():
            telemetry.logger().debug(
                "instance.received",
                instance=telemetry.identifier(new.sop_instance_uid),
                calling_ae=new.calling_ae,
                state=outcome.value,
                bytes=new.data_length,
                rules=",".join(decision.rules),
                nodes=len(decision.destinations),
            )

    def _warn(self, event: str, new: NewInstance, reason: str) -> None:
        """One line per device and minute: a study of 10,000 images without a rule shall not fill the log."""
        now = time.monotonic()
        if now - self._warned.get((event, new.calling_ae), -WARN_EVERY) < WARN_EVERY:
            return
        if len(self._warned) >= WARNED_KEPT:
            self._warned.clear()
        self._warned[(event, new.calling_ae)] = now
        telemetry.logger().warning(
            event, instance=telemetry.identifier(new.sop_instance_uid), calling_ae=new.calling_ae, reason=reason
        )
