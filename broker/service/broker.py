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
from functools import partial

from fastapi import APIRouter

from broker import __version__, telemetry
from broker.admin import holds, mappings, mpps, nodes, orders, sources, worklist
from broker.admin.app import create_app
from broker.admin.context import AdminContext
from broker.admin.overview import StatusSource
from broker.delivery.feedback.outbound import SendingParty
from broker.delivery.feedback.sender import FeedbackDelivery
from broker.delivery.image_sender import DicomDelivery
from broker.delivery.mpps_sender import MppsDelivery
from broker.errors import ConfigurationError
from broker.model.lane import Lane, LaneKind
from broker.orders.core import lifecycle
from broker.orders.mappings import Mappings
from broker.orders.step_walk import Walk
from broker.queue.dispatcher import Dispatcher
from broker.queue.policy import RetryPolicy
from broker.routing.rules import RuleSet
from broker.routing.site import Site, first_import, site_in_force
from broker.service.control import ControlServer
from broker.service.datadir import DataDirectory
from broker.service.health import Monitor
from broker.service.housekeeping import Housekeeping
from broker.service.imaging import COPY, Imaging
from broker.service.messaging import Messaging
from broker.service.web import WebServer
from broker.service.workers.channel import Task
from broker.service.workers.workers import Workers
from broker.settings import Settings
from broker.site.directory import Directory
from broker.site.remotes import Receivers, Remotes, tls_files
from broker.store import jobs
from broker.store.db.database import Database
from broker.store.images.spool import Spool
from broker.store.worklist import outage
from broker.store.worklist.outage_keeper import CopyKeeper
from broker.versions.in_force import InForce
from broker.versions.watch import Watch
from broker.worklist.source.source_schedule import SourceSchedule

