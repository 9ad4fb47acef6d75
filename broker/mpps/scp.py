"""Serves N-CREATE, N-SET and N-GET of performed procedure steps (PS3.4 F.7, F.8). It answers after the commit."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from uuid import UUID, uuid4

from broker import faults, telemetry
from broker.audit.tally import Tally
from broker.dicom import uids
from broker.dicom.dataset.read import encoding_of
from broker.dicom.dimse import command as cmd
from broker.dicom.dimse import served
from broker.dicom.dimse import status as st
from broker.dicom.dimse.message import PeerAE
from broker.dicom.dimse.request import Request, Service
from broker.errors import BadContent, StoreUnavailable, Unavailable
from broker.model.audit import AuditRecord
from broker.model.lane import Lane, LaneKind
from broker.model.performed import MessageKind, PerformedMessage
from broker.mpps import recording
from broker.mpps.attributes import MPPS
from broker.mpps.checks import MppsAnswer, created
from broker.mpps.dataset import MAX_BYTES, decode, encode
from broker.mpps.recording import RecordingOutcome
from broker.orders.core.context import StoryContext
from broker.site.device import DEFAULT, Device
from broker.site.directory import Directory
from broker.site.nodes import Node
from broker.site.tables import roles
from broker.store.db.database import Database
from broker.store.mpps import performed_steps
from broker.threads import Threads

THREADS = 8
PATIENCE = 9.0  # seconds for a read of the database
_LOUD = {"duplicate", "duplicate-of-other-ae", "orphan"}  # findings that are worth a warning


@dataclass(frozen=True, slots=True)
class _Received:
    """A message and the profile of the device that sent it."""

    uid: str
    message: PerformedMessage
    device: Device
    address: str  # of the modality
    findings: tuple[str, ...] = ()

    @property
    def strict(self) -> bool:
        return self.device.mpps == "strict"


class PerformedStepService:
    """Serves the SOP classes Modality Performed Procedure Step and its Retrieve."""

    def __init__(
        self,
        database: Database,
        directory: Directory,
        zone: tzinfo,
        charset: str,
        wake: Callable[[], None],
        tally: Tally | None = None,
    ) -> None:
        """`zone` is that of the modalities' clocks, `charset` that of what is retrieved.

        `wake` is called, from any thread, after each commit that made work for the queue. `tally` counts who retrieves.
        """
        self._tally = tally or Tally()
        self._database = database
        self._directory = directory
        self._zone = zone
        self._charset = charset
        self._wake = wake
        self._threads = Threads(THREADS, "mpps")

    def services(self) -> tuple[Service, ...]:
        """Registrations with the provider. Either class may be named in commands of a Retrieve context."""
        changing = {cmd.N_CREATE_RQ: self.create, cmd.N_SET_RQ: self.change}
        return (
            Service(served.PERFORMED.classes, served.PERFORMED.choose, changing),
            Service(
                served.RETRIEVE.classes,
                served.RETRIEVE.choose,
                {cmd.N_GET_RQ: self.get},
                members=served.PERFORMED.classes,
            ),
        )

    def close(self) -> None:
        """Wait for running work."""
        self._threads.close()

    async def create(self, request: Request) -> None:
        """Handle an N-CREATE."""
        await self._handle(request, MessageKind.CREATE, self._create)

    async def change(self, request: Request) -> None:
        """Handle an N-SET."""
        await self._handle(request, MessageKind.SET, self._change)

    async def get(self, request: Request) -> None:
        """Handle an N-GET: the attributes that the Attribute Identifier List names, all of them without one."""
        await request.data.drain()
        tags = request.command.tags(cmd.ATTRIBUTES)
        try:
            uid = request.command.sop_instance
            syntax, peer = request.context.transfer_syntax, request.peer
            status, data = await self._threads.call(self._retrieve, uid, tags, syntax, peer)
        except Unavailable as error:
            telemetry.logger().warning("mpps.unavailable", error=telemetry.describe(error))
            await request.respond(st.PROCESSING_FAILURE, comment=error.code)
            return
        await request.respond(status, data)

    async def _handle(self, request: Request, kind: MessageKind, work: Callable[[_Received], RecordingOutcome]) -> None:
        peer, uid = request.peer, request.command.sop_instance
        try:
            data = await request.data.read_all(MAX_BYTES)
            message = PerformedMessage(
                at=datetime.now(self._zone).timestamp(),
                kind=kind,
                calling_ae=peer.calling_ae,
                transfer_syntax_uid=encoding_of(data, request.context.transfer_syntax),
                data=data,
                digest=hashlib.sha256(data).digest(),
            )
            node = self._directory.device(peer.calling_ae, peer.address)
            device = (node.device if node else None) or DEFAULT
            received = _identified(uid, message, device, peer.address)
            uid = received.uid
            outcome = RecordingOutcome(_INVALID) if not uid else await self._threads.call(work, received)
        except BadContent as error:
            await request.data.drain()
            outcome = RecordingOutcome(MppsAnswer(st.PROCESSING_FAILURE, comment=error.code, findings=(error.code,)))
        except Unavailable as error:
            telemetry.logger().warning("mpps.unavailable", error=telemetry.describe(error))
            outcome = RecordingOutcome(MppsAnswer(st.PROCESSING_FAILURE, comment=error.code))
        answer = outcome.answer
        _log(kind, uid, peer.calling_ae, outcome)
        if answer.good:
            faults.point("dicom.answer")
        await _respond(request, uid, answer)

    def _create(self, received: _Received) -> RecordingOutcome:
        data_set = decode(received.message.data, received.message.transfer_syntax_uid)
        answer = created(data_set, strict=received.strict, first_completed=received.device.first_completed)
        if received.findings and received.strict:
            answer = _INVALID
        answer = MppsAnswer(
            answer.status, answer.tags, answer.comment, answer.error_id, (*received.findings, *answer.findings)
        )
        outcome = self._database.execute(
            recording.create,
            received.uid,
            received.message,
            data_set,
            answer,
            self._context(received),
            self._listeners(),
            self._lanes(),
        )
        self._wake()
        return outcome

    def _listeners(self) -> tuple[Node, ...]:
        """The nodes that messages are passed on to, and those that are told of them."""
        having = self._directory.having
        return tuple(dict.fromkeys((*having(roles.MPPS), *having(roles.MPPS_NOTIFICATION))))

    def _lanes(self) -> list[str]:
        """Lanes of the queue by which images leave."""
        return [Lane(LaneKind.DELIVER, node.name).name for node in self._directory.having("destination")]

    def _change(self, received: _Received) -> RecordingOutcome:
        data_set = decode(received.message.data, received.message.transfer_syntax_uid)
        outcome = self._database.execute(
            recording.change,
            received.uid,
            received.message,
            data_set,
            self._context(received),
            self._listeners(),
            strict=received.strict,
            lanes=self._lanes(),
        )
        self._wake()
        return outcome

    def _context(self, received: _Received) -> StoryContext:
        at = datetime.fromtimestamp(received.message.at, self._zone)
        subscribers = self._directory.subscribers()
        actor = f"dicom:{received.message.calling_ae}"
        return StoryContext(uuid4(), at, "", actor, subscribers=subscribers, address=received.address)

    def _retrieve(self, uid: str, tags: Sequence[int], transfer_syntax: str, peer: PeerAE) -> tuple[int, bytes | None]:
        try:
            performed = self._database.read(performed_steps.find, uid).result(PATIENCE)
        except TimeoutError:
            raise StoreUnavailable("the database does not answer") from None
        if performed is None:
            return st.NO_SUCH_SOP_INSTANCE, None
        row = AuditRecord(
            at=time.time(),
            actor=f"dicom:{peer.calling_ae}",
            action="mpps.viewed",
            kind="mpps",
            object_id=performed.row or 0,
            detail={},
            address=peer.address,
        )
        self._tally.repeated(("mpps", peer.calling_ae, peer.address, performed.row), lambda: row)
        document = performed.document
        kept = set(tags) & set(MPPS) if tags else {tag for tag, a in MPPS.items() if a.keyword in document}
        status = st.NOT_ALL_SUPPORTED if set(tags) - set(MPPS) else st.SUCCESS
        return status, encode(document, kept, transfer_syntax, self._charset)


_INVALID = MppsAnswer(st.INVALID_SOP_INSTANCE, comment="invalid SOP Instance UID", findings=("uid-invalid",))


def _identified(uid: str, message: PerformedMessage, device: Device, address: str) -> _Received:
    """The message under its instance. Without one an N-CREATE gets one, the same for the same bytes of the same AE.

    Empty for what can be no UID at all.
    """
    if not uid and message.kind == MessageKind.CREATE:
        named = hashlib.sha256(message.calling_ae.encode() + b"\0" + message.digest).digest()
        own = f"2.25.{UUID(bytes=named[:16], version=4).int}"
        return _Received(own, message, device, address, ("uid-missing",))
    if uids.is_uid(uid):
        return _Received(uid, message, device, address)
    plausible = 0 < len(uid) <= 64 and uid.replace(".", "").isdigit() and uid.isascii()  # leading zeros are common
    return _Received(uid if plausible else "", message, device, address, ("uid-invalid",))


async def _respond(request: Request, uid: str, answer: MppsAnswer) -> None:
    more: dict[int, cmd.Value] = {}
    if answer.tags:
        more[cmd.ATTRIBUTES] = answer.tags[:256]
    if answer.error_id:
        more[cmd.ERROR_ID] = answer.error_id
    if uid and answer.good:
        more[cmd.AFFECTED_SOP_INSTANCE] = uid
    await request.respond(answer.status, comment=answer.comment, more=more)


def _log(kind: str, uid: str, calling_ae: str, outcome: RecordingOutcome) -> None:
    """What became of a message; a refusal is worth a warning, as is an instance of another AE."""
    answer = outcome.answer
    loud = not answer.good or _LOUD & set(answer.findings)
    (telemetry.logger().warning if loud else telemetry.logger().info)(
        f"mpps.{kind}",
        calling_ae=calling_ae,
        instance=telemetry.identifier(uid),
        status=f"{answer.status:04X}",
        state=outcome.linking or None,
        findings=",".join(answer.findings) or None,
    )
