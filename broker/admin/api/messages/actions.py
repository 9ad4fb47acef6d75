"""Serves what a person does of HL7 messages: marks refused ones as dealt with, tells a RIS again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from broker.accounts.roles import Right
from broker.admin.bodies import RowNumber
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import admin_router
from broker.admin.viewing import SHOWS_NOTHING, shows, viewing_of
from broker.orders.journal import dealing, sending
from broker.store.journal import linked
from broker.store.journal.sent import FeedbackJob

Why = Annotated[str, Field(min_length=3, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]
Row = Annotated[int, Path(ge=1, lt=1 << 63)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class DealtBody(_Body):
    """Refused messages, and how they were dealt with; it stands in the audit trail."""

    rows: Annotated[list[RowNumber], Field(min_length=1, max_length=1000)]
    note: Why


class ReasonBody(_Body):
    """Why; it stands in the audit trail."""

    reason: Why


class NumberBody(_Body):
    """An accession, placer or filler number."""

    AccessionNumber: Annotated[str, Field(min_length=1, max_length=250, pattern=r"^[^\x00-\x1f\x7f]*$")]


class DealtCount(BaseModel):
    """How many messages waited for a person and do not any more."""

    dealt: int


class FeedbackJobView(BaseModel):
    """A job that tells a RIS of an order. `state`: ready, leased, done, held, discarded. Times in s since the epoch."""

    job: int
    node: str
    event: str
    state: str
    error: str
    failures: int
    created_at: float
    done_at: float | None
    due_at: float


def router(context: AdminContext) -> APIRouter:
    """Routes under /api/v1/messages and /api/v1/feedback."""
    routes = admin_router("/api/v1", Right.MESSAGES, tags=["messages"])
    database = context.database

    @routes.post("/messages/dealt", dependencies=[SHOWS_NOTHING])
    def deal(body: DealtBody, request: Request) -> DealtCount:
        """Mark refused messages as dealt with; those that are so already stay as they are."""
        who, where = request.state.actor, request.state.address
        return DealtCount(dealt=database.execute(dealing.deal, body.rows, body.note, who, time.time(), where))

    @routes.post("/messages/{row}/undealt", dependencies=[SHOWS_NOTHING], status_code=204)
    def undo(row: Row, body: ReasonBody, request: Request) -> None:
        """Let a message wait for a person again. 409 if nobody has dealt with it."""
        who, where = request.state.actor, request.state.address
        if not database.execute(dealing.undo, row, body.reason, who, time.time(), where):
            raise Problem(409, "Nobody has dealt with this message")

    @routes.get("/feedback/{order}", dependencies=[shows("order", "viewed")])
    def feedback(request: Request, order: Row) -> list[FeedbackJobView]:
        """List what is told to a RIS of an order (our number): what waits, what was heard, what is held."""
        return listed(request, [order])

    @routes.post("/feedback/search", dependencies=[shows("order", "listed")])
    def search(request: Request, body: NumberBody) -> list[FeedbackJobView]:
        """List what is told to a RIS of the orders with a number, which belongs into no URL."""
        orders = database.read(linked.orders_with, body.AccessionNumber).result()
        if not orders:
            raise Problem(404, "No order here has this number")
        return listed(request, orders)

    def listed(request: Request, orders: Sequence[int]) -> list[FeedbackJobView]:
        nodes = [node.name for node in context.directory.subscribers()]
        found = [job for order in orders for job in database.read(sending.jobs_of, order, nodes).result()]
        viewing_of(request).count = len(found)
        return [_view(job) for job in found]

    @routes.post("/feedback/{job}/again", dependencies=[SHOWS_NOTHING], status_code=204)
    def again(job: Row, body: ReasonBody, request: Request) -> None:
        """Tell a RIS again what a job told it. 409 if the job has not ended, or is not there any more."""
        who, where = request.state.actor, request.state.address
        if database.execute(sending.send_again, job, body.reason, who, time.time(), where) is None:
            raise Problem(409, "This cannot be sent again: it has not ended, or is not there any more")
        context.wake()

    return routes


def _view(job: FeedbackJob) -> FeedbackJobView:
    return FeedbackJobView(
        job=job.id,
        node=job.node,
        event=job.event,
        state=job.state.value,
        error=job.error,
        failures=job.failures,
        created_at=job.created_at,
        done_at=job.done_at,
        due_at=job.due_at,
    )
