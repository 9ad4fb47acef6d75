"""The broker as one object: what it is made of, in which order it starts and stops.

Start: data directory, database, site, then the doors, then the lanes; ready is announced last. Stop: doors first,
then lanes, then the writer, so that everything accepted is committed and nothing new begins.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack

from broker import __version__, telemetry
from broker.admin.app import create_app
from broker.admin.views import Sources
from broker.delivery.lane import DicomDelivery
from broker.dicom import command as cmd
from broker.dicom import status as st
from broker.dicom import uids
from broker.dicom.limits import Limits as DicomLimits
from broker.dicom.provider import Provider
from broker.dicom.request import Request, Service
from broker.dicom.tls import TlsContexts, TlsFiles
from broker.errors import ConfigurationError
from broker.hl7.server import Limits as Hl7Limits
from broker.hl7.server import MllpServer
from broker.orders.listener import OrderDoor
from broker.queue.lane import Dispatcher
from broker.queue.policy import RetryPolicy
from broker.routing.reception import Reception
from broker.routing.scp import StorageService
from broker.service.datadir import DataDirectory
from broker.service.health import Monitor
from broker.service.housekeeping import Housekeeping
from broker.service.site import load
from broker.service.web import WebServer
from broker.settings import Hl7Listener, Settings
from broker.site.directory import Directory, NodeAdmission
from broker.site.knocking import KnockBook
from broker.site.remotes import Remotes
from broker.store import jobs
from broker.store.database import Database
from broker.store.spool import Spool
from broker.worklist.scp import WorklistService


class Broker:
    """Made of settings inside a running event loop."""

    def __init__(self, settings: Settings, data: DataDirectory) -> None:
        """Open the database and build everything; no door is open yet.

        Raises ConfigurationError, StoreUnavailable or SpoolUnavailable.
        """
        self._settings = settings
        self._data = data
        self._stack = ExitStack()
        self.database = Database(settings.database_url())
        self._stack.callback(self.database.close)
        self.spool = Spool(settings.service.data_dir / "spool")
        self._stack.callback(self.spool.close)
        site = load(self.database, settings.service.site)
        self.directory = Directory(site.nodes)
        door = settings.dicom.tls
        self._tls_files = TlsFiles(door.certificate, door.key, door.ca, door.crl) if door else None
        self.rules = site.rules
        self.dispatcher = self._dispatcher()
        self.reception = Reception(
            self.database, self.spool, site.rules, settings.zone(), self.dispatcher.wake,
            small=settings.limits.small_object,
        )  # fmt: skip
        self._storage = StorageService(self.reception, settings.dicom.private_sop_classes)
        self._stack.callback(self._storage.close)
        self._doors = self._dicom_doors()
        self._mllp = [self._hl7_door(n, door) for n, door in enumerate(settings.hl7.listeners(), 1)]
        self.monitor = Monitor(settings, self.database, self.directory, self.rules, self._doors, self._mllp)
        self._web = WebServer(
            create_app(Sources(self.monitor.overview, self.monitor.readiness)), settings.web.host, settings.web.port
        )
        self.monitor.web = self._web
        self._housekeeping = Housekeeping(settings, self.database, self.spool, self.directory)
        self._running: asyncio.Task[None] | None = None

    # --- parts -------------------------------------------------------------------------------------------

    def _dispatcher(self) -> Dispatcher:
        delivery = self._settings.delivery
        remotes = Remotes(
            self._settings.dicom.ae_title, self.directory.nodes, self._tls_files, self._settings.service.site.parent
        )
        send = DicomDelivery(self.database, self.spool, self.directory.node, remotes)

        def concurrency(lane: str) -> int:
            node = self.directory.node(lane.partition(":")[2])
            return node.associations if node else 1

        return Dispatcher(
            self.database, {"deliver": send}, RetryPolicy(delivery.retry_first, delivery.retry_last, delivery.give_up),
            f"{socket.gethostname()}:{uuid.uuid4().hex[:8]}", concurrency,
        )  # fmt: skip

    def _dicom_doors(self) -> dict[str, Provider]:
        """Listeners by name. The same is served at each; limits count per listener."""
        settings = self._settings.dicom
        doors = {}
        if settings.plain:
            doors["dicom"] = self._dicom_door(settings.host, settings.port)
        if settings.tls is not None and self._tls_files is not None:
            contexts = TlsContexts(self._tls_files, server=True, place="dicom.tls")
            doors["dicom-tls"] = self._dicom_door(settings.tls.host or settings.host, settings.tls.port, contexts)
        return doors

    def _dicom_door(self, host: str, port: int, tls: TlsContexts | None = None) -> Provider:
        settings, limits = self._settings, self._settings.limits
        worklist = WorklistService(
            self.database, max_answers=settings.worklist.max_answers, charset=settings.worklist.charset
        )
        queries = Service(
            frozenset({uids.MODALITY_WORKLIST}), uids.first_of(uids.EXPLICIT_LE, uids.IMPLICIT_LE),
            {cmd.C_FIND_RQ: worklist.find},
        )  # fmt: skip
        verification = Service(
            frozenset({uids.VERIFICATION}),
            uids.first_of(uids.EXPLICIT_LE, uids.IMPLICIT_LE),
            {cmd.C_ECHO_RQ: self._echo},
        )
        admission = NodeAdmission(
            self.directory, settings.dicom.ae_title, settings.dicom.accept, KnockBook(self.database).knocked,
            identity_required=settings.dicom.user_identity == "required",
        )  # fmt: skip
        return Provider(
            host, port, admission=admission, services=[verification, queries, self._storage.service()], tls=tls,
            limits=DicomLimits(
                limits.half_open_per_address, limits.associations_per_address, limits.associations,
                limits.association_request_timeout, limits.pdu_timeout, limits.association_idle_timeout,
                limits.tls_handshake_timeout, max_object=limits.dicom_object,
                associations_per_second=limits.associations_per_second,
            ),
        )  # fmt: skip

    async def _echo(self, request: Request) -> None:
        """C-ECHO answers success only while the database can be read: a modality's test button must not lie."""
        await asyncio.wrap_future(self.database.ping())
        await request.respond(st.SUCCESS)

    def _hl7_door(self, number: int, door: Hl7Listener) -> MllpServer:
        limits = self._settings.limits
        orders = OrderDoor(
            self.database, listener_name=f"hl7-{number}", accept=door.accept,
            known_sender=self.directory.knows_sender, on_transient=door.on_transient, zone=self._settings.zone(),
            default_station=self._settings.worklist.default_station,
        )  # fmt: skip
        return MllpServer(
            door.host, door.port, orders.handle, on_oversize=orders.on_oversize, on_truncated=orders.on_truncated,
            limits=Hl7Limits(
                limits.hl7_message, limits.hl7_connections, limits.hl7_frame_timeout, limits.hl7_idle_timeout
            ),
        )  # fmt: skip

    # --- life --------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the doors and start the lanes. Raises ConfigurationError when a port cannot be bound."""
        prefix = "" if self.database.dialect == "sqlite" else f"{socket.gethostname()}:"
        freed = await asyncio.wrap_future(self.database.submit(jobs.free_leases, time.time(), owner_prefix=prefix))
        if freed:
            telemetry.logger().info("queue.leases_freed", count=freed)
        for name, door in self._doors.items():
            await self._open(name, door.start)
        for server in self._mllp:
            await self._open("hl7", server.start)
        await self._open("web", self._web.start)
        self._running = asyncio.get_running_loop().create_task(self.dispatcher.run())
        self._running.add_done_callback(_died)
        self._housekeeping.start()
        addresses = self.monitor.addresses()
        self._data.announce(addresses | {"pid": os.getpid()})
        telemetry.logger().info("service.ready", version=__version__, kind=self.database.dialect)

    async def _open(self, name: str, start: Callable[[], object]) -> None:
        try:
            await start()  # type: ignore[misc]
        except OSError as error:
            raise ConfigurationError(
                f"{name.replace('-', '.')}.port: cannot listen: {error.strerror or error}"
            ) from None
        for address in self.monitor.addresses().get(name, []):
            telemetry.logger().info("listener.open", listener=name, host=address[0], port=address[1])

    async def stop(self, grace: float) -> None:
        """End within about `grace` seconds: doors, lanes, housekeeping, writer."""
        telemetry.logger().info("service.stopping")
        dicom = (door.stop(grace) for door in self._doors.values())
        await asyncio.gather(*dicom, *(server.stop(grace) for server in self._mllp))
        await self.dispatcher.stop(grace)
        if self._running is not None:
            await self._running
        await self._web.stop()
        await asyncio.to_thread(self._housekeeping.stop)
        await asyncio.to_thread(self.close)
        telemetry.logger().info("service.stopped")

    def close(self) -> None:
        """Give back threads and connections; commits what was submitted."""
        self._stack.close()


def _died(task: asyncio.Task[None]) -> None:
    """A dispatcher that ends by an error would leave a half-alive process: end it, the supervisor restarts."""
    if not task.cancelled() and task.exception() is not None:
        telemetry.logger().error("queue.defect", error=telemetry.describe(task.exception() or Exception()))
        os.kill(os.getpid(), 15)
