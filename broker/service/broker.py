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
from broker.errors import ConfigurationError
from broker.hl7.server import Limits as Hl7Limits
from broker.hl7.server import MllpServer
from broker.orders.interface import Interface
from broker.orders.listener import OrderDoor
from broker.orders.profile import built_in
from broker.queue.lane import Dispatcher
from broker.queue.policy import RetryPolicy
from broker.service.channel import Task
from broker.service.datadir import DataDirectory
from broker.service.health import Monitor
from broker.service.housekeeping import Housekeeping
from broker.service.imaging import Imaging
from broker.service.site import compile_site, in_force
from broker.service.web import WebServer
from broker.service.workers import Workers
from broker.settings import Hl7Listener, Settings
from broker.site.directory import Directory
from broker.site.remotes import Remotes, tls_files
from broker.store import jobs
from broker.store.database import Database
from broker.store.spool import Spool


class Broker:
    """Made of settings inside a running event loop."""

    def __init__(self, settings: Settings, data: DataDirectory, fail: Callable[[], None]) -> None:
        """Open the database and build everything; no door is open yet. `fail` is called when it cannot go on.

        Raises ConfigurationError, StoreUnavailable or SpoolUnavailable.
        """
        self._settings = settings
        self._data = data
        self._fail = fail
        self._stack = ExitStack()
        self.database = Database(settings.database_url())
        self._stack.callback(self.database.close)
        self.spool = Spool(settings.service.data_dir / "spool")
        self._stack.callback(self.spool.close)
        self._documents = in_force(self.database, settings.service.site)
        site = compile_site(*self._documents)
        self.directory = Directory(site.nodes)
        remotes = Remotes(
            settings.dicom.ae_title, self.directory.nodes, tls_files(settings), settings.service.site.parent
        )
        self._delivery = DicomDelivery(self.database, self.spool, self.directory.node, remotes)
        self.dispatcher = self._dispatcher()
        self._imaging = Imaging(settings, self.database, self.directory, site.rules, self.spool, self.dispatcher.wake)
        self._stack.callback(self._imaging.close)
        self._mllp = [self._hl7_door(n, door) for n, door in enumerate(settings.hl7.listeners(), 1)]
        self._workers = Workers(data.lock, self.dispatcher.wake, fail)
        self.monitor = Monitor(
            settings, self.database, self.directory, site.rules, self._imaging, self._mllp, self._workers
        )
        sources = Sources(self.monitor.overview, self.monitor.readiness, self._workers)
        self._web = WebServer(create_app(sources), settings.web.host, settings.web.port)
        self.monitor.web = self._web
        self._housekeeping = Housekeeping(self.database, self.directory)
        self._housekeeping.keep_spool(self.spool, settings.delivery.keep_days)
        self._housekeeping.forget_appointments(settings.zone())
        self._running: asyncio.Task[None] | None = None

    # --- parts -------------------------------------------------------------------------------------------

    def _dispatcher(self) -> Dispatcher:
        times = self._settings.delivery

        def concurrency(lane: str) -> int:
            node = self.directory.node(lane.partition(":")[2])
            return node.associations if node else 1

        return Dispatcher(
            self.database, {"deliver": self._delivery}, RetryPolicy(times.retry_first, times.retry_last, times.give_up),
            f"{socket.gethostname()}:{uuid.uuid4().hex[:8]}", concurrency,
        )  # fmt: skip

    def _hl7_door(self, number: int, door: Hl7Listener) -> MllpServer:
        limits = self._settings.limits
        known = self.directory.knows_sender if door.accept == "known" else None
        interface = Interface(f"hl7-{number}", known, door.on_transient)
        orders = OrderDoor(
            self.database, interface, lambda header: built_in(), zone=self._settings.zone(),
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
        """Open the doors and start the lanes.

        Raises ConfigurationError when a port cannot be bound, other BrokerError when a worker cannot start.
        """
        prefix = "" if self.database.dialect == "sqlite" else f"{socket.gethostname()}:"
        freed = await asyncio.wrap_future(self.database.submit(jobs.free_leases, time.time(), owner_prefix=prefix))
        if freed:
            telemetry.logger().info("queue.leases_freed", count=freed)
        await self._imaging.start()
        await self._workers.start(self._tasks())
        for server in self._mllp:
            await self._open("hl7", server.start)
        await self._open("web", self._web.start)
        self._running = asyncio.get_running_loop().create_task(self.dispatcher.run())
        self._running.add_done_callback(self._died)
        self._housekeeping.start()
        addresses = self.monitor.addresses()
        self._data.announce(addresses | {"pid": os.getpid()})
        telemetry.logger().info("service.ready", version=__version__, kind=self.database.dialect)

    async def _open(self, name: str, start: Callable[[], object]) -> None:
        try:
            await start()  # type: ignore[misc]
        except OSError as error:
            raise ConfigurationError(f"{name}.port: cannot listen: {error.strerror or error}") from None
        for address in self.monitor.addresses().get(name, []):
            telemetry.logger().info("listener.open", listener=name, host=address[0], port=address[1])

    async def stop(self, grace: float) -> None:
        """End within about `grace` seconds: doors, lanes, housekeeping, writer."""
        telemetry.logger().info("service.stopping")
        await asyncio.gather(
            self._imaging.stop(grace), self._workers.stop(grace), *(server.stop(grace) for server in self._mllp)
        )
        await self.dispatcher.stop(grace)
        await self._delivery.close()
        if self._running is not None:
            await self._running
        await self._web.stop()
        await asyncio.to_thread(self._housekeeping.stop)
        await asyncio.to_thread(self.close)
        telemetry.logger().info("service.stopped")

    def close(self) -> None:
        """Give back threads and connections; commits what was submitted."""
        self._stack.close()

    def _tasks(self) -> list[Task]:
        """For the workers 2 to N, once the ports are known."""
        ports = {name: port for name, (_, port) in self._imaging.listening().items()}
        return [
            Task(number, self._settings, self._documents, ports, self._data.log_key())
            for number in range(2, self._settings.service.workers + 1)
        ]

    def _died(self, task: asyncio.Task[None]) -> None:
        """A dispatcher that ends by an error would leave a half-alive process: end it, the supervisor restarts."""
        if not task.cancelled() and task.exception() is not None:
            telemetry.logger().error("queue.defect", error=telemetry.describe(task.exception() or Exception()))
            self._fail()
