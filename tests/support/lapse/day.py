"""A day of a hospital by the product's own doors, stories and stores: what is finished, and what is not.

What is finished on its day (`finished`) may stand there many times (`copies`). All numbers of it hold the token of the
day. The rest (`unfinished`) comes once: what nobody ends, what waits for a person until the next day, what is refused.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, select

from broker.delivery.feedback import outbound
from broker.delivery.feedback.outbound import SendingParty
from broker.dicom.dimse.message import PeerAE
from broker.model.audit import AuditRecord
from broker.model.imported import ImportNote
from broker.model.lane import JobKind, JobState
from broker.model.message import SentMessage
from broker.model.performed import MessageKind, PerformedMessage
from broker.mpps import checks, deciding, recording
from broker.mpps.dataset import decode
from broker.orders.core.context import StoryContext
from broker.orders.listener import OrderDoor
from broker.orders.telling.feedback import Notice
from broker.routing import holding
from broker.routing.reception import IncomingObject, Reception
from broker.site.tables import roles
from broker.store import idempotency, jobs, knocks
from broker.store.commitments import requests
from broker.store.commitments.requests import NewCommitment
from broker.store.commitments.states import ObjectReference
from broker.store.journal import sent
from broker.store.orders import imported, reading
from broker.store.queued import steering
from broker.store.schema import tables
from broker.worklist.explain.memory import QueryMemory
from broker.worklist.scp import WorklistService
from support.dicom.objects import ct_slice
from support.lapse.ward import CT, Ward
from support.loops import shortly
from support.mpps.performed import bytes_of, creation, final, item, unscheduled
from support.orders.appointments import siu
from support.orders.hospital import Hospital
from support.service.site import order
from support.worklist.worklist import IMPLICIT, SPS, encoded

PEER = PeerAE("CT01", "BROKER", "10.0.0.9")
OURS = SendingParty("BROKER", "RAD")
CLOSING = ("levels", "authorities", "patient-words", "closing")
CHRONIC = 999_999_999_999  # the number of a patient who comes each week
DUE = "20300312"  # the day in messages of `support.service.site.order`


@dataclass(frozen=True, slots=True)
class Load:
    """What comes in a day, once: finished exams with their objects, other ADT, queries, views by people."""

    exams: int = 4
    objects: int = 50
    adt: int = 5  # of each exam's patient
    queries: int = 5
    views: int = 5  # of each exam


def token(day: int, copy: int = 0) -> str:
    """The digits that all numbers of the finished exams of a day have."""
    return f"97{day:04d}{copy:04d}"


class _Query:
    """What the worklist door sees of a C-FIND-RQ; answers are counted."""

    def __init__(self, identifier: bytes, calling_ae: str) -> None:
        self.command = SimpleNamespace(message_id=1)
        self.context = SimpleNamespace(abstract_syntax="1.2.840.10008.5.1.4.31", transfer_syntax=IMPLICIT)
        self.peer = SimpleNamespace(calling_ae=calling_ae, called_ae="BROKER", address="10.0.0.9", extended={})
        self.data, self.cancelled = self, False
        self.status, self.answers = -1, 0
        self._identifier = identifier

    async def read_all(self, limit: int) -> bytes:
        return self._identifier

    async def respond(self, status: int, data: bytes | None = None, *, comment: str = "", offending: int = 0) -> None:
        self.status = status

    async def respond_all(self, status: int, answers: Sequence[bytes]) -> int:
        self.answers += len(answers)
        return len(answers)


class Day:
    """Lets days pass. `number` counts them, from 0; `begin`: the midnight with which one begins."""

    def __init__(self, ward: Ward, load: Load) -> None:
        self.ward, self.load = ward, load
        base, settings = ward.foundation, ward.settings
        self._hospital = Hospital(ward.database)
        self._hospital.door = OrderDoor(
            ward.database, self._hospital.interface, self._hospital.book.choose, zone=settings.zone(),
            default_station=settings.worklist.default_station, subscribers=base.directory.subscribers,
        )  # fmt: skip
        self._memory = QueryMemory(ward.database, base.log_key)
        self._worklist = WorklistService(
            ward.database, max_answers=settings.worklist.max_answers, charset=settings.worklist.charset,
            zone=settings.zone(), profile=base.directory.profile, memory=self._memory, tally=base.audit.tally,
        )  # fmt: skip
        self._reception = Reception(
            ward.database, base.spool, base.rules, settings.zone(), lambda: None, small=settings.limits.small_object,
            subscribers=base.directory.subscribers, tally=base.audit.tally,
        )  # fmt: skip
        self._told: dict[str, bytes] = {}  # what the RIS is told of an event
        self._open: list[tuple[str, int]] = []  # what waits for a person: a kind and a row

    # -- a day

    def finished(self, number: int, begin: datetime) -> None:
        """Exams that are ordered, done, delivered and told of on this day."""
        self.ward.clock.set(begin, 7)
        exams = [int(f"{token(number)}{n:02d}") for n in range(self.load.exams)]
        for exam in exams:
            self.admit(exam)
            self.send(order(exam, start=f"{begin:%Y%m%d}103000"))
            self.send(order(exam, control="XO", start=f"{begin:%Y%m%d}104500"))
        for query_number in range(self.load.queries):
            self.find(query_number, begin)
        for hour, exam in enumerate(exams):
            self.ward.clock.set(begin, 10 + hour / 100)
            self.perform(exam)
        self.deliver()
        self.ward.clock.set(begin, 13)
        self.ward.duties.run(*CLOSING)
        self.ward.clock.set(begin, 14)
        for exam in exams:
            self.leave(exam)
            self.look_at(exam)
        self.deliver()
        self.write_behind()

    def unfinished(self, number: int, begin: datetime) -> None:
        """What comes beside it: each of these once a day."""
        self.ward.clock.set(begin, 15)
        self.decide(number)
        first = int(f"{token(number)}50")
        tomorrow = f"{begin + timedelta(days=1):%Y%m%d}"
        self.send(order(first, start=f"{begin:%Y%m%d}103000"))
        self.send(order(first, control="CA", status="CA"))
        self.send(order(first + 1, start=f"{tomorrow}103000"))  # nobody comes
        self.send(order(first + 2, control="CA", status="CA"))  # its order never comes
        self.send(order(first + 3).replace("PID|1||", "PID|1||^^^"), good=False)
        if number % 7 == 0:
            self.send(order(first + 4, start=f"{begin:%Y%m%d}103000").replace(f"QZPAT{first + 4}", f"QZPAT{CHRONIC}"))
        self.send(siu(control_id=f"S{first}", sch_1=f"SP{first}", sch_2="", placer=f"W{first}", pid=f"QZWAIT{first}",
                      sch_11=f"^^^{tomorrow}100000", at=f"{begin:%Y%m%d}080000"))  # fmt: skip
        self.store(first, "SR", 1)
        self.store(first + 5, "OT", 2)
        self.store(first + 6, "MR", 2)
        self.store(first + 7, "CT", 1, size=40_000)
        self.store(first + 8, "CT", 1, deliver=False)
        self.perform_unscheduled(first + 9)
        self.write_rest(number, first)
        self.ask_commitment(number)
        self.ward.clock.set(begin, 16)
        self.ward.duties.run(*CLOSING)
        self.deliver()
        self.ward.clock.set(begin, 17)
        self.ward.duties.run("commitments")
        self.ward.clock.set(begin, 18)
        self.ward.duties.run(*CLOSING)
        self.deliver()
        self.write_behind()

    def write_behind(self) -> None:
        """Write down what is written later: what was seen and asked."""
        self.ward.foundation.audit.flush(everything=True)
        self._memory.flush()

    def night(self, number: int, begin: datetime) -> None:
        """What deletes; later by seconds each night, so that what an earlier one wrote is older than its rule."""
        self.ward.clock.set(begin, 23 + number / 600)
        self.ward.duties.run("purge", "retention")

    # -- doors

    def send(self, message: str | bytes, *, good: bool = True) -> None:
        """A message of the RIS; it is taken, or refused."""
        raw = message.encode() if isinstance(message, str) else message
        raw = raw.replace(DUE.encode(), f"{self.ward.clock.at:%Y%m%d}".encode())
        answer = self._hospital.send(raw)
        assert answer is not None
        assert (b"\rMSA|AA|" in answer) is good, answer

    def find(self, number: int, begin: datetime) -> int:
        """A device asks for its day; how many answers."""
        keys = {"PatientName": "", "PatientID": "", SPS: [{"ScheduledProcedureStepStartDate": f"{begin:%Y%m%d}"}]}
        request = _Query(encoded(keys), f"CT{number % 20 + 1:02d}")
        shortly(self._worklist.find(request))  # type: ignore[arg-type]
        assert request.status == 0
        return request.answers

    def admit(self, exam: int) -> None:
        """The patient comes."""
        for trigger in ("A01", *(["A08"] * (self.load.adt - 2))):
            self.adt(trigger, exam)

    def leave(self, exam: int) -> None:
        """The patient goes."""
        self.adt("A03", exam)

    def adt(self, trigger: str, exam: int) -> None:
        """What the patient administration says."""
        control, at = f"{trigger}{exam}{uuid4().hex[:6]}", f"{self.ward.clock.at:%Y%m%d%H%M%S}"
        self.send(
            f"MSH|^~\\&|ADT|HOSPITAL|BROKER|RAD|{at}||ADT^{trigger}|{control}|P|2.5||||||UNICODE UTF-8\rEVN||{at}\r"
            f"PID|1||QZPAT{exam}^^^HOSPITAL||Müller^Käthe||19760229|F\r"
            f"PV1|1|I|CARD^1^1||||||||||||||||V{exam}^^^HOSPITAL\r"
        )

    def perform(self, exam: int) -> None:
        """The modality does its work: MPPS, objects, MPPS."""
        uid, day = f"2.999.5.{exam}", f"{self.ward.clock.at:%Y%m%d}"
        self._create(uid, creation(item(exam), patient=f"QZPAT{exam}", PerformedProcedureStepStartDate=day))
        images = self.store(exam, "CT", self.load.objects)
        self._set(uid, final(images=images, PerformedProcedureStepEndDate=day))

    def perform_unscheduled(self, exam: int) -> None:
        """An exam that no order is of; a person decides on the next day."""
        uid, day = f"2.999.5.{exam}", f"{self.ward.clock.at:%Y%m%d}"
        steps = unscheduled(study=f"2.999.7.{exam}")
        self._create(uid, creation(steps, patient=f"QZPAT{exam}", PerformedProcedureStepStartDate=day))
        self._set(uid, final(images=(), PerformedProcedureStepEndDate=day, PerformedSeriesSequence=[]))
        self._open.append(("mpps", self._row(select(tables.mpps.c.id).where(tables.mpps.c.sop_instance_uid == uid))))

    def _create(self, uid: str, data_set: dict[str, Any]) -> None:
        message = self._message(MessageKind.CREATE, bytes_of(data_set))
        found = decode(message.data, IMPLICIT)
        answer = checks.created(found, strict=False, first_completed=False)
        nodes, lanes = self.ward.foundation.directory.having(roles.MPPS), ["deliver:archive"]
        done = self.ward.database.execute(
            recording.create, uid, message, found, answer, self._context("dicom:CT01"), nodes, lanes
        )
        assert done.answer.good, done

    def _set(self, uid: str, data_set: dict[str, Any]) -> None:
        message = self._message(MessageKind.SET, bytes_of(data_set))
        nodes, lanes = self.ward.foundation.directory.having(roles.MPPS), ["deliver:archive"]
        done = self.ward.database.execute(
            recording.change, uid, message, decode(message.data, IMPLICIT), self._context("dicom:CT01"), nodes,
            strict=False, lanes=lanes,
        )  # fmt: skip
        assert done.answer.good, done

    def _message(self, kind: MessageKind, data: bytes) -> PerformedMessage:
        return PerformedMessage(
            at=self.ward.now, kind=kind, calling_ae="CT01", transfer_syntax_uid=IMPLICIT, data=data,
            digest=hashlib.sha256(data).digest(),
        )  # fmt: skip

    def _context(self, actor: str) -> StoryContext:
        at = datetime.fromtimestamp(self.ward.now, self.ward.settings.zone())
        return StoryContext(uuid4(), at, "", actor, subscribers=self.ward.foundation.directory.subscribers())

    def store(self, exam: int, modality: str, count: int, *, size: int = 64, deliver: bool = True) -> list[str]:
        """Objects of an exam; their UIDs. One that is not delivered is given up by a person on the next day."""
        first = f"2.999.6.{exam}.10000"
        known = {"PatientID": f"QZPAT{exam}", "AccessionNumber": f"A{exam}", "StudyInstanceUID": f"2.999.7.{exam}"}
        model = ct_slice(size, SOPInstanceUID=first, Modality=modality, SeriesInstanceUID=f"2.999.7.{exam}.1", **known)
        uids = [f"2.999.6.{exam}.1{number:04d}" for number in range(count)]
        for uid in uids:
            arrival = IncomingObject(model.sop_class, uid, model.transfer_syntax, PEER)
            self._reception.whole(arrival, model.data.replace(first.encode(), uid.encode()))
        here = select(tables.instance.c.id).where(tables.instance.c.sop_instance_uid.in_(uids))
        if modality == "OT":
            self._open += [("held", row) for row in self._rows(here)]
        if not deliver:
            self.deliver(hold=self._rows(here))
            self._open += [("delivery", row) for row in self._rows(select(tables.job.c.id).where(
                tables.job.c.subject.in_(here), tables.job.c.kind == JobKind.DELIVER))]  # fmt: skip
        return uids

    # -- people, and what is sent

    def look_at(self, exam: int) -> None:
        """People look at an order."""
        row = self._row(select(tables.service_request.c.id).where(tables.service_request.c.accession == f"A{exam}"))
        for number in range(self.load.views):
            self.ward.foundation.audit.add(
                AuditRecord(
                    at=self.ward.now,
                    actor=f"user:{number}",
                    action="order.viewed",
                    kind="order",
                    object_id=row,
                    detail={},
                    address="10.0.0.20",
                )
            )

    def deliver(self, hold: Iterable[int] = ()) -> None:
        """All that waits is sent and answered; deliveries of these objects are refused for good and held."""
        refused = frozenset(hold)
        for lane in ("deliver:archive", "mpps:ris-mpps", "feedback:ris", "commitment:ct1", "notify:desk"):
            while found := self.ward.database.execute(jobs.claim, lane, "lapse", self.ward.now + 1, 60.0, 500):
                if lane == "feedback:ris":
                    for job in found:
                        self._tell(job)
                self.ward.database.execute(_finish, found, refused, self.ward.now)

    def _tell(self, job: jobs.Job) -> None:
        notice = Notice.of(job.detail)
        raw = self._told.get(notice.event.value)
        if raw is None:  # it takes longer than all else of an exam, and messages of one kind are of one size
            found = self.ward.database.read(reading.load_order, notice.order).result(10)
            (node,) = (node for node in self.ward.foundation.directory.nodes if node.name == "ris")
            raw = outbound.build(found, notice, node, OURS, self.ward.settings.zone())
            self._told[notice.event.value] = raw
        kept = SentMessage(
            at=self.ward.now, node="ris", request=notice.order, job=job.id, event=notice.event.value,
            control_id=notice.control_id, message_type="ORM^O01", raw=raw, answer_code="AA",
            answer=b"MSH|^~\\&|RIS|H|BROKER|RAD|20300312||ACK|1|P|2.5\rMSA|AA|1\r", error="",
        )  # fmt: skip
        self.ward.database.execute(sent.record, kept)

    def decide(self, number: int) -> None:
        """A person decides what has waited since yesterday."""
        waiting, self._open = self._open, []
        who = holding.Deciding(actor="user:anna", at=self.ward.now, address="10.0.0.20")
        for place, (kind, row) in enumerate(waiting):
            if kind == "mpps":
                self.ward.database.execute(deciding.set_aside, row, "checked", self._context("user:anna"))
            elif kind == "delivery":
                assert self.ward.database.execute(steering.give_up_held, row, "by-person", self.ward.now)
            elif place % 2:
                self.ward.database.execute(holding.discard, row, who)
            else:
                self.ward.database.execute(holding.send, row, "", ["archive"], who)

    def write_rest(self, number: int, first: int) -> None:
        """An unknown device, a note of an import, an answer under a key: by their stores."""
        row = self._row(select(tables.service_request.c.id).where(tables.service_request.c.accession == f"A{first}"))
        note = ImportNote(source="old", key=f"K{number}", accession=f"A{first}", outcome="refused")
        key = idempotency.Key("api:ris", f"K{number}", b"d")

        def unit(connection: Connection) -> None:
            knocks.record(connection, f"NEW{number}", f"10.1.{number // 200}.{number % 200 + 1}", time.time())
            imported.record(connection, "old", [note], (), time.time())
            idempotency.add(connection, key, row, "placed", {}, time.time())

        self.ward.database.execute(unit)

    def ask_commitment(self, number: int) -> None:
        """A modality asks for storage commitment of the objects of an exam."""
        references = [ObjectReference(CT, f"2.999.6.{token(number)}00.1{n:04d}") for n in range(self.load.objects)]
        new = NewCommitment(
            transaction_uid=f"2.999.4.{number + 1}", node="ct1", calling_ae="CT01", called_ae="BROKER",
            peer="10.0.0.9", received_at=self.ward.now, references=references,
        )  # fmt: skip
        self.ward.database.execute(requests.take, new)

    def _rows(self, query: Any) -> list[int]:
        return self.ward.database.read(lambda connection: list(connection.execute(query).scalars())).result(10)

    def _row(self, query: Any) -> int:
        (row,) = self._rows(query)
        return row


def _finish(connection: Connection, found: list[jobs.Job], refused: frozenset[int], now: float) -> None:
    for job in found:
        held = job.kind == JobKind.DELIVER and job.subject in refused
        jobs.finish(connection, job, JobState.HELD if held else JobState.DONE, now, "C000" if held else "")
