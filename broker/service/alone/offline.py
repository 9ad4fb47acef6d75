"""Serves one REST request inside a command, on the database of a broker that does not run."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from broker.accounts.api_tokens import TokenCheck
from broker.accounts.passwords import Passwords
from broker.accounts.second_factor.factors import SecondFactors
from broker.accounts.second_factor.seal import Seal
from broker.accounts.sessions import SessionTimes
from broker.accounts.signing_in import SignIn
from broker.admin import problems
from broker.admin.access import Access
from broker.admin.api import audit, fsck, mapping_drafts, mappings
from broker.admin.api.accounts import sessions, tokens, users
from broker.admin.api.nodes import knocking, node_tests, nodes
from broker.admin.api.routing import rule_drafts, site
from broker.admin.api.upkeep import retention
from broker.admin.callers import LOCAL_USER, Callers
from broker.admin.context import AdminContext
from broker.admin.routers import add_routes
from broker.admin.sharing import Sharing
from broker.audit import export
from broker.audit.book import AuditBook
from broker.delivery.folder.folder_sender import Folders
from broker.delivery.notices.trust import NoticeTls
from broker.delivery.probe.node_probe import NodeTester
from broker.errors import BadContent, ConfigurationError, Unavailable
from broker.model.audit import LOCAL, AuditRecord
from broker.model.modalities import known_modalities
from broker.orders.mapping_versions import Mappings
from broker.routing.adopting.adoption import Adoption
from broker.routing.drafts.four_eyes import permit_of
from broker.routing.held_work import HeldWork
from broker.routing.site import NODES, Site, destinations, first_import, site_in_force
from broker.service.alone.own_door import OwnDoor
from broker.settings import Settings
from broker.settings.mistakes import wording
from broker.site.contacts import ContactBook
from broker.site.directory import Directory
from broker.site.remotes import Receivers, Remotes, Repositories, tls_files
from broker.status.retention import Retention
from broker.store.audit.adding import add_audit
from broker.store.db.database import Database
from broker.versions.in_force import InForce
from broker.worklist.source.source_schedule import SourceSchedule

ADMIT = "/api/v1/nodes/admit"
_ROOMS = (
    audit,
    fsck,
    mapping_drafts,
    mappings,
    rule_drafts,
    site,
    knocking,
    nodes,
    node_tests,
    retention,
    tokens,
    users,
    sessions,
)


def request(
    settings: Settings, database: Database, method: str, path: str, body: Any, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    """The answer that the running broker would give to the user of this process. Raises ConfigurationError."""
    app = _app(settings, database, newcomer=path == ADMIT)

    async def local(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, LOCAL_USER: getpass.getuser()}, receive, send)

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=local), base_url="http://broker") as http:
            return await http.request(method, path, json=body, headers=headers)

    try:
        return asyncio.run(ask())
    finally:
        app.state.door.close()


def export_audit(settings: Settings, database: Database, body: Mapping[str, Any]) -> Iterator[str]:
    """The file that `/api/v1/audit/export` would give to the user of this process. Raises BadContent."""
    try:
        wanted = audit.AuditExportBody.model_validate(body)
    except ValidationError as error:
        raise BadContent(wording(error.errors()[0])) from None
    count = 0

    def counted() -> Iterator[AuditRecord]:
        nonlocal count
        for record in export.records(database, audit.selection_of(database, wanted)):
            count += 1
            yield record

    yield from export.lines(counted(), wanted.form, settings.zone())
    detail = {"filters": sorted(set(body) - {"form"}), "count": count}
    actor = f"cli:{getpass.getuser()}"
    database.execute(add_audit, time.time(), actor, "audit.exported", "audit", 0, detail, address=LOCAL)


def _app(settings: Settings, database: Database, *, newcomer: bool) -> FastAPI:
    """The routes that need nothing but database and spool.

    A `newcomer` joins the nodes of the site file, if none is stored. Otherwise it would be the only node, and the next
    start would not read the others. Raises ConfigurationError.
    """
    folder, own = settings.service.site.parent, tls_files(settings.dicom.tls)
    remotes = Remotes(settings.dicom.ae_title, own, folder)
    receivers = Receivers(tls_files(settings.hl7.tls), folder)
    repositories, notice_tls, directory = Repositories(own, folder), NoticeTls(folder), Directory()
    folders = Folders(folder, settings.service.data_dir)
    verify = (remotes.prepare, receivers.prepare, repositories.prepare, notice_tls.prepare, folders.prepare)
    in_force = site_in_force(database, verify, directory.take, permit_of(settings))
    if newcomer and NODES not in in_force.stored():
        first_import(in_force, settings.service.site)
    with contextlib.suppress(ConfigurationError):  # what cannot be used any more can be rolled back all the same
        directory.take(in_force.value.nodes)
    factors = SecondFactors(Seal(_no_key), (), "")
    book = AuditBook(database)
    door = OwnDoor(settings, database, in_force, directory, book)
    context = AdminContext(
        database=database,
        settings=settings,
        directory=directory,
        contacts=ContactBook(database, directory),
        tester=NodeTester(database, remotes, receivers, notice_tls, repositories, folders=folders),
        site=in_force,
        mappings=Mappings(database, known_modalities(settings.worklist.modalities)),
        sources=SourceSchedule(database, settings, directory, remotes),
        sign_in=SignIn(database, Passwords(), SessionTimes(0, 0), factors, b"", time.time),
        oidc=None,
        web_address=settings.web.address,
        secret=b"",
        wake=lambda: None,
        write_behind=lambda: None,
        audit=book,
        examine=list,
        held=_held_work(database, settings, in_force),
        adoption=Adoption(database, settings.service.data_dir, door.open),
        retention=Retention(database, settings, tuple),
    )
    app = FastAPI()
    app.state.audit, app.state.door = book, door
    app.state.sharing = Sharing(lambda request: None)
    problems.handle(app)
    app.add_middleware(Access, callers=Callers("", TokenCheck(database, time.time)), limits=settings.limits)
    for room in _ROOMS:
        add_routes(app, room.router(context))
    return app


def _held_work(database: Database, settings: Settings, site: InForce[Site]) -> HeldWork:
    files = settings.service.data_dir / "spool"
    return HeldWork(database, files, lambda: site.value.rules, lambda: destinations(site.value), lambda: None)


def _no_key() -> bytes:
    """Nobody signs in while no broker runs. Raises Unavailable."""
    raise Unavailable
