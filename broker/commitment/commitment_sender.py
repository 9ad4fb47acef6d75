"""Works off lanes `commitment:<node>`: asks archives (N-ACTION) and tells modalities (N-EVENT-REPORT, PS3.4 annex J).

A modality is told over a new association, in which we are the SCP (PS3.4 J.3.3.1.2). One without host and port is told
over its own (`scp.py`); until then its jobs wait here. An archive may report over the association by which it was
asked, for some seconds, or over its own later.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from uuid import uuid4

from broker import faults, telemetry
from broker.audit.tally import Tally
from broker.commitment.data_sets import write_request
from broker.commitment.report_scp import ReportReceiver
from broker.commitment.telling import JobEnd, end_of, written
from broker.delivery.targets import known, looked_up
from broker.dicom import uids
from broker.dicom.association.association import Association
from broker.dicom.association.user import Proposal, Remote, associate
from broker.dicom.dimse.message import PeerAE, PresentationContext
from broker.errors import PeerFault
from broker.model.lane import JobKind, JobState
from broker.queue.feed import Feed
from broker.site.nodes import Node
from broker.store.commitments import asks, requests
from broker.store.commitments.states import AskState
from broker.store.db.database import Database
from broker.store.jobs import Job
from broker.traces import spans

_SYNTAXES = (uids.EXPLICIT_LE, uids.IMPLICIT_LE)
ASKING = Proposal(uids.STORAGE_COMMITMENT, _SYNTAXES)
REPORTING = Proposal(uids.STORAGE_COMMITMENT, _SYNTAXES, scu=False, scp=True)
SAME_ASSOCIATION = 5.0  # seconds that an archive has to report over the association by which it was asked
NO_ADDRESS = "no-address"  # why a modality was not told: we cannot connect to it, and it has not called
NO_CONTEXT = JobEnd(JobState.HELD, "no-presentation-context")
GONE = JobEnd(JobState.HELD, "no-message")


def _any(node: Node) -> bool:
    return node.kind == "dicom"


class CommitmentSender:
    """Handler of the queue for lanes `commitment:<node>`."""

    def __init__(
        self,
        database: Database,
        node: Callable[[str], Node | None],
        remote: Callable[[Node], Remote],
        titled: Callable[[str], Sequence[Node]],
        tally: Tally,
        refresh: Callable[[], object] = lambda: None,
    ) -> None:
        """`node` finds a node in force by its name, `titled` those with an AE title.

        `tally` counts for the audit trail, `refresh` takes over what other processes have published.
        """
        self._database, self._node, self._remote, self._refresh = database, node, remote, refresh
        self._titled = titled
        self._receiver = ReportReceiver(database, self._name_of, tally, self._reported)
        self._loop = asyncio.get_running_loop()
        self._heard: dict[str, asyncio.Event] = {}  # by node that we are asking now
        self._apart: set[str] = set()  # nodes that report over associations of their own

    async def __call__(self, name: str, feed: Feed) -> None:
        """Do what the lane of node `name` holds. Raises PeerFault when the node is away."""
        while jobs := await feed.take():
            place = (name, self._node, _any)
            node = known(*place) or await asyncio.to_thread(looked_up, *place, self._refresh)
            if node is None:
                for job in jobs:
                    feed.hold(job, "unknown-node")
                continue
            if not node.active:
                return  # the feed gives the jobs back, they wait
            if not node.host or not node.port:
                for job in jobs:
                    feed.retry(job, NO_ADDRESS, item_fault=False)
                continue
            questions = [job for job in jobs if job.kind == JobKind.COMMITMENT_ASK]
            if questions:
                await self._ask_all(node, feed, questions)
            if results := [job for job in jobs if job.kind != JobKind.COMMITMENT_ASK]:
                await self._tell_all(node, feed, results)
            if feed.stopping:
                return

    def close(self) -> None:
        """Wait for running work."""
        self._receiver.close()

    def _name_of(self, peer: PeerAE) -> str:
        """The node that answers by a title, over an association of ours: that which we are asking now."""
        return next((node.name for node in self._titled(peer.calling_ae) if node.name in self._heard), "")

    def reported(self, node: str) -> None:
        """A report of a node is stored that came over an association of its own. Callable from any thread."""
        self._apart.add(node)
        self._reported(node)

    def _reported(self, node: str) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._hear, node)

    def _hear(self, node: str) -> None:
        if (event := self._heard.get(node)) is not None:
            event.set()

    # --- archives ----------------------------------------------------------------------------------------

    async def _ask_all(self, node: Node, feed: Feed, jobs: Sequence[Job]) -> None:
        heard = self._heard[node.name] = asyncio.Event()
        try:
            async with associate(self._remote(node), [ASKING], [self._receiver.service()]) as association:
                context = association.context(uids.STORAGE_COMMITMENT)
                asked = False
                for job in jobs:
                    if self._may_begin(node, feed):
                        with spans.attempt(job):
                            end = await self._do(feed, job, self._ask(association, context, job))
                        asked = asked or end.state is JobState.DONE
                if asked:
                    await self._wait_for_reports(node.name, heard)
        finally:
            del self._heard[node.name]

    async def _wait_for_reports(self, name: str, heard: asyncio.Event) -> None:
        """Let an archive report over this association, unless it is known to use its own."""
        if name in self._apart:
            return
        try:
            async with asyncio.timeout(SAME_ASSOCIATION):
                await heard.wait()
        except TimeoutError:
            self._apart.add(name)

    async def _ask(self, association: Association, context: PresentationContext | None, job: Job) -> JobEnd:
        if context is None:
            await self._refused(job, NO_CONTEXT)
            return NO_CONTEXT
        transaction = f"2.25.{uuid4().int}"
        ask = await asyncio.wrap_future(self._database.submit(asks.begin, job.subject, transaction))
        if ask is None:
            return GONE
        data = await asyncio.to_thread(write_request, transaction, ask.references, context.transfer_syntax)
        instance = uids.STORAGE_COMMITMENT_INSTANCE
        response = await association.n_action(context.abstract_syntax, instance, 1, data, context=context)
        end = end_of(response.status)
        if end.state is JobState.DONE:
            await asyncio.wrap_future(self._database.submit(asks.asked, job.subject, time.time()))
        elif end.state is JobState.HELD:
            await self._refused(job, end)
        return end

    async def _refused(self, job: Job, end: JobEnd) -> None:
        telemetry.logger().warning("commitment.not_asked", lane=job.lane, job=job.id, answer=end.code)
        ended = self._database.submit(asks.end, job.subject, AskState.REFUSED, time.time())
        await asyncio.wrap_future(ended)

    # --- modalities --------------------------------------------------------------------------------------

    async def _tell_all(self, node: Node, feed: Feed, jobs: Sequence[Job]) -> None:
        async with associate(self._remote(node), [REPORTING]) as association:
            # one that accepts the SOP class and is silent about roles takes the report all the same
            context = association.context(uids.STORAGE_COMMITMENT, as_scp=True)
            context = context or association.context(uids.STORAGE_COMMITMENT)
            for job in jobs:
                if self._may_begin(node, feed):
                    with spans.attempt(job):
                        await self._do(feed, job, self._tell(association, context, job))

    async def _tell(self, association: Association, context: PresentationContext | None, job: Job) -> JobEnd:
        if context is None:
            return NO_CONTEXT
        report = await asyncio.wrap_future(self._database.read(requests.report, job.subject))
        if report is None:
            return GONE
        kind, data = await asyncio.to_thread(written, report, context.transfer_syntax)
        instance = uids.STORAGE_COMMITMENT_INSTANCE
        response = await association.event_report(context.abstract_syntax, instance, kind, data, context=context)
        return end_of(response.status)

    # --- jobs --------------------------------------------------------------------------------------------

    def _may_begin(self, node: Node, feed: Feed) -> bool:
        """The node is as it was, and nobody stops; else the feed gives the jobs back."""
        return self._node(node.name) == node and not feed.stopping

    async def _do(self, feed: Feed, job: Job, work: Awaitable[JobEnd]) -> JobEnd:
        """Do one job and report it. Raises PeerFault."""
        faults.point("commitment.send")
        try:
            end = await work
        except PeerFault as error:
            feed.retry(job, error.code, item_fault=False)
            raise
        faults.point("commitment.sent")
        match end.state:
            case JobState.DONE:
                feed.done(job, end.code)
            case JobState.READY:
                feed.retry(job, end.code, item_fault=False)
            case _:
                feed.hold(job, end.code)
        telemetry.logger().info("commitment.done", lane=job.lane, kind=job.kind, job=job.id, answer=end.code or None)
        return end
