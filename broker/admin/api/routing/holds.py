"""Serves `/api/v1/holds`: lists jobs that wait for a person, without patient data; releases and discards them."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from broker.accounts.roles import Right
from broker.admin.bodies import RowNumber
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import NEEDS, admin_router
from broker.queue import holds
from broker.store import held_jobs
from broker.store.held_jobs import HeldFilter
from broker.store.jobs import HeldJob


class DiscardBody(BaseModel):
    """Why a held job is given up; it stands in the audit trail."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    reason: Annotated[str, Field(min_length=3, max_length=500)]


class HoldView(BaseModel):
    """A held job: its kind, its lane, the code of what went wrong. `created_at` in s since the epoch."""

    id: int
    kind: str
    lane: str
    error: str
    failures: int
    created_at: float


_NOT_HELD: dict[int | str, dict[str, Any]] = {409: {"description": "It is not held"}}


def router(context: AdminContext) -> APIRouter:
    """Routes under /api/v1/holds, for admins."""
    routes = admin_router("/api/v1/holds", Right.STATUS, tags=["holds"])
    database = context.database

    @routes.get("")
    def held(lane: str = "", limit: Annotated[int, Field(ge=1, le=1000)] = 100) -> list[HoldView]:
        """List jobs that wait for a person, oldest first: of one lane, or of all."""
        return [_view(job) for job in database.read(held_jobs.find, HeldFilter(lane=lane), 0, limit).result()]

    @routes.post("/{job}/release", dependencies=[NEEDS[Right.WORK]], status_code=204, responses=_NOT_HELD)
    def release(job: RowNumber, request: Request) -> None:
        """Try it again, as if for the first time. 409 if it is not held."""
        end(database.execute(holds.release, job, request.state.actor, time.time(), request.state.address))

    @routes.post("/{job}/discard", dependencies=[NEEDS[Right.WORK]], status_code=204, responses=_NOT_HELD)
    def discard(job: RowNumber, body: DiscardBody, request: Request) -> None:
        """Give it up; it stays, as discarded, and what waited behind it goes on. 409 if it is not held."""
        who, where = request.state.actor, request.state.address
        end(database.execute(holds.discard, job, who, body.reason, time.time(), where))

    def end(was_held: bool) -> None:
        if not was_held:
            raise Problem(409, "This job is not held")
        context.wake()

    return routes


def _view(job: HeldJob) -> HoldView:
    return HoldView(**{name: getattr(job, name) for name in HoldView.model_fields})
