"""Serves imports: of files, of other worklist servers, and the list of items that need a look."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from broker import telemetry
from broker.accounts.roles import Right
from broker.admin.api import batches
from broker.admin.api.order_documents import FiledView
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import NEEDS, admin_router
from broker.admin.viewing import SHOWS_NOTHING, shows, viewing_of
from broker.errors import Unavailable
from broker.model.imported import ImportNote
from broker.model.modalities import known_modalities
from broker.orders.core.context import StoryContext
from broker.orders.importing import filing
from broker.orders.importing.filing import Filed, FiledOrder
from broker.store.db.database import Database
from broker.store.orders import imported
from broker.worklist.source.account import ImportAccount

BATCH = 500  # orders in one import


class FiledBody(BaseModel):
    """An order of a file, and where it stands there. `lenient`: it is an item of a worklist of before."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    place: str = Field(max_length=1000)
    order: Any
    lenient: bool = False


class ImportsBody(BaseModel):
    """Orders of files, each for itself; with `dry_run` nothing is written."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    orders: list[FiledBody] = Field(min_length=1, max_length=BATCH)
    dry_run: bool = False


class ImportFindingView(BaseModel):
    """A field and what is told of it, without its value."""

    path: str
    text: str


class ImportItemView(BaseModel):
    """An imported item that is not simply in place. `source` is a node, empty for files. Times in s since the epoch."""

    source: str
    AccessionNumber: str
    outcome: str
    findings: list[ImportFindingView]
    place: str = ""
    first_at: float = 0
    last_at: float = 0
    times: int = 1


def item_view(note: ImportNote) -> ImportItemView:
    """An item as REST and commands show it."""
    return ImportItemView(
        source=note.source,
        AccessionNumber=note.accession,
        outcome=note.outcome,
        findings=[ImportFindingView(path=path, text=text) for path, text in note.findings],
        place=note.place,
        first_at=note.first_at,
        last_at=note.last_at,
        times=note.times,
    )


class ImportBody(BaseModel):
    """How to import."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool = False


class SourceReport(BaseModel):
    """What became of an import: items by outcome, why some were refused, attributes that orders do not keep.

    `items` are those that were refused or left out, that ended as they ended there, or that were taken with findings.
    """

    node: str
    dry_run: bool
    complete: bool = Field(description="The server told all it has, and all of it could be read")
    error: str = Field(description="Code of what ended the import, empty if nothing did")
    outcomes: dict[str, int]
    reasons: dict[str, int]
    left_out: dict[str, int]
    items: list[ImportItemView] = []


def router(context: AdminContext) -> APIRouter:
    """Routes under /api/v1/imports and /api/v1/worklist/sources, for admins."""
    routes = admin_router("/api/v1", Right.PATIENTS)
    _files(routes, context)
    _servers(routes, context)
    return routes


def _files(routes: APIRouter, context: AdminContext) -> None:
    database, modalities = context.database, known_modalities(context.settings.worklist.modalities)

    @routes.post(
        "/imports",
        dependencies=[NEEDS[Right.WORK], SHOWS_NOTHING],
        tags=["orders"],
        responses={200: {"model": FiledView, "description": "What became of each order, in their sequence"}},
    )
    async def take_in(request: Request, body: ImportsBody) -> Response:
        """Take in orders of files, each in its own transaction: `broker import`.

        Once the database is away the rest has the outcome `unavailable`: send these again. Is it all, then with 503.
        `noted` is false if what became of them could not be noted for the list of imported items.
        """
        orders = await asyncio.to_thread(
            lambda: [filing.read(one.place, one.order, modalities, lenient=one.lenient) for one in body.orders]
        )
        story, dry = partial(context.story, request), body.dry_run

        async def taken(order: FiledOrder) -> Filed:
            return await asyncio.wrap_future(database.submit(filing.take_in, order, story(), dry=dry))

        results = await batches.outcomes(partial(taken, order) for order in orders)
        known = [(order, filed) for order, filed in zip(orders, results, strict=True) if filed is not None]
        noted = dry or await _noted(database, known, story())
        reports = [filed.report(dry=dry) if filed is not None else batches.AWAY for filed in results]
        return JSONResponse({"results": reports, "noted": noted})

    @routes.get("/imports", dependencies=[shows("import")], tags=["orders"])
    async def items(
        request: Request,
        source: Annotated[str | None, Query(max_length=64, description="Name of a node; empty: files")] = None,
        limit: Annotated[int, Query(ge=1, le=imported.MOST)] = 1000,
    ) -> list[ImportItemView]:
        """List imported items that were refused, left out, ended or taken with findings; the latest first."""
        notes = await asyncio.wrap_future(database.read(imported.find, source, limit))
        viewing_of(request).many(len(notes))
        return [item_view(note) for note in notes]


async def _noted(database: Database, results: Sequence[tuple[FiledOrder, Filed]], story: StoryContext) -> bool:
    """What became of orders of files is noted; False if the database is away, and they are in place all the same."""
    try:
        await asyncio.wrap_future(database.submit(filing.record, results, story))
    except Unavailable as error:
        telemetry.logger().warning("import.not_noted", count=len(results), error=telemetry.describe(error))
        return False
    return True


def _servers(routes: APIRouter, context: AdminContext) -> None:
    @routes.post(
        "/worklist/sources/{node}/import", dependencies=[NEEDS[Right.WORK], shows("import")], tags=["worklist"]
    )
    async def run(
        request: Request, node: Annotated[str, Path(max_length=64)], body: ImportBody | None = None
    ) -> SourceReport:
        """Take over the worklist of a node now, at most 100 seconds long. With `dry_run` nothing is written."""
        account = await context.sources.run(node, dry=body is not None and body.dry_run)
        if account is None:
            raise Problem(404, "No such node with role worklist that is neither disabled nor blocked")
        viewing_of(request).many(len(account.named))
        return report(account)


def report(account: ImportAccount) -> SourceReport:
    """An import as REST and commands show it."""
    return SourceReport(
        node=account.node,
        dry_run=account.dry,
        complete=account.complete,
        error=account.error,
        outcomes=dict(account.counts),
        reasons=dict(account.reasons),
        left_out=dict(account.left_out),
        items=[item_view(note) for note in account.named],
    )
