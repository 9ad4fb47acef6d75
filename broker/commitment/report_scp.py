"""Takes the reports of archives that we have asked (N-EVENT-REPORT, PS3.4 J.3.3), over their associations and ours."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from broker import telemetry
from broker.audit.tally import Tally
from broker.commitment.data_sets import ALL_COMMITTED, MAX_BYTES, SOME_FAILED, CommitmentResult, read_report
from broker.dicom import uids
from broker.dicom.dimse import command as cmd
from broker.dicom.dimse import served
from broker.dicom.dimse import status as st
from broker.dicom.dimse.message import PeerAE
from broker.dicom.dimse.request import Request, Service
from broker.errors import BadContent, Unavailable
from broker.model.audit import AuditRecord
from broker.seats import share_of
from broker.store.commitments import asks
from broker.store.commitments.asks import AskedObjects
from broker.store.commitments.states import AskState
from broker.store.db.database import Database
from broker.threads import Threads

UNKNOWN = "unknown-transaction"
PATIENCE = 9.0  # seconds for a read of the database
ANSWERED = (
    st.AnsweredStatus(st.SUCCESS, "What the report says is stored, or was stored before."),
    st.AnsweredStatus(st.PROCESSING_FAILURE, "The broker has not asked this system with this Transaction UID."),
    st.AnsweredStatus(st.NO_SUCH_SOP_INSTANCE, "The SOP instance is not that of the SOP class."),
    st.AnsweredStatus(st.NO_SUCH_EVENT_TYPE, "The event type is neither 1 nor 2."),
    st.AnsweredStatus(st.INVALID_ARGUMENT_VALUE, "The data set cannot be read, or lacks its Transaction UID."),
    st.AnsweredStatus(st.RESOURCE_LIMITATION, "The database is away, or the disk full, or an internal error."),
)


@dataclass(frozen=True, slots=True)
class _ReportAnswer:
    status: int
    code: str = ""


class ReportReceiver:
    """Takes reports. `close` ends its thread."""

    def __init__(
        self,
        database: Database,
        node_of: Callable[[PeerAE], str],
        tally: Tally,
        told: Callable[[str], None] = lambda node: None,
    ) -> None:
        """`node_of` names the node that a peer is, empty for none; `tally` counts what the audit trail is to know.

        `told` is called with the node of each report that is stored, from a thread.
        """
        self._database, self._node_of, self._tally, self._told = database, node_of, tally, told
        self._threads = Threads(1, "commitment-reports")

    def service(self) -> Service:
        """For associations that we ask for: an archive may report over that by which it was asked."""
        return Service(served.COMMITMENT.classes, served.COMMITMENT.choose, {cmd.N_EVENT_REPORT_RQ: self.event})

    def close(self) -> None:
        """Wait for running work."""
        self._threads.close()

    async def event(self, request: Request) -> None:
        """Handle an N-EVENT-REPORT."""
        kind = request.command.number(cmd.EVENT_TYPE)
        try:
            data = await request.data.read_all(MAX_BYTES)
            answer = _refusal(request.command.sop_instance, kind)
            if not answer.status:
                answer = await self._threads.call(self._take, data, request.context.transfer_syntax, request.peer)
        except BadContent as error:
            await request.data.drain()
            answer = _ReportAnswer(st.INVALID_ARGUMENT_VALUE, error.code)
        except Unavailable as error:
            answer = _ReportAnswer(st.RESOURCE_LIMITATION, error.code)
        note = telemetry.logger().warning if answer.status else telemetry.logger().info
        names = {"calling_ae": request.peer.calling_ae, "peer": request.peer.address}
        note("commitment.reported", status=f"{answer.status:04X}", reason=answer.code or None, **names)
        await request.respond(answer.status, comment=answer.code, more={cmd.EVENT_TYPE: kind})

    def _take(self, data: bytes, transfer_syntax: str, peer: PeerAE) -> _ReportAnswer:
        """Store what a report says of the objects that we have asked for; others in it are passed over."""
        result = read_report(data, transfer_syntax)
        node = self._node_of(peer)
        ask = self._database.read(asks.by_uid, result.transaction_uid).result(PATIENCE)
        if ask is None or not node or ask.node != node:
            self._note_stranger(peer)
            return _ReportAnswer(st.PROCESSING_FAILURE, UNKNOWN)
        if ask.state not in (AskState.ANSWERED, AskState.REFUSED):
            self._database.execute(asks.answer, ask.id, _results(ask, result), time.time())
        self._told(node)
        return _ReportAnswer(st.SUCCESS)

    def _note_stranger(self, peer: PeerAE) -> None:
        """Let the audit trail know of a report that nobody asked for: one row for each address in a while."""
        row = AuditRecord(
            at=time.time(),
            actor=f"dicom:{peer.calling_ae}",
            action="commitment.refused",
            kind="commitment",
            object_id=0,
            detail={"why": UNKNOWN},
            address=peer.address,
        )
        self._tally.repeated(("commitment", share_of(peer.address), UNKNOWN), lambda: row)


def _refusal(sop_instance: str, kind: int) -> _ReportAnswer:
    if sop_instance != uids.STORAGE_COMMITMENT_INSTANCE:
        return _ReportAnswer(st.NO_SUCH_SOP_INSTANCE, "unknown-instance")
    if kind not in (ALL_COMMITTED, SOME_FAILED):
        return _ReportAnswer(st.NO_SUCH_EVENT_TYPE, "unknown-event-type")
    return _ReportAnswer(st.SUCCESS)


def _results(ask: AskedObjects, result: CommitmentResult) -> list[int]:
    """What a report says of each object that was asked for. One that it does not name is not committed."""
    return [result.results.get(reference, st.PROCESSING_FAILURE) for reference in ask.references]