COPY_EVERY = 30.0  # seconds between two refreshes of the worklist's copy


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
        remotes = Remotes(settings.dicom.ae_title, tls_files(settings.dicom.tls), settings.service.site.parent)
        receivers = Receivers(tls_files(settings.hl7.tls), settings.service.site.parent)
        self.directory = Directory()
        self.site = site_in_force(self.database, (remotes.prepare, receivers.prepare), self.directory.take)
        first_import(self.site, settings.service.site)
        rules = partial(_rules, self.site)
        rules()  # what is stored must be usable before anything else begins
        self.directory.resolve()
        self.site.follow(partial(self.directory.resolve, unknown=True))
        self.mappings = Mappings(self.database)
        self.mappings.first_import(settings.service.site.parent / "mapping")
        self._delivery = DicomDelivery(self.database, self.spool, self.directory.node, remotes)
        self._mpps = MppsDelivery(self.database, self.directory.node, remotes)
        self._feedback = FeedbackDelivery(
            self.database,
            self.directory.node,
            receivers,
            SendingParty(settings.hl7.application, settings.hl7.facility),
            settings.zone(),
        )
        self.dispatcher = self._dispatcher()
        self._imaging = Imaging(
            settings, self.database, self.directory, rules, self.spool, self.dispatcher.wake, data.log_key()
        )
        self._stack.callback(self._imaging.close)
        self._messaging = Messaging(settings, self.database, self.directory, self.mappings.profiles)
        self._workers = Workers(data.lock, self.dispatcher.wake, fail)
        self.monitor = Monitor(
            settings, self.database, self.directory, rules, self._imaging, self._messaging, self._workers
        )
        status = StatusSource(self.monitor.overview, self.monitor.readiness, self._workers)
        self._sources = SourceSchedule(self.database, settings, self.directory, remotes)
        self.site.follow(self._sources.changed)
        self._watch = Watch(self.database, self.site, self.mappings.documents)
        self._stack.callback(self._watch.stop)
        app = create_app(status, self._routers(), token=settings.web.admin_token, body_limit=settings.limits.web_body)
        self._web = WebServer(app, settings.web.host, settings.web.port)
        self._control = ControlServer(app, settings.service.data_dir)
        self.monitor.web = self._web
        self._housekeeping = self._keep_house()
        self._running: asyncio.Task[None] | None = None

    # --- parts -------------------------------------------------------------------------------------------

    def _dispatcher(self) -> Dispatcher:
        times = self._settings.delivery

        def concurrency(lane: Lane) -> int:
            node = self.directory.node(lane.node)
            return node.associations if node and lane.kind is LaneKind.DELIVER else 1

        return Dispatcher(
            self.database,
            {
                LaneKind.DELIVER: self._delivery,
                LaneKind.FEEDBACK: self._feedback,
                LaneKind.MPPS: self._mpps.forward,
                LaneKind.MPPS_EVENT: self._mpps.notify,
            },
            RetryPolicy(times.retry_first, times.retry_last, times.give_up),
            f"{socket.gethostname()}:{uuid.uuid4().hex[:8]}",
            concurrency,
        )

    def _routers(self) -> list[APIRouter]:
        """What REST offers beside health, metrics and the start page."""
        context = AdminContext(
            database=self.database,
            settings=self._settings,
            directory=self.directory,
            site=self.site,
            mappings=self.mappings,
            sources=self._sources,
            secret=self._data.log_key(),
            wake=self.dispatcher.wake,
            write_behind=partial(self._imaging.write_behind, everything=True),
        )
        return [room.router(context) for room in (mappings, holds, mpps, sources, worklist, orders, nodes)]

    def _keep_house(self) -> Housekeeping:
        """What is done again and again, and nobody waits for."""
        settings = self._settings
        house = Housekeeping(self.database, self.directory)
        house.keep_spool(self.spool, settings.delivery.keep_days)
        house.forget_cancels(settings.orders.keep_cancels_days)
        house.keep_callers(self._imaging.write_behind)
        house.forget_appointments(settings.zone())
        walk = Walk(database=self.database, settings=settings, directory=self.directory, wake=self.dispatcher.wake)
        house.close_steps(walk, settings.worklist.closing_every)
        path, age = settings.service.data_dir / COPY, settings.worklist.outage_copy_age
        if age:
            copy = CopyKeeper(self.database, path, lifecycle.OPEN)
            self._stack.callback(copy.close)
            house.keep_copy(copy, min(COPY_EVERY, age / 10))
        else:
            outage.discard(path)  # no file with patients stays behind
        return house

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
        await self._messaging.start()
        await self._open("web", self._web.start)
        await self._open_control()
        self._running = asyncio.get_running_loop().create_task(self.dispatcher.run())
        self._running.add_done_callback(self._died)
        self._housekeeping.start()
        self._watch.start()
        self._sources.start()
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

    async def _open_control(self) -> None:
        try:
            await self._control.start()
        except OSError as error:
            raise ConfigurationError(f"service.data_dir: no control socket: {error.strerror or error}") from None

    async def stop(self, grace: float) -> None:
        """End within about `grace` seconds: doors, lanes, housekeeping, writer."""
        telemetry.logger().info("service.stopping")
        await asyncio.gather(
            self._imaging.stop(grace), self._workers.stop(grace), self._messaging.stop(grace), self._sources.stop()
        )
        await self.dispatcher.stop(grace)
        await self._delivery.close()
        await self._mpps.close()
        await self._feedback.close()
        if self._running is not None:
            await self._running
        await asyncio.gather(self._web.stop(), self._control.stop())
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
            Task(number, self._settings, ports, self._data.log_key())
            for number in range(2, self._settings.service.workers + 1)
        ]

    def _died(self, task: asyncio.Task[None]) -> None:
        """A dispatcher that ends by an error would leave a half-alive process: end it, the supervisor restarts."""
        if not task.cancelled() and task.exception() is not None:
            telemetry.logger().error("queue.defect", error=telemetry.describe(task.exception() or Exception()))
            self._fail()


def _rules(site: InForce[Site]) -> RuleSet:
    """The rules in force just then."""
    return site.value.rules
