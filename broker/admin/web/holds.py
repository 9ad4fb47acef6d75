"""The page of held work: jobs that wait for a person, who tries them again or gives them up, singly or all at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.routers import NEEDS, page_router
from broker.admin.sharing import shared
from broker.admin.web import forms, shell
from broker.admin.web.listing import CAP, NOTHING, Column, Filter, Listing, Picked, Table
from broker.admin.web.shell import PageLink
from broker.admin.web.words import counted
from broker.model.lane import Lane, LaneKind
from broker.model.wording import Sentence
from broker.queue import holds
from broker.store import held_jobs
from broker.store.held_jobs import HeldFilter
from broker.store.jobs import HeldJob

LINK = PageLink(title=Sentence("Held work"), path="/holds", icon="holds", right=Right.STATUS)
KINDS = {
    LaneKind.DELIVER: Sentence("images"),
    LaneKind.FEEDBACK: Sentence("news for a RIS"),
    LaneKind.MPPS: Sentence("MPPS"),
    LaneKind.MPPS_EVENT: Sentence("news of MPPS"),
    LaneKind.AUDIT: Sentence("audit messages"),
}
REASON = range(3, 501)  # characters
TABLE = Table(
    path="/holds",
    region="held",
    title=Sentence("Held work"),
    columns=(
        Column(name="pick", title=Sentence("Pick")),
        Column(name="node", title=Sentence("Destination")),
        Column(name="kind", title=Sentence("What")),
        Column(name="error", title=Sentence("Error")),
        Column(name="tries", title=Sentence("Tries"), numeric=True),
        Column(name="since", title=Sentence("Waiting since")),
    ),
    filters=(
        Filter(name="lane", title=Sentence("Lane"), hint=Sentence("like deliver:pacs")),
        Filter(name="error", title=Sentence("Error"), hint=Sentence("code")),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldsView:
    """A page of held work: each job with its lane.

    `problem`: why nothing was changed; `reason` and `picked`: what was typed and picked before.
    """

    listing: Listing[tuple[HeldJob, Lane]]
    kinds: dict[LaneKind, Sentence]
    may_work: bool
    problem: Sentence | None = None
    errors: forms.FieldErrors
    reason: str
    picked: Picked


class _Page:
    """The page with the parts of the broker that it works on."""

    def __init__(self, context: AdminContext) -> None:
        self._database = context.database
        self._wake = context.wake

    def show(
        self,
        request: Request,
        problem: Sentence | None = None,
        status: int = 200,
        errors: forms.FieldErrors | None = None,
        reason: str = "",
        picked: Picked = NOTHING,
    ) -> Response:
        """Draw the list that the query asks for."""
        asked = TABLE.ask(request.query_params)
        after = int(asked.after) if asked.after.isdecimal() and len(asked.after) < 19 else 0  # a row
        rows, total = self._database.read(_look, _filter(asked.values), after, TABLE.size + 1).result()
        view = HoldsView(
            listing=asked.filled(rows, total, lambda row: str(row[0].id)),
            kinds=KINDS,
            may_work=Right.WORK in request.state.rights,
            problem=problem,
            errors=errors or {},
            reason=reason,
            picked=picked,
        )
        return shell.render(request, "holds", view, status)

    def change(
        self, request: Request, picked: Picked, end: Callable[[Connection, int], bool], done: Callable[[int], Sentence]
    ) -> Response:
        """End the holds of picked jobs, and go back to the list; or say why not."""
        if picked.is_empty:
            return self.show(request, Sentence("Pick the rows first. Nothing was changed."), 422)
        try:
            n = self._database.execute(holds.end_all, partial(_rows, picked), end)
        except holds.ListChanged:
            return self.show(request, Sentence("The list has changed meanwhile: look again. Nothing was changed."), 409)
        self._wake()
        return shell.go(TABLE.ask(request.query_params).link(), done(n))


def router(context: AdminContext) -> APIRouter:
    """The routes of the page."""
    routes, page = page_router(Right.STATUS), _Page(context)

    @routes.get("/holds", dependencies=[shared()])
    def show(request: Request) -> Response:
        return page.show(request)

    @routes.post("/holds/release", dependencies=[NEEDS[Right.WORK]])
    async def release(request: Request) -> Response:
        picked = TABLE.picked(await forms.read(request), request.query_params)
        who, where = request.state.actor, request.state.address

        def end(connection: Connection, row: int) -> bool:
            return holds.release(connection, row, who, time.time(), where)

        return await asyncio.to_thread(page.change, request, picked, end, _released)

    @routes.post("/holds/discard", dependencies=[NEEDS[Right.WORK]])
    async def discard(request: Request) -> Response:
        form = await forms.read(request)
        picked, reason = TABLE.picked(form, request.query_params), form.get("reason")
        who, where = request.state.actor, request.state.address
        if len(reason) not in REASON:
            wrong = {"reason": Sentence("Say why, in 3 to 500 characters.")}
            return await asyncio.to_thread(page.show, request, None, 422, wrong, reason, picked)

        def end(connection: Connection, row: int) -> bool:
            return holds.discard(connection, row, who, reason, time.time(), where)

        return await asyncio.to_thread(page.change, request, picked, end, _discarded)

    return routes


def _filter(values: Mapping[str, str]) -> HeldFilter:
    return HeldFilter(lane=values.get("lane", ""), error=values.get("error", ""))


def _look(connection: Connection, wanted: HeldFilter, after: int, limit: int) -> tuple[list[tuple[HeldJob, Lane]], int]:
    """The jobs with their lanes, and how many match."""
    found = held_jobs.find(connection, wanted, after, limit)
    return [(job, Lane.parse(job.lane)) for job in found], held_jobs.count(connection, wanted, CAP + 1)


def _rows(picked: Picked, connection: Connection) -> Sequence[int]:
    """The rows of picked jobs."""
    if picked.expected is None:
        return [int(key) for key in picked.keys if key.isdigit() and len(key) < 19]
    return holds.matching(connection, _filter(picked.values), picked.expected)


def _released(n: int) -> Sentence:
    return counted("%(n)s job is tried again.", "%(n)s jobs are tried again.", n)


def _discarded(n: int) -> Sentence:
    return counted("%(n)s job was given up.", "%(n)s jobs were given up.", n)
