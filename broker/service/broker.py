"""The broker as one object: the parts of its first process, and the order in which they start and stop.

Start: leases of a killed broker are freed, then the DICOM listeners, the workers, the HL7 listeners, the web and the
control socket open, then the lanes, the housekeeping and the imports begin; ready is announced last. Stop: listeners
and imports first, then the lanes, the web, the housekeeping, the database writer last: everything accepted is
committed and nothing new begins.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from fastapi import FastAPI

from broker import __version__, telemetry
from broker.accounts import links
from broker.accounts.api_tokens import TokenCheck
from broker.accounts.oidc import OpenIdProvider
from broker.accounts.passwords import Passwords
from broker.accounts.second_factor.factors import SecondFactors
from broker.accounts.second_factor.seal import Seal
from broker.accounts.sessions import SessionCheck, SessionTimes
from broker.accounts.signing_in import SignIn
from broker.admin.api import routes
from broker.admin.api import status as status_routes
from broker.admin.app import create_app
from broker.admin.callers import Callers
from broker.admin.context import AdminContext
from broker.admin.forwarded import TrustedProxies
from broker.admin.status import StatusSource
from broker.admin.web import pages
from broker.admin.web.shell import Shell
from broker.delivery.folder.folder_sender import Folders
from broker.delivery.notices.trust import NoticeTls
from broker.delivery.probe.node_probe import NodeTester
from broker.errors import ConfigurationError, StoreUnavailable
from broker.model.audit import AuditRecord
from broker.model.modalities import known_modalities
from broker.orders.mapping_versions import Mappings
from broker.queue.clock_watch import ClockWatch
from broker.routing.adopting.adoption import Adoption
from broker.routing.adopting.one_file import AdoptingDoor, door_of
from broker.routing.held_work import HeldWork
from broker.routing.site import destinations
from broker.service import foundation
from broker.service.backups.daily import BackupDuty
from broker.service.control import ControlServer
from broker.service.datadir import DataDirectory
from broker.service.doctor.checks import examine
from broker.service.doors import backlog, descriptors
from broker.service.doors.web_gate import WebLimits
from broker.service.doors.web_tls import WebTls
from broker.service.health import Monitor
from broker.service.housekeeping import Housekeeping
from broker.service.imaging import Imaging
from broker.service.mending import Mending
from broker.service.messaging import Messaging
from broker.service.sending import Sending
from broker.service.status.gauges import StatusMetrics
from broker.service.web import WebServer
from broker.service.workers.channel import Task
from broker.service.workers.workers import Workers
from broker.settings import Settings
from broker.site.remotes import Receivers, Remotes, Repositories, tls_files
from broker.status.retention import Retention
from broker.tls import TlsContexts, TlsFiles
from broker.versions.watch import Watch
from broker.worklist.source.source_schedule import SourceSchedule


class Broker:
    """The first process, made of settings inside a running event loop."""

    def __init__(
        self, settings: Settings, data: DataDirectory, fail: Callable[[], None], config: Path | None = None
    ) -> None:
        """Open the database and build all parts; no listener is open yet. `fail` is called when it cannot go on.

        `config` is the file of the settings.

        Raises ConfigurationError, StoreUnavailable or SpoolUnavailable.
        """
        self._settings, self._data, self._config = settings, data, config
        self._stack = ExitStack()
        self._mending = Mending()
        folder = settings.service.site.parent
        remotes = Remotes(settings.dicom.ae_title, tls_files(settings.dicom.tls), folder)
        receivers = Receivers(tls_files(settings.hl7.tls), folder)
        repositories = Repositories(tls_files(settings.dicom.tls), folder)
        notice_tls = NoticeTls(folder)
        folders = Folders(folder, settings.service.data_dir)
        base = foundation.lay(
            settings,
            data.log_key(),
            self._stack,
            verify=(remotes.prepare, receivers.prepare, repositories.prepare, notice_tls.prepare, folders.prepare),
            site_file=settings.service.site,
        )
        self._base = base
        base.audit.take_up(settings.service.data_dir)
        self._mappings = Mappings(base.database, known_modalities(settings.worklist.modalities))
        foundation.import_if_writable(partial(self._mappings.first_import, folder / "mapping"), folder / "mapping")
        self._sending = Sending(base, remotes, receivers, repositories, notice_tls, folders, data.owner(), fail)
        self._imaging = Imaging(base, self._sending.wake, None, self._sending.hand_over, self._sending.reported)
        self._stack.callback(self._imaging.close)
        self._messaging = Messaging(base, self._mappings.profiles)
        self._workers = Workers(data.lock, self._sending.wake, fail, base.contacts.heard)
        self._sources = SourceSchedule(base.database, settings, base.directory, remotes, base.contacts.noted)
        base.site.follow(self._sources.changed)
        bells = self._sending.bells
        self._tester = NodeTester(base.database, remotes, receivers, notice_tls, repositories, *bells, folders)
        self._watch = Watch(base.database, base.site, self._mappings.documents)
        self._stack.callback(self._watch.stop)
        self._clock = ClockWatch()
        self._clock.begin_after(data.last_clock())
        self._stack.callback(self._clock.stop)
        self._monitor = Monitor(base, self._imaging, self._messaging, self._workers, self._clock)
        passwords = Passwords()
        self._stack.callback(passwords.close)
        times = SessionTimes(settings.web.session_idle, settings.web.session_lifetime)
        factors = SecondFactors(Seal(data.seal_key), settings.web.second_factor, settings.web.place())
        self._sign_in = SignIn(base.database, passwords, times, factors, base.log_key, time.time)
        self._proxies = TrustedProxies(settings.web.proxy)
        app = self._app()
        self._web = WebServer(app, settings.web.host, settings.web.port, web_limits(settings), self._web_tls())
        self._control = ControlServer(app, settings.service.data_dir)
        self._monitor.web = self._web
        self._housekeeping = Housekeeping(base, self._clock, self._imaging.write_behind, self._monitor.duties)
        self._housekeeping.serve_all(self._sending.wake, data.keep_clock)
        self._housekeeping.keep_marks(self._monitor.marks)
        self._housekeeping.watch(self._monitor)
        self._backups = BackupDuty(settings, self._config, self._monitor.duties)
        self._stack.callback(self._housekeeping.close)

    def _provider(self) -> OpenIdProvider | None:
        section = self._settings.web.oidc
        return None if section is None else OpenIdProvider(section, self.web_address, self._base.database)

    def _app(self) -> FastAPI:
        """Health, status, REST and pages, for the web and for the control socket."""
        settings, base = self._settings, self._base
        metrics = StatusMetrics(self._workers, self._monitor.status)
        status = StatusSource(self._monitor.status, metrics, self._monitor.meters.rates, settings.zone())
        context = AdminContext(
            database=base.database,
            settings=settings,
            directory=base.directory,
            contacts=base.contacts,
            tester=self._tester,
            site=base.site,
            mappings=self._mappings,
            sources=self._sources,
            sign_in=self._sign_in,
            oidc=self._provider(),
            web_address=self.web_address,
            secret=base.log_key,
            wake=self._sending.wake,
            write_behind=partial(self._imaging.write_behind, everything=True),
            audit=base.audit,
            examine=partial(examine, settings, self._config),
            held=HeldWork(
                base.database,
                base.spool.root,
                lambda: base.site.value.rules,
                lambda: destinations(base.site.value),
                self._sending.wake,
            ),
            adoption=Adoption(base.database, settings.service.data_dir, self._adopting),
            retention=Retention(base.database, settings, self._monitor.duties.facts),
            lane_rates=self._monitor.meters.lanes,
        )
        routers = [status_routes.router(status), *routes.routers(context)]
        routers += pages.routers(context, status)
        tokens = TokenCheck(base.database, time.time)
        sessions = SessionCheck(base.database, time.time, settings.web.session_idle)
        callers = Callers(settings.web.admin_token, tokens, sessions)
        shell = Shell(pages.links(), settings.zone())
        return create_app(
            status,
            routers,
            shell=shell,
            callers=callers,
            proxies=self._proxies,
            limits=settings.limits,
            audit=base.audit,
        )

    def _adopting(self) -> AdoptingDoor:
        return door_of(self._settings, self._base.database, self._imaging.reception, self._base.spool)

    def _web_tls(self) -> WebTls | None:
        """HTTPS by `[web.tls]`. Raises ConfigurationError for files that cannot be used."""
        files = self._settings.web.tls
        if files is None:
            return None
        contexts = TlsContexts(TlsFiles(files.certificate, files.key, None), server=True, place="web.tls")
        return WebTls(contexts, self._settings.limits.tls_handshake_timeout)

    def web_address(self) -> str:
        """The address by which browsers reach the web."""
        listening = self._web.listening
        return self._settings.web.address(listening[1] if listening else 0)

    async def first_admin_link(self) -> str | None:
        """A new link by which the first admin is made; None once there is an admin, and while nothing can be stored."""
        try:
            link = await asyncio.wrap_future(self._base.database.submit(links.first_admin, time.time()))
        except StoreUnavailable:
            telemetry.logger().warning("user.no_first_link")
            return None
        return None if link is None else self.web_address() + link.path

    async def start(self) -> None:
        """Open the listeners and start all parts.

        Raises ConfigurationError when a port cannot be bound, other BrokerError when a worker cannot start.
        """
        descriptors.warn_if_few(self._most_descriptors())
        descriptors.serve_first(self._proxies.has)
        backlog.warn_if_short()
        await self._sending.free_leases()
        await self._imaging.start()
        await self._workers.start(self._tasks())
        await self._messaging.start()
        await _open("web.port: cannot listen", self._web.start)
        for host, port in self._monitor.addresses()["web"]:
            telemetry.logger().info("listener.open", listener="web", host=host, port=port)
        await _open(
            "service.data_dir: no control socket", partial(self._mending.attempt, "control socket", self._control.start)
        )
        self._sending.start()
        self._housekeeping.start()
        self._backups.start()
        self._clock.start()
        self._watch.start()
        self._sources.start()
        await self._mending.attempt("listeners.json", self._announce)
        self._note("service.started", version=__version__)
        telemetry.logger().info("service.ready", version=__version__, kind=self._base.database.dialect)

    async def _announce(self) -> None:
        self._data.announce(self._monitor.addresses() | {"pid": os.getpid()})

    async def stop(self, grace: float) -> None:
        """End within about `grace` seconds."""
        telemetry.logger().info("service.stopping")
        self._note("service.stopped")
        await asyncio.to_thread(self._base.database.hasten)
        await self._mending.stop()
        await asyncio.gather(
            self._imaging.stop(grace),
            self._workers.stop(grace),
            self._messaging.stop(grace),
            self._sources.stop(),
            self._backups.stop(),
            self._tester.close(),
        )
        await self._sending.stop(grace)
        await asyncio.gather(self._web.stop(), self._control.stop())
        await asyncio.to_thread(self._housekeeping.stop)
        await asyncio.to_thread(self._stack.close)  # gives back threads and connections; commits what was submitted
        telemetry.logger().info("service.stopped")

    def _note(self, action: str, **detail: str) -> None:
        """Let the audit trail know that this broker starts or stops."""
        self._base.audit.add(
            AuditRecord(at=time.time(), actor="broker", action=action, kind="service", object_id=0, detail=detail)
        )

    def _most_descriptors(self) -> int:
        """How many descriptors the doors and lanes of this process may use at once."""
        lanes = sum(node.associations for node in self._base.directory.nodes)
        doors = len(self._imaging.doors), len(self._messaging.doors)
        return descriptors.needed(self._settings.limits, *doors) + lanes

    def _tasks(self) -> list[Task]:
        """For the workers 2 to N, once the ports are known."""
        ports = {name: port for name, (_, port) in self._imaging.listening().items()}
        return [
            Task(number, self._settings, ports, self._base.log_key)
            for number in range(2, self._settings.service.workers + 1)
        ]


def web_limits(settings: Settings) -> WebLimits:
    """The limits of the web's connections."""
    limits = settings.limits
    return WebLimits(
        connections=limits.web_connections,
        per_address=limits.web_connections_per_address,
        head=limits.web_head_timeout,
        idle=limits.web_idle_timeout,
        proxies=TrustedProxies(settings.web.proxy),
    )


async def _open(mistake: str, start: Callable[[], Awaitable[None]]) -> None:
    """Start a server. Raises ConfigurationError with the mistake where it cannot."""
    try:
        await start()
    except OSError as error:
        raise ConfigurationError(f"{mistake}: {error.strerror or error}") from None
