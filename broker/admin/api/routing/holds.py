"""Serves `/api/v1/holds`: lists jobs that wait for a person, without patient data; releases and discards them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from broker.accounts.roles import Right
from broker.admin.bodies import Moment, RowNumber
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import NEEDS, admin_router
from broker.admin.viewing import SHOWS_NOTHING
from broker.queue import holds
from broker.store.holds import held_jobs
from broker.store.holds.held_jobs import HeldFilter
from broker.store.jobs import HeldJob

MOST = 10_000  # jobs of one decision
Text = Annotated[str, Field(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]


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


class JobSelection(BaseModel):
    """Held jobs by filters. `node`: that they are for; `older` in s since the epoch: held before."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    cause: Text = ""
    node: Text = ""
    study: Text = ""
    accession: Text = ""
    device: Text = ""
    older: Moment | None = None

    def filter(self) -> HeldFilter:
        """The filter of the store."""
        return HeldFilter(
            error=self.cause,
            node=self.node,
            study=self.study,
            accession=self.accession,
            device=self.device,
            before=self.older,
        )


class JobsBody(BaseModel):
    """All held jobs that match, if they are just as many as `expected`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    matching: JobSelection
    expected: Annotated[int, Field(ge=1, le=MOST)]


class ReleaseBody(BaseModel):
    """`anyway`: also an older version of an object over a newer one that was sent."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    anyway: bool = False


class ReleaseJobsBody(JobsBody):
    """The jobs. `anyway`: also older versions of objects over newer ones that were sent."""

    anyway: bool = False


class DiscardJobsBody(JobsBody):
    """The jobs, and why they are given up."""

    reason: Annotated[str, Field(min_length=3, max_length=500)]


class JobsDoneView(BaseModel):
    """How many jobs were released or given up."""

    jobs: int


_OTHERS: dict[int | str, dict[str, Any]] = {
    409: {"description": "Not as many jobs match as expected, or a newer version of an object was sent"}
}
_NOT_HELD: dict[int | str, dict[str, Any]] = {
    409: {"description": "It is not held, or a newer version of its object was sent"}
}


def router(context: AdminContext) -> APIRouter:
    """Routes under /api/v1/holds, for admins."""
    routes = admin_router("/api/v1/holds", Right.STATUS, tags=["holds"])
    database = context.database

    @routes.get("")
    def held(lane: str = "", limit: Annotated[int, Field(ge=1, le=1000)] = 100) -> list[HoldView]:
        """List jobs that wait for a person, oldest first: of one lane, or of all."""
        return [_view(job) for job in database.read(held_jobs.find, HeldFilter(lane=lane), 0, limit).result()]

    @routes.post("/{job}/release", dependencies=[NEEDS[Right.WORK]], status_code=204, responses=_NOT_HELD)
    def release(job: RowNumber, request: Request, body: ReleaseBody | None = None) -> None:
        """Try it again, as if for the first time. It goes over a newer version of its object only with `anyway`."""
        who, where, anyway = request.state.actor, request.state.address, body is not None and body.anyway
        end(database.execute(holds.release, job, who, time.time(), where, anyway=anyway))

    @routes.post("/{job}/discard", dependencies=[NEEDS[Right.WORK]], status_code=204, responses=_NOT_HELD)
    def discard(job: RowNumber, body: DiscardBody, request: Request) -> None:
        """Give it up; it stays, as discarded, and what waited behind it goes on. 409 if it is not held."""
        who, where = request.state.actor, request.state.address
        end(database.execute(holds.discard, job, who, body.reason, time.time(), where))

    # a filter by study or order would tell who is asked for whether it waits
    many = [NEEDS[Right.WORK], NEEDS[Right.PATIENTS], SHOWS_NOTHING]

    @routes.post("/release", dependencies=many, responses=_OTHERS)
    def release_all(body: ReleaseJobsBody, request: Request) -> JobsDoneView:
        """Try all held jobs again that match. They go over newer versions of their objects only with `anyway`."""
        who, where, now = request.state.actor, request.state.address, time.time()
        again = partial(holds.release, actor=who, at=now, address=where, anyway=body.anyway)
        return end_all(body, again)

    @routes.post("/discard", dependencies=many, responses=_OTHERS)
    def discard_all(body: DiscardJobsBody, request: Request) -> JobsDoneView:
        """Give all held jobs up that match; they stay, as discarded."""
        who, where, now = request.state.actor, request.state.address, time.time()
        return end_all(body, lambda connection, row: holds.discard(connection, row, who, body.reason, now, where))

    def end_all(body: JobsBody, end_one: Callable[[Connection, int], bool]) -> JobsDoneView:
        def matching(connection: Connection) -> Sequence[int]:
            return holds.matching(connection, body.matching.filter(), body.expected)

        try:
            done = database.execute(holds.end_all, matching, end_one)
        except holds.ListChanged:
            raise Problem(409, "Not as many jobs match as expected. Nothing was changed") from None
        context.wake()
        return JobsDoneView(jobs=done)

    def end(was_held: bool) -> None:
        if not was_held:
            raise Problem(409, "This job is not held")
        context.wake()

    return routes


def _view(job: HeldJob) -> HoldView:
    return HoldView(**{name: getattr(job, name) for name in HoldView.model_fields})
