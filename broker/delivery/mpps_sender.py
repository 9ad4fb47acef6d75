"""Passes N-CREATE and N-SET of modalities on, and tells subscribers what happened (PS3.4 F.7, F.9; IHE RAD-6, RAD-7).

A message goes as it came: same SOP Instance UID, same bytes; only a node that does not take its transfer syntax gets it
in the other little endian one. Jobs about one step are a group, so that the queue sends them in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from broker import faults, telemetry
from broker.delivery.outcome import JobVerdict, RequestKind, verdict
from broker.delivery.targets import known, looked_up
from broker.dicom import uids
from broker.dicom.association.association import Association
from broker.dicom.association.pool import Lease, Pair, Pool
from broker.dicom.association.user import Remote
from broker.dicom.conversion.converting import recoded
from broker.dicom.dataset.scan import scan
from broker.dicom.dimse.invocation import Response
from broker.dicom.dimse.message import PresentationContext
from broker.errors import BadContent, PeerFault
from broker.model.performed import MessageKind
from broker.queue.feed import Feed
from broker.site.nodes import Node
from broker.site.tables.roles import MPPS, MPPS_NOTIFICATION
from broker.store.db.database import Database
from broker.store.jobs import Job
from broker.store.mpps import passing
from broker.store.mpps.passing import PassedMessage
from broker.traces import spans

BUSY_IN_A_ROW = 3  # so many in a row that cannot be processed: the receiver is in trouble, not the messages
_STATUS = 0x00400252  # Performed Procedure Step Status
_FINAL = (b"COMPLETED", b"DISCONTINUED")
_SYNTAXES = (uids.EXPLICIT_LE, uids.IMPLICIT_LE)
# what is proposed for each role, one context for each pair
FORWARD = [(uids.PERFORMED_STEP, syntax) for syntax in _SYNTAXES]
NOTIFY = [(uids.PERFORMED_STEP_NOTIFICATION, syntax) for syntax in _SYNTAXES]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The verdict on a request and the code to record: empty for success."""

    verdict: JobVerdict
    code: str


_NOT_TAKEN = _Outcome(JobVerdict.REFUSED, "no-presentation-context")
_NO_MESSAGE = _Outcome(JobVerdict.REFUSED, "no-message")
_Work = Callable[[Lease, Job], Awaitable[_Outcome]]


def _has_role(role: str, node: Node) -> bool:
    return role in node.roles


