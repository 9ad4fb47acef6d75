"""REST for jobs that wait for a person: `/api/v1/holds`. A list without patients, and two decisions."""

from __future__ import annotations

from typing import Annotated, Protocol

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from broker.admin.problems import Problem


class DiscardBody(BaseModel):
    """Why a held job is given up; it stands in the audit trail."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    reason: Annotated[str, Field(min_length=3, max_length=500)]


class HoldView(BaseModel):
    """A held job: what kind of work, for whom (`lane`), the code of what went wrong; `created_at` s since the epoch."""

    id: int
    kind: str
    lane: str
    error: str
    failures: int
    created_at: float


class Desk(Protocol):
    """What the broker can do with held jobs."""

    def held(self, lane: str, limit: int) -> list[HoldView]:
        """Held jobs of one lane (of all if empty), oldest first."""
        ...

    def release(self, job: int, actor: str) -> bool:
        """Let a job be tried again; False if it is not held."""
        ...

    def discard(self, job: int, actor: str, reason: str) -> bool:
        """Give a job up; False if it is not held."""
        ...


def router(desk: Desk) -> APIRouter:
    """Routes under /api/v1/holds, for admins."""
    routes = APIRouter(prefix="/api/v1/holds", tags=["holds"])

    @routes.get("")
    def held(lane: str = "", limit: Annotated[int, Field(ge=1, le=1000)] = 100) -> list[HoldView]:
        """What waits for a person, oldest first."""
        return desk.held(lane, limit)

    @routes.post("/{job}/release", status_code=204)
    def release(job: int, request: Request) -> None:
        """Try it again, as if for the first time. 409 if it is not held."""
        _done(desk.release(job, request.state.actor))

    @routes.post("/{job}/discard", status_code=204)
    def discard(job: int, body: DiscardBody, request: Request) -> None:
        """Give it up; it stays, as discarded, and what waited behind it goes on. 409 if it is not held."""
        _done(desk.discard(job, request.state.actor, body.reason))

    return routes


def _done(done: bool) -> None:
    if not done:
        raise Problem(409, "This job is not held")
