"""Builds the sending side of the broker: one sender for each kind of lane, and the dispatcher that runs the lanes."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Collection
from datetime import tzinfo
from functools import partial

from broker import telemetry
from broker.commitment.commitment_sender import CommitmentSender
from broker.commitment.judging import Judging
from broker.delivery.audit_sender import AuditSender
from broker.delivery.bucket.s3_sender import S3Carrier
from broker.delivery.failing_over import FailingOver
from broker.delivery.feedback.outbound import SendingParty
from broker.delivery.feedback.sender import FeedbackSender
from broker.delivery.folder.folder_sender import FolderCarrier, Folders
from broker.delivery.image_sender import ImageSender
from broker.delivery.mpps_sender import MppsSender
from broker.delivery.notices.notice_sender import NoticeSender
from broker.delivery.notices.trust import NoticeTls
from broker.delivery.notices.wording import Teller
from broker.delivery.object_sender import ByKind, Carrier, OneByOne
from broker.delivery.web.stow_sender import StowCarrier
from broker.dicom.dimse import served
from broker.errors import StoreUnavailable
from broker.model.contact import ContactKind
from broker.model.lane import Lane, LaneKind
from broker.queue.dispatcher import Dispatcher
from broker.queue.retry_policy import RetryPolicy
from broker.service.foundation import Foundation
from broker.site.remotes import Receivers, Remotes, Repositories
from broker.site.times.opening import closing_of
from broker.store import claims

_CONTACTS = {
    LaneKind.DELIVER: ContactKind.DELIVERY,
    LaneKind.FEEDBACK: ContactKind.FEEDBACK,
    LaneKind.MPPS: ContactKind.PASSED_ON,
    LaneKind.MPPS_EVENT: ContactKind.PASSED_ON,
    LaneKind.AUDIT: ContactKind.DELIVERY,
    LaneKind.NOTIFY: ContactKind.NOTICE,
    LaneKind.COMMITMENT: ContactKind.COMMITMENT,
}
LOOK = 2.0  # seconds between two looks for destinations that are away
AGAIN = 5.0  # seconds until leases are freed again that could not be


class Sending:
    """All lanes, in the first process only: images, MPPS, events, feedback to RIS, notices."""

    def __init__(
        self,
        foundation: Foundation,
        remotes: Remotes,
        receivers: Receivers,
        repositories: Repositories,
        notice_tls: NoticeTls,
        folders: Folders,
        owner: str,
        fail: Callable[[], None],
    ) -> None:
        """Nothing is sent yet. `owner` names this start in leases (`DataDirectory.owner`).

        `fail` is called when the dispatcher ends by an error.
        """
        settings, database, node = foundation.settings, foundation.database, foundation.directory.node
        self._database = database
        self._owner = owner
        self._fail = fail
        refresh = foundation.site.refresh
        self._images = ImageSender(database, foundation.spool, node, remotes, refresh, foundation.audit.tally)
        self._stow, self._buckets = StowCarrier(notice_tls, folders.base), S3Carrier(notice_tls, folders.base)
        self._mpps = MppsSender(database, node, remotes, refresh)
        party = SendingParty(settings.hl7.application, settings.hl7.facility)
        self._feedback = FeedbackSender(database, node, receivers, party, settings.zone(), refresh)
        title, zone = settings.dicom.ae_title, settings.zone()
        self._audit = AuditSender(database, node, repositories, title, zone, refresh)
        teller, titled = Teller(title, zone, settings.web.url), foundation.directory.titled
        self._notices = NoticeSender(database, node, titled, notice_tls, teller, refresh)
        self._commitments = CommitmentSender(database, node, remotes, titled, foundation.audit.tally, refresh)
        self._directory = foundation.directory
        self._nodes = {node.name: node for node in self._directory.nodes}
        self._freed = False
        self._stopping = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

        self._dispatcher = self._lanes(foundation, FolderCarrier(folders))
        self._comparing = threading.Lock()
        foundation.site.follow(self._nodes_changed)
        foundation.contacts.follow_echoes(self._dispatcher.alive)
        accepted = served.storage(settings.dicom.private_sop_classes).classes
        self._judging = Judging(database, foundation.spool, foundation.directory, accepted, self._dispatcher.wake)
        self._failing_over = FailingOver(database, lambda: self._directory.nodes, node, self._dispatcher.wake)
        self.wake = self._dispatcher.wake  # tells, from any thread, that there is work
        self.hand_over = self._dispatcher.hand_over
        self.reported = self._commitments.reported  # tells of a report of an archive, see `Imaging`
        self.bells = self.wake, self._dispatcher.alive  # the second tells that a node works, by its name

    def _lanes(self, base: Foundation, folders: FolderCarrier) -> Dispatcher:
        """What runs the lanes, with a handler for each kind of them."""

        def heard(lane: Lane, error: str) -> None:
            base.contacts.noted(lane.node, ContactKind.FAILED if error else _CONTACTS[lane.kind], error)

        times = base.settings.delivery
        return Dispatcher(
            base.database,
            {
                LaneKind.DELIVER: self._objects(base, folders),
                LaneKind.FEEDBACK: self._feedback,
                LaneKind.MPPS: self._mpps.forward,
                LaneKind.MPPS_EVENT: self._mpps.notify,
                LaneKind.AUDIT: self._audit,
                LaneKind.NOTIFY: self._notices,
                LaneKind.COMMITMENT: self._commitments,
            },
            RetryPolicy(times.retry_first, times.retry_last, times.give_up),
            self._owner,
            self._concurrency,
            heard,
            partial(self._closed, base.settings.zone(), lambda: base.site.value.rules.holidays),
        )

    def _objects(self, base: Foundation, folders: FolderCarrier) -> ByKind:
        """The handler of lanes of objects, whatever kind of node they go to."""
        node, more = base.directory.node, (base.site.refresh, base.audit.tally)
        carriers: tuple[Carrier, ...] = (self._stow, folders, self._buckets)
        others = {one.kind: OneByOne(base.database, base.spool, node, one, *more) for one in carriers}
        return ByKind(node, self._images, **others)

    def _concurrency(self, lane: Lane) -> int:
        """How many workers a lane may have."""
        target = self._directory.node(lane.node)
        if target is not None and not target.active:
            return 0  # its jobs wait
        return target.associations if target and lane.kind is LaneKind.DELIVER else 1

    def _closed(self, zone: tzinfo, holidays: Callable[[], Collection[str]]) -> dict[str, bool]:
        """The lanes of objects whose send windows are closed, and whether what is STAT passes."""
        windowed = [node for node in self._nodes.values() if node.send_windows is not None]
        now, days = time.time(), holidays() if windowed else ()
        found = {node.name: closing_of(node, now, zone, days) for node in windowed}
        return {Lane(LaneKind.DELIVER, name).name: one.stat_passes for name, one in found.items() if one is not None}

    def _nodes_changed(self) -> None:
        """Let the lanes of nodes that are new, changed or gone begin afresh. Called by whoever notices a version."""
        with self._comparing:
            before, self._nodes = self._nodes, {node.name: node for node in self._directory.nodes}
            names = before.keys() | self._nodes.keys()
            changed = {name for name in names if before.get(name) != self._nodes.get(name)}
        if changed:
            self._dispatcher.begin_afresh(changed)

    async def free_leases(self) -> None:
        """Give back the jobs that a broker held which was killed. Without room on the disk it waits with the lanes."""
        identity = self._owner.partition(":")[0]
        prefix = "" if self._database.dialect == "sqlite" else f"{identity}:"  # others share a PostgreSQL, no SQLite
        try:
            freed, held = await asyncio.wrap_future(self._database.submit(claims.free_of_dead, prefix))
        except StoreUnavailable as error:
            telemetry.logger().warning("queue.leases_not_freed", error=telemetry.describe(error))
            return
        self._freed = True
        if freed:
            telemetry.logger().info("queue.leases_freed", count=freed)
        if held:
            telemetry.logger().error("queue.deaths", count=held)

    def start(self) -> None:
        """Run the lanes."""
        self._running = asyncio.get_running_loop().create_task(self._run())
        self._running.add_done_callback(self._died)

    async def _fail_over(self) -> None:
        """Look again and again whether a destination is away whose objects are to go to another one."""
        while not self._stopping.is_set():
            moved = 0
            try:
                moved = await asyncio.to_thread(self._failing_over.step)
            except StoreUnavailable as error:
                telemetry.logger().warning("queue.unavailable", error=telemetry.describe(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.0 if moved else LOOK):
                    await self._stopping.wait()

    async def _run(self) -> None:
        """Begin once the leases of before are free: those of this start must not be freed with them."""
        while not self._freed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AGAIN):
                    await self._stopping.wait()
                return
            await self.free_leases()
        failing_over = asyncio.get_running_loop().create_task(self._fail_over())
        self._judging.start()
        try:
            await self._dispatcher.run()
        finally:
            self._stopping.set()
            self._judging.stop()
            await failing_over
            await asyncio.to_thread(self._judging.join)

    async def stop(self, grace: float) -> None:
        """Let running deliveries end within `grace` seconds, then close all associations and connections."""
        self._stopping.set()
        await self._dispatcher.stop(grace)
        await self._images.close()
        await self._stow.close()
        await self._buckets.close()
        await self._mpps.close()
        await self._feedback.close()
        await self._audit.close()
        if self._running is not None:
            await self._running
        await asyncio.to_thread(self._commitments.close)

    def _died(self, task: asyncio.Task[None]) -> None:
        """End the broker if the dispatcher ended by an error: half of it would go on. The supervisor restarts all."""
        if not task.cancelled() and task.exception() is not None:
            telemetry.logger().error("queue.defect", error=telemetry.describe(task.exception() or Exception()))
            self._fail()
