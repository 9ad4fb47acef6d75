"""Serves storage commitment to modalities: takes their N-ACTION, and tells those without an address over their own
associations (PS3.4 J.3.2, J.3.3). It answers after the commit; what is committed, `walk.py` finds out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import Connection

from broker import faults, telemetry
from broker.audit.tally import Tally
from broker.commitment import data_sets
from broker.commitment.report_scp import ReportReceiver
from broker.commitment.telling import JobEnd, end_of, written
from broker.dicom import uids
from broker.dicom.dimse import command as cmd
from broker.dicom.dimse import served
from broker.dicom.dimse import status as st
from broker.dicom.dimse.message import PeerAE
from broker.dicom.dimse.operations import Operations
from broker.dicom.dimse.request import Request, Service
from broker.errors import BadContent, PeerFault, StoreUnavailable, Unavailable
from broker.model.lane import JobState
from broker.site.directory import Directory
from broker.site.nodes import Node
from broker.store import jobs
from broker.store.audit.adding import add_audit
from broker.store.commitments import requests
from broker.store.commitments.requests import NewCommitment, TakenRequest, Taking
from broker.store.db.database import Database
from broker.store.jobs import Job
from broker.threads import ON_LOOP, Threads, long_work

THREADS = 2
SMALL = 1024 * 1024  # bytes of a request; of those that are longer LARGE_AT_ONCE are read at once
LARGE_AT_ONCE = 4
LARGE_WITHIN = 120.0  # seconds until such a request must be here
LOOK, LONGEST = 1.0, 15.0  # seconds between two looks for what is to be told over an association, first and most
LEASE = 120.0  # seconds for telling a result
AGAIN = 60.0  # seconds until a result is told again, after a modality did not take it
ANSWERED = (
    st.AnsweredStatus(st.SUCCESS, "The request is stored. Its result follows by N-EVENT-REPORT."),
    st.AnsweredStatus(st.NO_SUCH_SOP_INSTANCE, "The SOP instance is not that of the SOP class."),
    st.AnsweredStatus(
        st.INVALID_ARGUMENT_VALUE,
        "The data set cannot be read, or lacks its Transaction UID, its list of objects or a UID of an object.",
    ),
    st.AnsweredStatus(st.NO_SUCH_ACTION_TYPE, "The action type is not 1."),
    st.AnsweredStatus(st.NOT_AUTHORIZED, "The caller is no node."),
    st.AnsweredStatus(
        st.RESOURCE_LIMITATION,
        "The database is away, or the disk full, or an internal error; the request names more than 50,000 objects; "
        "1,000 requests of the node, or 1,000,000 objects in them, are not judged yet.",
    ),
)


@dataclass(frozen=True, slots=True)
class _ActionAnswer:
    status: int
    code: str = ""


class CommitmentService:
    """Serves the SOP class Storage Commitment Push Model, for modalities as SCP and for archives as SCU."""

    def __init__(
        self,
        database: Database,
        directory: Directory,
        wake: Callable[[], None],
        tally: Tally,
        reported: Callable[[str], None] = lambda node: None,
    ) -> None:
        """`wake` is called, from any thread, after each commit that made work for the queue.

        `reported` is called, from a thread, with the node of each report of an archive that is stored.
        """
        self._database, self._directory, self._wake = database, directory, wake
        self._threads = Threads(THREADS, "commitment")
        self._reports = ReportReceiver(database, self._name_of, tally, reported)
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self._owner = f"associations:{uuid4().hex}"
        self._telling: dict[int, asyncio.Task[None]] = {}  # by the identity of the peer of an association

    def service(self) -> Service:
        """Registration with the provider. Nobody is offered it while no destination proves that it has objects."""
        return Service(
            served.COMMITMENT.classes,
            served.COMMITMENT.choose,
            {cmd.N_ACTION_RQ: self.action, cmd.N_EVENT_REPORT_RQ: self._reports.event},
            also_user=True,
            offered=lambda: bool(self._directory.proofs()),
            begun=self._begun,
            ended=self._ended,
        )

    def close(self) -> None:
        """Wait for running work."""
        self._threads.close()
        self._reports.close()

    def _name_of(self, peer: PeerAE) -> str:
        node = self._directory.caller(peer.calling_ae, peer.address)
        return node.name if node is not None else ""

    # --- requests ----------------------------------------------------------------------------------------

    async def action(self, request: Request) -> None:
        """Handle an N-ACTION."""
        answer = await self._answer(request)
        note = telemetry.logger().warning if answer.status else telemetry.logger().info
        names = {"calling_ae": request.peer.calling_ae, "peer": request.peer.address}
        note("commitment.requested", status=f"{answer.status:04X}", reason=answer.code or None, **names)
        if not answer.status:
            faults.point("dicom.answer")
        kind = request.command.number(cmd.ACTION_TYPE)
        await request.respond(answer.status, comment=answer.code, more={cmd.ACTION_TYPE: kind})

    async def _answer(self, request: Request) -> _ActionAnswer:
        node = self._name_of(request.peer)
        refusal = _refusal(request, node)
        if refusal is not None:
            await request.data.drain()
            return refusal
        try:
            async with AsyncExitStack() as turn:
                data = await self._read(request, turn)
                syntax, peer = request.context.transfer_syntax, request.peer
                with long_work if len(data) > ON_LOOP else nullcontext():
                    taken = await self._threads.call(self._take, data, syntax, peer, node)
        except BadContent as error:
            await request.data.drain()
            large = error.code in (data_sets.TOO_MANY, "too-large", "identifier-too-large")
            return _ActionAnswer(st.RESOURCE_LIMITATION if large else st.INVALID_ARGUMENT_VALUE, error.code)
        except Unavailable as error:
            return _ActionAnswer(st.RESOURCE_LIMITATION, error.code)
        if taken.taking is Taking.TOO_MANY:
            return _ActionAnswer(st.RESOURCE_LIMITATION, taken.taking)
        return _ActionAnswer(st.SUCCESS, "" if taken.taking is Taking.NEW else taken.taking)

    async def _read(self, request: Request, turn: AsyncExitStack) -> bytes:
        """The data set. Few long ones are held at once. Raises BadContent for one that is too long, Unavailable."""
        data = bytearray()
        try:
            async with asyncio.timeout(None) as deadline:
                while part := await request.data.read(1):
                    data += part
                    if len(data) > data_sets.MAX_BYTES:
                        raise BadContent("data set over the limit of this service", code="too-large")
                    if len(data) > SMALL and deadline.when() is None:
                        deadline.reschedule(asyncio.get_running_loop().time() + LARGE_WITHIN)
                        await turn.enter_async_context(self._large)
        except TimeoutError:
            raise Unavailable("a long request took too long", code="too-slow") from None
        return bytes(data)

    def _take(self, data: bytes, transfer_syntax: str, peer: PeerAE, node: str) -> TakenRequest:
        asked = data_sets.read_request(data, transfer_syntax)
        new = NewCommitment(
            transaction_uid=asked.transaction_uid,
            node=node,
            calling_ae=peer.calling_ae,
            called_ae=peer.called_ae,
            peer=peer.address,
            received_at=time.time(),
            references=asked.references,
        )
        taken = self._database.execute(_take, new)
        if taken.taking is Taking.DUPLICATE:
            self._wake()
        return taken

    # --- results -----------------------------------------------------------------------------------------

    def _begun(self, peer: PeerAE, association: Operations) -> None:
        """Somebody has called who may be told results over this association, as long as it lives."""
        node = self._directory.caller(peer.calling_ae, peer.address)
        if node is not None and association.context(uids.STORAGE_COMMITMENT, as_scp=True) is not None:
            self._telling[id(peer)] = asyncio.get_running_loop().create_task(self._tell_all(node.name, association))

    def _ended(self, peer: PeerAE, released: bool) -> None:
        if (telling := self._telling.pop(id(peer), None)) is not None:
            telling.cancel()

    async def _tell_all(self, name: str, association: Operations) -> None:
        """Tell a node its results over an association of its own: all if it has no address, else what failed before."""
        wait = LOOK
        while True:
            node = self._directory.node(name)
            if node is None:
                return
            try:
                if await asyncio.wrap_future(self._database.read(requests.is_untold, name, tried=_listens(node))):
                    await self._tell(node, association)
                    wait = LOOK
                    continue
            except StoreUnavailable as error:
                telemetry.logger().warning("commitment.unavailable", error=telemetry.describe(error))
            except PeerFault:
                return  # the association is over
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST)

    async def _tell(self, node: Node, association: Operations) -> None:
        """Tell the oldest result that waits. Raises PeerFault, StoreUnavailable."""
        taking = self._database.submit(
            requests.take_untold, node.name, self._owner, time.time(), LEASE, tried=_listens(node)
        )
        job = await asyncio.wrap_future(taking)
        if job is None:
            return
        end = JobEnd(JobState.READY, "connection-lost")
        try:
            context = association.context(uids.STORAGE_COMMITMENT, as_scp=True)
            report = await asyncio.wrap_future(self._database.read(requests.report, job.subject))
            if report is None or context is None:
                end = JobEnd(JobState.HELD, "no-message")
                return
            kind, data = await self._threads.call(written, report, context.transfer_syntax)
            instance = uids.STORAGE_COMMITMENT_INSTANCE
            response = await association.event_report(context.abstract_syntax, instance, kind, data, context=context)
            end = end_of(response.status)
        finally:
            recorded = asyncio.wrap_future(self._database.submit(_record, job, end, time.time()))
            await asyncio.shield(recorded)
        note = telemetry.logger().info if end.state is JobState.DONE else telemetry.logger().warning
        names = {"node": node.name, "job": job.id, "correlation": job.correlation or None}
        note("commitment.told", answer=end.code or None, **names)


def _listens(node: Node) -> bool:
    """We can connect to it."""
    return bool(node.host and node.port)


def _refusal(request: Request, node: str) -> _ActionAnswer | None:
    if not node:
        return _ActionAnswer(st.NOT_AUTHORIZED, "no-node")
    if request.command.sop_instance != uids.STORAGE_COMMITMENT_INSTANCE:
        return _ActionAnswer(st.NO_SUCH_SOP_INSTANCE, "unknown-instance")
    if request.command.number(cmd.ACTION_TYPE) != 1:
        return _ActionAnswer(st.NO_SUCH_ACTION_TYPE, "unknown-action-type")
    return None


def _take(connection: Connection, new: NewCommitment) -> TakenRequest:
    taken = requests.take(connection, new)
    if taken.taking in (Taking.NEW, Taking.DUPLICATE):
        detail = {"node": new.node, "objects": len(new.references)}
        actor = f"dicom:{new.calling_ae}"
        add_audit(
            connection, new.received_at, actor, "commitment.received", "commitment", taken.row, detail, address=new.peer
        )
    return taken


def _record(connection: Connection, job: Job, end: JobEnd, now: float) -> bool:
    if end.state is JobState.READY:
        return jobs.put_back(connection, job, now + AGAIN, end.code, item_fault=False)
    return jobs.finish(connection, job, end.state, now, end.code)
