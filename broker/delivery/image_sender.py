"""Sends objects to a DICOM node: many per association, bytes as they were received (PS3.4 annex B, SCU).

Presentation contexts are chosen from what is queued. An object that is not compressed is converted for a destination
that takes it in another syntax only (PS3.5 10.1). A destination that refuses all contexts of an object holds the
objects that need them, and only those. Associations come from a pool: modalities send one image at a time, and each is
passed on at once without the cost of a new association.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import partial

from broker import faults, telemetry
from broker.audit.tally import Tally
from broker.delivery.converted_source import NOT_CONVERTIBLE, ConvertedSource, conversion_note
from broker.delivery.object_feed import Batch, ObjectFeed
from broker.delivery.object_source import ObjectSource, SpoiledObject
from broker.delivery.outcome import JobVerdict, RequestKind, verdict
from broker.delivery.patience import Patience
from broker.delivery.sent_objects import note_sent, note_spoiled
from broker.delivery.targets import known, looked_up
from broker.delivery.throttle import Throttle, Throttles
from broker.dicom.association.pool import Lease, Pair, Pool
from broker.dicom.association.user import Remote
from broker.dicom.conversion.syntaxes import instead_of
from broker.dicom.dimse.message import Data
from broker.dicom.wire.connection import DeadlinePassed
from broker.errors import PeerDoubtful, PeerFault
from broker.queue.feed import Feed
from broker.site.nodes import Node
from broker.store.db.database import Database
from broker.store.images.instances import StoredObject
from broker.store.images.spool import Spool
from broker.store.jobs import Job
from broker.traces import spans

AHEAD = 32  # objects left to send when the next are claimed: time for two commits and a read

_Item = tuple[Job, StoredObject, Pair]  # the pair in which it is sent
_Load = asyncio.Future[tuple[ObjectSource, str]]


class ImageSender:
    """Handler of the queue for jobs of kind `deliver`."""

    def __init__(
        self,
        database: Database,
        spool: Spool,
        node: Callable[[str], Node | None],
        remote: Callable[[Node], Remote],
        refresh: Callable[[], object] = lambda: None,
        tally: Tally | None = None,
    ) -> None:
        """`node` finds a node in force by its name; `refresh` takes over what other processes have published.

        `tally` counts what is sent for the audit trail.
        """
        self._tally = tally or Tally()
        self._database = database
        self._spool = spool
        self._node = node
        self._remote = remote
        self._refresh = refresh
        self._throttles = Throttles()
        self._pools: dict[str, tuple[Node, Pool, Patience]] = {}
        self._closing: set[asyncio.Task[None]] = set()  # pools of nodes that changed

    async def __call__(self, name: str, feed: Feed) -> None:
        """Send what the lane of node `name` holds. Raises PeerFault when the destination is away."""
        supply = ObjectFeed(self._database, feed)
        try:
            batch = await supply.take()
            while batch and not feed.stopping:  # the feed gives back what is left
                place = (name, self._node, _is_destination)
                node = known(*place) or await asyncio.to_thread(looked_up, *place, self._refresh)  # it may change
                if node is None:
                    for job, _ in batch:
                        feed.hold(job, "unknown-node")
                    batch = await supply.take()
                elif not node.active or node.kind != "dicom":
                    return  # the feed gives the jobs back, they wait
                else:
                    batch = await self._send(node, feed, supply, batch)
        finally:
            await supply.close()

    async def close(self) -> None:
        """Release the associations that wait for more."""
        await asyncio.gather(*(pool.close() for _, pool, _ in self._pools.values()), *self._closing)

    async def _send(self, node: Node, feed: Feed, supply: ObjectFeed, batch: Batch) -> Batch:
        """Send on one association; returns jobs that need another one, or the next ones."""
        calm = [one for one in batch if not feed.cuts(one[0])]
        now, rest = (calm, [one for one in batch if feed.cuts(one[0])]) if calm else (batch[:1], batch[1:])
        pairs = list(dict.fromkeys(_pair(item) for _, item in now if item is not None))
        if not pairs:
            for job, _ in now:
                feed.hold(job, "no-instance")
            return rest or await supply.take()
        try:
            pool, patience = self._pool(node)
            within = 0 if calm else patience.for_one(now[0][0].id)
            async with pool.lease(pairs, fresh=not calm, within=within) as lease:
                sending = _Sending(lease, self._spool, feed, patience, supply.ahead, partial(self._sent, node))
                sending.throttle = self._throttles.of(node)
                while now and self._node(node.name) == node:
                    if left := [*await sending.send(now), *rest]:
                        return left
                    now = await supply.take()
                    if any(feed.cuts(job) for job, _ in now):
                        break  # an object that has ended an association needs one of its own
        except _CutShort as cut:  # the association was aborted, so that the peer has no part of an object as a whole
            return [*cut.left, *rest] or await supply.take()
        return [*now, *rest]

    def _sent(self, node: Node, item: StoredObject, status: int) -> None:
        note_sent(self._tally, node, item, status)

    def _pool(self, node: Node) -> tuple[Pool, Patience]:
        """Associations to a node as it is now; those of before end when they are given back."""
        known, pool, patience = self._pools.get(node.name, (None, None, None))
        if pool is None or patience is None or known != node:
            if pool is not None:
                task = asyncio.get_running_loop().create_task(pool.close())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
            patience = wanted = Patience(node.answer_timeout)
            pool = Pool(
                lambda: replace(self._remote(node), response_timeout=wanted.seconds),
                limit=node.associations,
                keep=node.association_idle,
                instead=instead_of,
            )
            self._pools[node.name] = node, pool, patience
        return pool, patience


class _CutShort(Exception):
    """An object has ended its association; `left` is still to be sent."""

    def __init__(self, left: Batch) -> None:
        super().__init__()
        self.left = left


class _Sending:
    """The objects of one association."""

    def __init__(
        self,
        lease: Lease,
        spool: Spool,
        feed: Feed,
        patience: Patience,
        ahead: Callable[[], None],
        sent: Callable[[StoredObject, int], None],
    ) -> None:
        """`ahead` is called when few are left to send, `sent` for each object that was taken."""
        self._sent = sent
        self._patience = patience
        self._lease = lease
        self._spool = spool
        self._feed = feed
        self._ahead = ahead
        self._stored = False
        self.throttle: Throttle | None = None
        self._later: Batch = []

    async def send(self, batch: Batch) -> Batch:
        """Send these; returns those whose context was not proposed on this association."""
        ready: list[_Item] = []
        self._later = []
        for job, item in batch:
            if item is None:
                self._feed.hold(job, "no-instance")
            elif way := self._lease.way(_pair(item)):
                ready.append((job, item, way))
            else:
                self._not_accepted(job, item)
        await self._send_all(ready)
        return self._later

    def _not_accepted(self, job: Job, item: StoredObject) -> None:
        pair = _pair(item)
        if self._lease.offered(pair) and self._lease.way(pair) is None:
            self._feed.hold(job, "no-presentation-context")
        else:
            self._later.append((job, item))

    async def _send_all(self, ready: Sequence[_Item]) -> None:
        """One after the other; the next is read while the destination stores the one before."""
        loading = self._load(ready[:1])
        try:
            for number, (job, item, _) in enumerate(ready):
                if len(ready) - number == AHEAD:
                    self._ahead()
                if self._feed.paused:
                    return
                source, damage = await loading[0]
                loading = self._load(ready[number + 1 : number + 2])
                if damage:
                    with spans.attempt(job):
                        self._spoiled(job, source, damage)
                    continue
                try:
                    with spans.attempt(job):
                        await self._send_one(job, source)
                except SpoiledObject as error:
                    with spans.attempt(job):
                        self._spoiled(job, source, error.code)
                    raise _CutShort([*((job, item) for job, item, _ in ready[number + 1 :]), *self._later]) from error
        finally:
            for future in loading:
                future.cancel()

    def _load(self, items: Sequence[_Item]) -> list[_Load]:
        """For each its bytes, of which the first piece is read; and why it cannot be sent."""
        loop = asyncio.get_running_loop()
        loads: list[_Load] = []
        for _, item, (_, syntax) in items:
            own = syntax == item.transfer_syntax_uid
            source = ObjectSource(self._spool, item) if own else ConvertedSource(self._spool, item, syntax)
            source.throttle = self.throttle
            if not own or not source.at_hand:
                loads.append(loop.run_in_executor(None, _begun, source))
            else:
                loads.append(loop.create_future())
                loads[-1].set_result(_begun(source))
        return loads

    def _spoiled(self, job: Job, source: ObjectSource, code: str) -> None:
        """Hold an object whose bytes are not what was received, and say so: a disk or a person has changed them.

        Or it cannot be converted: then its sender wrote it so.
        """
        if code == NOT_CONVERTIBLE and isinstance(source, ConvertedSource):
            instance = telemetry.identifier(source.item.sop_instance_uid)
            telemetry.logger().warning("object.not_convertible", instance=instance, job=job.id, reason=source.fault)
            self._feed.hold(job, code)
            return
        note_spoiled(source.item, job.id, code)
        self._feed.hold(job, code)

    async def _send_one(self, job: Job, source: ObjectSource) -> None:
        faults.point("delivery.send")
        item, began = source.item, time.monotonic()
        way = item.sop_class_uid, source.transfer_syntax
        try:
            response = await self._lease.store(way, item.sop_instance_uid, partial(_data, source))
        except PeerFault as error:
            if not self._lease.in_flight:
                raise
            self._cut(job, error.code)
            raise PeerDoubtful("the association ended with an object in flight", code=error.code) from error
        if response is None:  # an association that had ended was replaced, and now the destination does not want it
            self._not_accepted(job, item)
            return
        faults.point("delivery.sent")
        self._patience.answered(job.id, time.monotonic() - began)
        status = response.status
        code = f"status-{status:04X}"
        match verdict(RequestKind.STORE, status, again=job.attempts > 1):
            case JobVerdict.DONE:
                self._stored = True
                note = conversion_note(job.lane, source)
                self._feed.done(job, code if status else note)
                self._sent(item, status)
            case JobVerdict.BUSY:
                self._feed.doubt(job, code)
                if self._feed.troubled:
                    raise PeerDoubtful("the destination is out of resources", code=code)
            case _:
                self._feed.hold(job, code)
        if telemetry.debugging():
            telemetry.logger().debug(
                "delivery.answered", instance=telemetry.identifier(item.sop_instance_uid), status=f"{status:04X}"
            )

    def _cut(self, job: Job, code: str) -> None:
        """The association ended with this object in flight. It is tried alone next."""
        after = self._patience.passed(job.id) if code == DeadlinePassed.code else 0
        if not self._stored:
            self._feed.doubt(job, code, cut=True, after=after)
            return
        self._feed.suspect(job)  # such as a destination that ends each association after a while: again at once
        if after:
            self._feed.retry(job, code, item_fault=False, after=after)


def _data(source: ObjectSource) -> Data:
    whole = source.whole
    if source.throttle is not None:
        return _paced(source, source.throttle)
    return _streamed(source) if whole is None else whole


async def _streamed(source: ObjectSource) -> AsyncIterator[bytes]:
    pieces = source.pieces()
    while piece := await asyncio.to_thread(next, pieces, b""):
        yield piece


async def _paced(source: ObjectSource, throttle: Throttle) -> AsyncIterator[bytes]:
    pieces = source.pieces() if (whole := source.whole) is None else iter((whole,))
    while piece := await asyncio.to_thread(next, pieces, b""):
        for chunk, wait in throttle.cut(piece):
            await asyncio.sleep(wait)
            yield chunk


def _begun(source: ObjectSource) -> tuple[ObjectSource, str]:
    return source, source.begin()


def _is_destination(node: Node) -> bool:
    return "destination" in node.roles


def _pair(item: StoredObject) -> Pair:
    return item.sop_class_uid, item.transfer_syntax_uid
