"""Performed procedure steps: messages as modalities send them, rows as the door stores them, a scripted MPPS SCP."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, evt
from sqlalchemy import Connection, insert

import support.peers.pausing  # noqa: F401
from broker.dicom import uids
from broker.store import jobs
from broker.store.db.database import Database
from broker.store.jobs import NewJob
from broker.store.schema import tables
from support.worklist.worklist import encoded

MPPS, NOTIFICATION = uids.PERFORMED_STEP, uids.PERFORMED_STEP_NOTIFICATION
IMPLICIT, EXPLICIT = uids.IMPLICIT_LE, uids.EXPLICIT_LE


OUTCOMES = {"IN PROGRESS": "STARTED", "COMPLETED": "COMPLETED", "DISCONTINUED": "DISCONTINUED"}


def uid(number: int) -> str:
    """SOP Instance UID of an MPPS."""
    return f"2.999.8.{number}"


def creation(number: int = 1, *, study: str = "2.999.7.1", step: str = "SPS1") -> dict[Any, Any]:
    """The attributes of an N-CREATE."""
    return {
        "SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Käthe", "PatientID": f"QZPAT{number}",
        "ScheduledStepAttributesSequence": [
            {"StudyInstanceUID": study, "ScheduledProcedureStepID": step, "AccessionNumber": f"A{number}"}
        ],
        "PerformedProcedureStepID": f"PPS{number}", "PerformedStationAETitle": "CT01", "Modality": "CT",
        "PerformedProcedureStepStartDate": "20300312", "PerformedProcedureStepStartTime": "103000",
        "PerformedProcedureStepStatus": "IN PROGRESS", "PerformedSeriesSequence": [],
        0x00090010: ("LO", "VENDOR"), 0x00091001: ("UN", b"\x01\x02\x03\x04"),
    }  # fmt: skip


def ending(status: str = "COMPLETED") -> dict[Any, Any]:
    """The attributes of an N-SET."""
    return {
        "PerformedProcedureStepStatus": status, "PerformedProcedureStepEndDate": "20300312",
        "PerformedProcedureStepEndTime": "104500",
        "PerformedSeriesSequence": [{"ProtocolName": "THORAX", "SeriesInstanceUID": "2.999.9.1"}],
    }  # fmt: skip


@dataclass
class Taken:
    """Rows that stand for what the door has taken: MPPS by number, and a job per node for each message."""

    database: Database
    nodes: Sequence[str] = ("ris",)
    rows: dict[int, int] = field(default_factory=dict)

    def create(self, number: int = 1, syntax: str = EXPLICIT, *, status: str = "IN PROGRESS", at: float = 0) -> bytes:
        """An N-CREATE; its bytes."""
        data = encoded(creation(number), implicit=syntax == IMPLICIT, charset=["ISO_IR 100"])

        def unit(connection: Connection) -> int:
            return add_mpps(connection, number, status=status, at=at or time.time())

        self.rows[number] = self.database.submit(unit).result(10)
        return self._message(number, "create", data, syntax)

    def set(self, number: int = 1, syntax: str = EXPLICIT, **attributes: Any) -> bytes:
        """An N-SET, COMPLETED unless told otherwise; its bytes."""
        return self._message(number, "set", encoded(ending() | attributes, implicit=syntax == IMPLICIT), syntax)

    def _message(self, number: int, kind: str, data: bytes, syntax: str) -> bytes:
        def unit(connection: Connection) -> None:
            values = {
                "mpps": self.rows[number], "at": time.time(), "kind": kind, "calling_ae": "CT01", "data": data,
                "transfer_syntax_uid": syntax, "digest": sha256(data).digest(),
            }  # fmt: skip
            row = connection.execute(insert(tables.mpps_message).values(values)).inserted_primary_key[0]
            group = f"mpps:{self.rows[number]}"
            new = [
                NewJob(kind="mpps", lane=f"mpps:{node}", subject=row, detail={}, group_key=group) for node in self.nodes
            ]
            jobs.enqueue(connection, new, time.time())

        self.database.submit(unit).result(10)
        return data


def add_mpps(connection: Connection, number: int = 1, *, status: str = "IN PROGRESS", at: float = 0) -> int:
    """An MPPS; its row."""
    values = {
        "sop_instance_uid": uid(number), "status": status, "linking": "linked", "calling_ae": "CT01",
        "station": "CT01", "modality": "CT", "started_at": at, "ended_at": None,
        "document": '{"PerformedProcedureStepStatus":"IN PROGRESS"}', "findings": "[]", "revision": 1,
        "created_at": at, "updated_at": at, "outcome": OUTCOMES[status], "attention": "",
    }  # fmt: skip
    return int(connection.execute(insert(tables.mpps).values(values)).inserted_primary_key[0])


@dataclass
class Heard:
    """One request at the SCP."""

    kind: str
    uid: str
    syntax: str
    data: bytes = b""
    event: int = 0
    sop_class: str = ""


Answer = int | tuple[int, int]  # status, or status and Error ID
Script = Callable[[Heard], Answer]


class Scp:
    """A pynetdicom MPPS SCP, and SCU of its notifications. `answer` says what to answer; all is success without it."""

    def __init__(self, answer: Script | None, *, port: int = 0, syntaxes: Sequence[str] = (EXPLICIT, IMPLICIT)) -> None:
        self.answer: Script = answer or (lambda _: 0)
        self.heard: list[Heard] = []
        self.associations = 0
        ae = AE("RIS")
        ae.add_supported_context(UID(MPPS), list(syntaxes))
        # the other side is the SCP of this class: we accept that role, and are its SCU
        ae.add_supported_context(UID(NOTIFICATION), list(syntaxes), scu_role=True, scp_role=True)
        handlers = [
            (evt.EVT_N_CREATE, self._create), (evt.EVT_N_SET, self._set), (evt.EVT_N_EVENT_REPORT, self._event),
            (evt.EVT_ACCEPTED, self._accepted),
        ]  # fmt: skip
        self._server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
        self.port: int = self._server.socket.getsockname()[1]

    def _accepted(self, _: evt.Event) -> None:
        self.associations += 1

    def _create(self, event: evt.Event) -> tuple[Dataset, None]:
        request = event.request
        return self._answer(
            Heard("create", str(request.AffectedSOPInstanceUID), str(event.context.transfer_syntax),
                  request.AttributeList.getvalue())
        ), None  # fmt: skip

    def _set(self, event: evt.Event) -> tuple[Dataset, None]:
        request = event.request
        return self._answer(
            Heard("set", str(request.RequestedSOPInstanceUID), str(event.context.transfer_syntax),
                  request.ModificationList.getvalue())
        ), None  # fmt: skip

    def _event(self, event: evt.Event) -> tuple[Dataset, None]:
        request = event.request
        return self._answer(
            Heard("event", str(request.AffectedSOPInstanceUID), str(event.context.transfer_syntax),
                  event=int(request.EventTypeID), sop_class=str(request.AffectedSOPClassUID))
        ), None  # fmt: skip

    def _answer(self, heard: Heard) -> Dataset:
        self.heard.append(heard)
        answer = self.answer(heard)
        said = Dataset()
        said.Status, error = answer if isinstance(answer, tuple) else (answer, 0)
        if error:
            said.ErrorID = error
        return said

    def kinds(self, number: int | None = None) -> list[str]:
        """What came, in its order, about one step or all."""
        return [h.kind for h in self.heard if number is None or h.uid == uid(number)]

    def close(self) -> None:
        """Stop listening and end all associations."""
        self._server.shutdown()


@contextmanager
def mpps_scp(answer: Script | None = None, **more: Any) -> Iterator[Scp]:
    """Run such an SCP until the end of the block."""
    scp = Scp(answer, **more)
    try:
        yield scp
    finally:
        scp.close()


class Manager:
    """What an MPPS SCP answers (PS3.4 F.7.2): each step created once, and never set after its end."""

    def __init__(self) -> None:
        self.status: dict[str, str] = {}

    def __call__(self, heard: Heard) -> Answer:
        if heard.kind == "create":
            known = heard.uid in self.status
            self.status.setdefault(heard.uid, "IN PROGRESS")
            return 0x0111 if known else 0
        if heard.uid not in self.status:
            return 0x0112
        if self.status[heard.uid] != "IN PROGRESS":
            return 0x0110, 0xA710
        if b"COMPLETED" in heard.data:
            self.status[heard.uid] = "COMPLETED"
        return 0
