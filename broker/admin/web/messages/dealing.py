"""Marks refused messages as dealt with, one or all that are picked, and undoes that."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import Connection

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.routers import page_router
from broker.admin.viewing import SHOWS_NOTHING, shows
from broker.admin.web import forms, shell
from broker.admin.web.listing import Picked
from broker.admin.web.messages import filters, journal
from broker.admin.web.messages.feedback import REASON
from broker.admin.web.words import Sentence, counted
from broker.model.message import MessageRecord
from broker.orders.journal import dealing, finding
from broker.queue.holds import ListChanged

Row = Annotated[int, Path(ge=1, lt=1 << 63)]
_SAY_WHY = Sentence("Say why, in 3 to 500 characters. Nothing was changed.")


def router(context: AdminContext) -> APIRouter:
    """The routes of what is dealt with."""
    routes, pages = page_router(Right.MESSAGES), journal.JournalPages(context)
    database = context.database

    @routes.post("/messages/deal", dependencies=[shows("message")])
    async def deal_picked(request: Request) -> Response:
        form = await forms.read(request)
        table = filters.table_of(request)
        picked, why = table.picked(form, table.ask(request.query_params)), form.get("reason")
        if picked.is_empty:
            problem = Sentence("Pick the rows first. Nothing was changed.")
            return await run_in_threadpool(pages.show, request, problem, 422)
        if len(why) not in REASON:
            wrong = {"reason": Sentence("Say why, in 3 to 500 characters.")}
            return await run_in_threadpool(pages.show, request, None, 422, wrong, why, picked)
        asked = filters.checked(table.ask(request.query_params))
        rows = partial(_rows, context, picked, asked.values)
        try:
            n = await run_in_threadpool(database.execute, _deal, rows, why, request.state.actor, request.state.address)
        except ListChanged:
            problem = Sentence("The list has changed meanwhile: look again. Nothing was changed.")
            return await run_in_threadpool(pages.show, request, problem, 409)
        done = counted("%(n)s message was dealt with.", "%(n)s messages were dealt with.", n)
        return shell.go(table.ask(request.query_params).link(), done)

    @routes.post("/messages/{row}/deal", dependencies=[SHOWS_NOTHING])
    async def deal(request: Request, row: Row) -> Response:
        why, who, where = (await forms.read(request)).get("reason"), request.state.actor, request.state.address
        if len(why) not in REASON:
            return shell.go(f"/messages/{row}", _SAY_WHY)
        done = await run_in_threadpool(database.execute, dealing.deal, [row], why, who, time.time(), where)
        note = Sentence("It was dealt with.") if done else Sentence("It does not wait for a person.")
        return shell.go(f"/messages/{row}", note)

    @routes.post("/messages/{row}/undeal", dependencies=[SHOWS_NOTHING])
    async def undeal(request: Request, row: Row) -> Response:
        why, who, where = (await forms.read(request)).get("reason"), request.state.actor, request.state.address
        if len(why) not in REASON:
            return shell.go(f"/messages/{row}", _SAY_WHY)
        done = await run_in_threadpool(database.execute, dealing.undo, row, why, who, time.time(), where)
        note = Sentence("It waits for a person again.") if done else Sentence("Nobody has dealt with it.")
        return shell.go(f"/messages/{row}", note)

    return routes


def _deal(connection: Connection, rows: partial[Sequence[int]], why: str, who: str, where: str) -> int:
    return dealing.deal(connection, rows(connection), why, who, time.time(), where)


def _rows(context: AdminContext, picked: Picked, values: Mapping[str, str], connection: Connection) -> Sequence[int]:
    """The rows of picked messages, or of all that the filters `values` mean.

    Raises ListChanged unless these are as many as the person saw.
    """
    if picked.expected is None:
        return [int(key) for key in picked.keys if key.isdigit() and len(key) < 19]
    wanted, subject = filters.wanted_of(context, values), filters.subject_of(values)
    found = finding.listed(connection, wanted, subject, None, picked.expected + 1, 0).page.rows
    rows = [row.row for row in found if isinstance(row, MessageRecord)]
    if len(rows) != picked.expected:
        raise ListChanged
    return rows
