"""Sends objects one after the other to destinations without associations: folders and DICOMweb services.

What goes out is what `object_source` gives: bytes whose SHA-256 is that of their reception. How one object goes is the
matter of a carrier (`folder/folder_sender.py`, `web/stow_sender.py`), which says how that ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from broker import faults, telemetry
from broker.audit.tally import Tally
from broker.delivery.object_feed import Batch, ObjectFeed
from broker.delivery.object_source import ObjectSource, SpoiledObject
from broker.delivery.outcome import JobVerdict
from broker.delivery.sent_objects import note_sent, note_spoiled
from broker.delivery.targets import known, looked_up
from broker.delivery.throttle import Throttles
from broker.dicom.dataset import part10
from broker.errors import PeerDoubtful, SpoolUnavailable
from broker.queue.feed import Feed
from broker.queue.lane_work import Handler
from broker.site.nodes import Node
from broker.store.db.database import Database
from broker.store.images.instances import StoredObject
from broker.store.images.soundness import MISSING
from broker.store.images.spool import Spool
from broker.store.jobs import Job
from broker.traces import spans


@dataclass(frozen=True, slots=True)
class CarryEnding:
    """How the way of one object ended: a verdict, its code, and the DIMSE status of a warning.

    `cut`: the connection ended with it in flight. `after`: so many seconds it is left alone.
    """

    verdict: JobVerdict
    code: str = ""
    status: int = 0
    cut: bool = False
    after: float = 0


class Carrier(Protocol):
    """Brings single objects to nodes of one kind."""

    kind: str

    async def carry(self, node: Node, job: Job, source: ObjectSource) -> CarryEnding:
        """Bring an object, of which the first piece is read. Raises PeerFault, SpoiledObject, Unavailable."""


class OneByOne:
    """Handler of the queue for jobs of kind `deliver`, for nodes of the carrier's kind."""

    def __init__(
        self,
        database: Database,
        spool: Spool,
        node: Callable[[str], Node | None],
        carrier: Carrier,
        refresh: Callable[[], object] = lambda: None,
        tally: Tally | None = None,
    ) -> None:
        """As those of `ImageSender`."""
        self._database, self._spool, self._node = database, spool, node
        self._carrier, self._refresh, self._tally = carrier, refresh, tally or Tally()
        self._throttles = Throttles()

    async def __call__(self, name: str, feed: Feed) -> None:
        """Send what the lane of node `name` holds. Raises PeerFault when the destination is away."""
        supply = ObjectFeed(self._database, feed)
        try:
            while batch := await supply.take():
                if not await self._send(name, feed, batch):
                    return
        finally:
            await supply.close()

    async def _send(self, name: str, feed: Feed, batch: Batch) -> bool:
        """Send these; False if the rest waits, which the feed gives back."""
        for job, item in batch:
            place = (name, self._node, _is_destination)
            node = known(*place) or await asyncio.to_thread(looked_up, *place, self._refresh)  # it may change
            if node is None:
                feed.hold(job, "unknown-node")
            elif feed.stopping or not node.active or node.kind != self._carrier.kind:
                return False
            elif item is None:
                feed.hold(job, "no-instance")
            else:
                with spans.attempt(job):
                    await self._send_one(node, feed, job, item)
        return True

    async def _send_one(self, node: Node, feed: Feed, job: Job, item: StoredObject) -> None:
        source = ObjectSource(self._spool, item)
        source.throttle = self._throttles.of(node)
        faults.point("delivery.send")
        try:
            if damage := await asyncio.to_thread(source.begin):
                raise SpoiledObject(damage)
            ending = await self._carrier.carry(node, job, source)
        except SpoiledObject as error:
            note_spoiled(item, job.id, error.code)
            feed.hold(job, error.code)
            return
        faults.point("delivery.sent")
        if telemetry.debugging():
            instance = telemetry.identifier(item.sop_instance_uid)
            telemetry.logger().debug("delivery.answered", instance=instance, answer=ending.code or "done")
        match ending.verdict:
            case JobVerdict.DONE:
                feed.done(job, ending.code)
                note_sent(self._tally, node, item, ending.status)
            case JobVerdict.BUSY:
                feed.doubt(job, ending.code, cut=ending.cut, after=ending.after)
                if feed.troubled:
                    raise PeerDoubtful("the destination takes nothing", code=ending.code)
            case _:
                feed.hold(job, ending.code)


def file_header(item: StoredObject) -> bytes:
    """The header of a DICOM file, the same at each try: receivers compare bytes (PS3.10 7.1)."""
    return part10.header(item.sop_class_uid, item.sop_instance_uid, item.transfer_syntax_uid, item.calling_ae)


def checked(source: ObjectSource) -> Iterator[bytes]:
    """The data set, checked. Raises SpoiledObject in place of its last piece, SpoolUnavailable. Blocks."""
    whole = source.whole
    try:
        yield from source.pieces() if whole is None else (whole,)
    except FileNotFoundError:
        raise SpoiledObject(MISSING) from None
    except OSError:
        raise SpoolUnavailable("an object cannot be read", code="spool-unreadable") from None


class ByKind:
    """Gives a lane of objects to the sender for the kind of its node."""

    def __init__(self, node: Callable[[str], Node | None], usual: Handler, **others: Handler) -> None:
        """`usual` is the sender for dicom nodes, and for those that nobody knows any more."""
        self._node, self._usual, self._others = node, usual, others

    async def __call__(self, name: str, feed: Feed) -> None:
        """Send what the lane of node `name` holds. Raises PeerFault when the destination is away."""
        node = self._node(name)
        await self._others.get(node.kind if node is not None else "", self._usual)(name, feed)


def _is_destination(node: Node) -> bool:
    return "destination" in node.roles