class MppsSender:
    """Handlers of the queue: `forward` for lanes `mpps:<node>`, `notify` for lanes `mpps-event:<node>`."""

    def __init__(
        self,
        database: Database,
        node: Callable[[str], Node | None],
        remote: Callable[[Node], Remote],
        refresh: Callable[[], object] = lambda: None,
    ) -> None:
        """`node` finds a node in force by its name; `refresh` takes over what other processes have published."""
        self._database = database
        self._node = node
        self._remote = remote
        self._refresh = refresh
        self._pools: dict[tuple[str, str], tuple[Node, Pool]] = {}
        self._closing: set[asyncio.Task[None]] = set()  # pools of nodes that changed

    async def forward(self, name: str, feed: Feed) -> None:
        """Pass on what the lane of node `name` holds. Raises PeerFault when the node is away."""
        await self._serve(name, MPPS, feed, self._pass_on)

    async def notify(self, name: str, feed: Feed) -> None:
        """Report the events that the lane of node `name` holds. Raises PeerFault when the node is away."""
        await self._serve(name, MPPS_NOTIFICATION, feed, self._report)

    async def close(self) -> None:
        """Release the associations that wait for more."""
        await asyncio.gather(*(pool.close() for _, pool in self._pools.values()), *self._closing)

    async def _serve(self, name: str, role: str, feed: Feed, work: _Work) -> None:
        busy = 0
        while jobs := await feed.take():
            place = (name, self._node, partial(_has_role, role))
            node = known(*place) or await asyncio.to_thread(looked_up, *place, self._refresh)  # it may change
            if node is None:
                for job in jobs:
                    feed.hold(job, "unknown-node")
                continue
            if not node.active:
                return  # the feed gives the jobs back, they wait
            async with self._pool(node, role).lease(FORWARD if role == MPPS else NOTIFY) as lease:
                for job in jobs:
                    if self._node(name) != node or feed.paused:
                        return  # it has changed, perhaps it is disabled; the feed gives the jobs back
                    with spans.attempt(job):
                        busy = busy + 1 if await self._do(lease, feed, job, work) else 0
                    if busy >= BUSY_IN_A_ROW:
                        raise PeerFault("the receiver cannot process anything", code="busy")

    async def _do(self, lease: Lease, feed: Feed, job: Job, work: _Work) -> bool:
        """Do one job and report it; whether the receiver was too busy for it."""
        faults.point("mpps.send")
        try:
            outcome = await work(lease, job)
        except PeerFault as error:
            # it ended with this message in flight: perhaps because of it, so others go first next time
            feed.retry(job, error.code, item_fault=lease.in_flight)
            raise
        except BadContent as error:
            outcome = _Outcome(JobVerdict.REFUSED, error.code)
        faults.point("mpps.sent")
        match outcome.verdict:
            case JobVerdict.DONE:
                feed.done(job, outcome.code)
            case JobVerdict.BUSY:
                feed.retry(job, outcome.code, item_fault=False)
            case _:
                feed.hold(job, outcome.code)
        telemetry.logger().info("mpps.passed_on", lane=job.lane, kind=job.kind, job=job.id, answer=outcome.code)
        return outcome.verdict is JobVerdict.BUSY

    # --- forwarding --------------------------------------------------------------------------------------

    async def _pass_on(self, lease: Lease, job: Job) -> _Outcome:
        messages = await asyncio.wrap_future(self._database.read(passing.messages, [job.subject]))
        message = messages.get(job.subject)
        if message is None:
            return _NO_MESSAGE
        again = job.attempts > 1
        if message.kind == MessageKind.CREATE:
            return await self._create(lease, message, again=again)
        outcome = await self._set(lease, message, again=again)
        if outcome.verdict is not JobVerdict.NOT_THERE:
            return outcome
        creation = await asyncio.wrap_future(self._database.read(passing.creation, message.mpps))
        if creation is None:
            return outcome
        # it has lost the step, or never had it: once more from the beginning
        created = await self._create(lease, creation, again=True)
        return await self._set(lease, message, again=True) if created.verdict is JobVerdict.DONE else created

    async def _create(self, lease: Lease, message: PassedMessage, *, again: bool) -> _Outcome:
        uid = message.sop_instance_uid

        async def send(association: Association, context: PresentationContext) -> Response:
            return await association.n_create(context.abstract_syntax, uid, data, context=context)

        pair, data = await self._encoded(lease, message)
        response = await lease.exchange(pair, send)
        if response is None:
            return _NOT_TAKEN
        return _outcome(RequestKind.CREATE, response, again=again or lease.repeated)

    async def _set(self, lease: Lease, message: PassedMessage, *, again: bool) -> _Outcome:
        uid = message.sop_instance_uid

        async def send(association: Association, context: PresentationContext) -> Response:
            return await association.n_set(context.abstract_syntax, uid, data, context=context)

        pair, data = await self._encoded(lease, message)
        response = await lease.exchange(pair, send)
        if response is None:
            return _NOT_TAKEN
        return _outcome(
            RequestKind.SET, response, again=again or lease.repeated, final=await asyncio.to_thread(_is_final, message)
        )

    async def _encoded(self, lease: Lease, message: PassedMessage) -> tuple[Pair, bytes]:
        """Where a message goes on this association, and its bytes there. Raises BadContent if they cannot be made."""
        own = (uids.PERFORMED_STEP, message.transfer_syntax_uid)
        other = next((pair for pair in FORWARD if lease.accepts(pair)), None)
        if lease.accepts(own) or other is None:
            return own, message.data
        return other, await asyncio.to_thread(recoded, message.data, message.transfer_syntax_uid, other[1])

    # --- notification ------------------------------------------------------------------------------------

    async def _report(self, lease: Lease, job: Job) -> _Outcome:
        mpps, event = int(job.detail["mpps"]), int(job.detail["event"])
        instances = await asyncio.wrap_future(self._database.read(passing.sop_instances, [mpps]))
        if mpps not in instances:
            return _NO_MESSAGE

        async def send(association: Association, context: PresentationContext) -> Response:
            return await association.event_report(context.abstract_syntax, instances[mpps], event, context=context)

        pair = next((pair for pair in NOTIFY if lease.accepts(pair)), None)
        response = await lease.exchange(pair, send) if pair else None
        return _NOT_TAKEN if response is None else _outcome(RequestKind.EVENT, response)

    def _pool(self, node: Node, role: str) -> Pool:
        """Associations to a node as it is now; those of before end when they are given back."""
        known, pool = self._pools.get((node.name, role), (None, None))
        if pool is None or known != node:
            if pool is not None:
                task = asyncio.get_running_loop().create_task(pool.close())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
            # one at a time per lane; a subscriber sees us as the SCP of the notification class (PS3.4 F.9)
            pool = Pool(lambda: self._remote(node), keep=node.association_idle, as_scp=role == MPPS_NOTIFICATION)
            self._pools[node.name, role] = node, pool
        return pool


def _outcome(sent: RequestKind, response: Response, *, again: bool = False, final: bool = False) -> _Outcome:
    code = f"status-{response.status:04X}" if response.status else ""
    if response.error_id:
        code += f"-{response.error_id:04X}"
    return _Outcome(verdict(sent, response.status, response.error_id, again=again, final=final), code)


def _is_final(message: PassedMessage) -> bool:
    """An N-SET that ends the step."""
    status = scan(message.data, message.transfer_syntax_uid, {_STATUS}).elements.get(_STATUS)
    return status is not None and status.value.strip(b" \0") in _FINAL
