"""REST and pages on a database without a process around it, as the web and the control socket serve it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from functools import cache, partial
from typing import Any
from zoneinfo import ZoneInfo

import httpx
from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry

from broker.accounts.api_tokens import TokenCheck
from broker.accounts.oidc import OpenIdProvider
from broker.accounts.sessions import SessionCheck
from broker.accounts.signing_in import SignIn
from broker.admin.api import status
from broker.admin.api.routes import ROUTES
from broker.admin.app import create_app
from broker.admin.callers import Callers
from broker.admin.context import AdminContext
from broker.admin.forwarded import TrustedProxies
from broker.admin.status import StatusSource
from broker.admin.web import pages
from broker.admin.web.shell import Shell
from broker.audit.book import AuditBook
from broker.delivery.notices.trust import NoticeTls
from broker.delivery.probe.node_probe import NodeTester
from broker.model.modalities import known_modalities
from broker.orders.mapping_versions import Mappings
from broker.routing.adopting.adoption import Adoption
from broker.routing.adopting.one_file import AdoptingDoor, door_of
from broker.routing.drafts.four_eyes import permit_of
from broker.routing.held_work import HeldWork
from broker.routing.reception import Reception
from broker.routing.site import Site, destinations, site_in_force
from broker.settings import Settings
from broker.site.contacts import ContactBook
from broker.site.directory import Directory
from broker.site.remotes import Receivers, Remotes, Repositories
from broker.status.facts import BrokerFacts, DatabaseFact
from broker.status.judging import BrokerStatus, judge
from broker.status.lane_rates import LaneRates
from broker.status.rates import Rates
from broker.status.retention import Retention
from broker.store.db.database import Database
from broker.store.images.spool import Spool
from broker.versions.in_force import InForce
from broker.worklist.source.source_schedule import SourceSchedule
from support.service.later import Maker, add_later
from support.service.people import TIMES, cheap, factors

PASSWORDS = cheap()
TOKEN = "a-token-of-the-tests-0123456789"


def routers(database: Database, settings: Settings) -> list[APIRouter]:
    """All routes of REST and of pages."""
    return [make() for make in _makers(database, settings)]


def _makers(
    database: Database,
    settings: Settings,
    book: AuditBook | None = None,
    source: StatusSource | None = None,
    lane_rates: LaneRates | None = None,
) -> list[Maker]:
    source = source or _status()
    directory = Directory()
    folder = settings.service.site.parent
    remotes = Remotes("BROKER", None, folder)
    site = site_in_force(database, (remotes.prepare,), directory.take, permit_of(settings))
    site.value  # noqa: B018 - from now on it follows what is published
    context = AdminContext(
        database=database, settings=settings, directory=directory, contacts=ContactBook(database, directory),
        site=site,
        tester=NodeTester(database, remotes, Receivers(None, folder), NoticeTls(folder), Repositories(None, folder)),
        mappings=Mappings(database, known_modalities(settings.worklist.modalities)),
        sources=SourceSchedule(database, settings, directory, remotes),
        sign_in=SignIn(database, PASSWORDS, TIMES, factors(settings.web.second_factor), b"s" * 32, time.time),
        web_address=settings.web.address,
        oidc=OpenIdProvider(settings.web.oidc, settings.web.address, database) if settings.web.oidc else None,
        secret=b"s" * 32, wake=lambda: None, write_behind=lambda: None, audit=book or AuditBook(database),
        examine=list, held=held_work(database, settings, site),
        adoption=adoption(database, settings, site), retention=Retention(database, settings, tuple),
        lane_rates=lane_rates or LaneRates(),
    )  # fmt: skip
    rooms = [partial(status.router, source), *(partial(room.router, context) for room in ROUTES)]
    return rooms + pages.makers(context, source)


def held_work(database: Database, settings: Settings, site: InForce[Site]) -> HeldWork:
    """What pages and REST do with held objects, on the spool below the data folder."""
    files = settings.service.data_dir / "spool"
    return HeldWork(database, files, lambda: site.value.rules, lambda: destinations(site.value), lambda: None)


def adoption(database: Database, settings: Settings, site: InForce[Site]) -> Adoption:
    """What takes in files that no row knows, with a door that opens when it is asked for."""

    def door() -> AdoptingDoor:
        spool = Spool(settings.service.data_dir / "spool", ahead=0)
        rules = lambda: site.value.rules  # noqa: E731
        return door_of(settings, database, Reception(database, spool, rules, settings.zone(), lambda: None), spool)

    return Adoption(database, settings.service.data_dir, door)


def application(
    database: Database,
    settings: Settings,
    token: str = TOKEN,
    source: StatusSource | None = None,
    *,
    whole: bool = False,
    shell: Shell | None = None,
    lane_rates: LaneRates | None = None,
) -> FastAPI:
    """All routes of the broker, and health. `source` says how the broker is; without one all is well.

    `lane_rates`: what the plot of the queue shows; nothing without.

    Routes are made when somebody asks, unless it is to be `whole`. `shell` is the test's own, if it changes it.
    """
    shell, book = shell or _shell(settings.zone()), AuditBook(database)
    callers = Callers(token, TokenCheck(database, time.time), SessionCheck(database, time.time, TIMES.idle))
    source = source or _status()
    makers, proxies = _makers(database, settings, book, source, lane_rates), TrustedProxies(())
    every = [make() for make in makers] if whole else []
    app = create_app(source, every, shell=shell, callers=callers, proxies=proxies, limits=settings.limits, audit=book)
    if not whole:
        add_later(app, makers, repr(settings.web))
    return app


@cache
def _shell(zone: ZoneInfo) -> Shell:
    """Templates are compiled once in a process."""
    return Shell(pages.links(), zone)


def _status() -> StatusSource:
    return StatusSource(_well, CollectorRegistry(), Rates(), UTC)


async def _well() -> BrokerStatus:
    database = DatabaseFact(kind="sqlite", reachable=True, counted_at=time.time())
    facts = BrokerFacts(now=time.time(), started_at=0, version="0", listeners=(), database=database)
    return BrokerStatus(facts, judge(facts))


class AppClient:
    """Asks an application without a socket, one request after the other."""

    def __init__(self, runner: asyncio.Runner, app: FastAPI, base: str, headers: dict[str, str]) -> None:
        """`headers` go with every request."""
        self._runner = runner
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=base, headers=headers)
        self.get, self.post = partial(self.request, "GET"), partial(self.request, "POST")
        self.put, self.patch = partial(self.request, "PUT"), partial(self.request, "PATCH")

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """The answer; `more` as httpx has it."""
        return self._runner.run(self.http.request(method, path, **more))


@contextmanager
def asking(app: FastAPI, base: str = "http://broker/api/v1", token: str = TOKEN) -> Iterator[AppClient]:
    """A client of an application, by the admin token unless another is given."""
    with asyncio.Runner() as runner:
        client = AppClient(runner, app, base, {"Authorization": f"Bearer {token}"} if token else {})
        try:
            yield client
        finally:
            runner.run(client.http.aclose())
