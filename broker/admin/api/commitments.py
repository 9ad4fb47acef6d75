"""Serves `/api/v1/commitments`: requests of modalities for storage commitment, how far each is, and its objects.

The list names nothing of a patient. The objects of one request are shown to who may see patients.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath
from pydantic import BaseModel

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import NEEDS, admin_router
from broker.admin.viewing import shows, viewing_of
from broker.model.wording import in_english
from broker.status.causes import reason
from broker.store.commitments import listing
from broker.store.commitments.listing import CommitmentLine, JudgedObject, Progress
from broker.store.commitments.states import COMMITTED, OPEN

Row = Annotated[int, InPath(ge=1, le=2**63 - 1)]
MOST = 1000  # objects of an answer
_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such request"}}


class CommitmentView(BaseModel):
    """A request by our own number. `state`: waiting (objects are judged), telling, held, told, given-up.

    `objects` counts those that it names; `committed` and `failed` those that are judged. `duplicate`: another request
    had its Transaction UID. `error`: code of why its node was not told yet, `why` in words. Times in s since the epoch.
    """

    id: int
    transaction_uid: str
    node: str
    calling_ae: str
    peer: str
    received_at: float
    state: Progress
    objects: int
    committed: int
    failed: int
    duplicate: bool
    tries: int
    error: str
    why: str
    judged_at: float | None


class CommitmentObjectView(BaseModel):
    """An object, by its place in the request. `reason`: four hexadecimal digits (PS3.3 C.14.1.1) if it failed."""

    place: int
    sop_class: str
    sop_instance: str
    result: Literal["waiting", "committed", "failed"]
    reason: str


class CommitmentAskView(BaseModel):
    """What an archive was asked. `state`: waiting, asked, answered, refused, unanswered. Times 0 for never."""

    node: str
    attempt: int
    state: str
    objects: int
    asked_at: float
    answered_at: float


class CommitmentDetailView(CommitmentView):
    """A request with what archives were asked, and a page of its objects. `after`: for the next page; -1 behind all."""

    asks: list[CommitmentAskView]
    listed: list[CommitmentObjectView]
    after: int


def router(context: AdminContext) -> APIRouter:
    """Routes under /api/v1/commitments."""
    routes = admin_router("/api/v1/commitments", Right.STATUS, tags=["commitments"])
    database = context.database

    @routes.get("")
    def listed(
        node: Annotated[str, Query(max_length=64)] = "",
        state: Progress | Literal[""] = "",
        before: Annotated[int, Query(ge=1, le=2**63 - 1)] = 2**63 - 1,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> list[CommitmentView]:
        """List requests of modalities for storage commitment, newest first, with how far each is."""
        found = database.read(listing.lines, node, state or None, before, limit).result()
        return [CommitmentView(**_shown(one)) for one in found]

    @routes.get("/{number}", dependencies=[NEEDS[Right.PATIENTS], shows("commitment")], responses=_UNKNOWN)
    def one(
        number: Row,
        request: Request,
        after: Annotated[int, Query(ge=-1, le=2**31 - 1, description="`after` of the page before")] = -1,
        limit: Annotated[int, Query(ge=1, le=MOST)] = MOST,
    ) -> CommitmentDetailView:
        """Show a request: the result of each object, and what archives were asked for it."""
        line = database.read(listing.line, number).result()
        if line is None:
            raise Problem(404, "There is no such request")
        viewing_of(request).one(number)
        asks = database.read(listing.questions, number).result()
        page = database.read(listing.objects, number, after, limit).result()
        last = page[-1].position if page else line.objects
        return CommitmentDetailView(
            **_shown(line),
            asks=[
                CommitmentAskView(
                    node=each.node,
                    attempt=each.attempt,
                    state=each.state,
                    objects=each.objects,
                    asked_at=each.asked_at,
                    answered_at=each.answered_at,
                )
                for each in asks
            ],
            listed=[_object(each) for each in page],
            after=last if last + 1 < line.objects else -1,
        )

    return routes


def _shown(one: CommitmentLine) -> dict[str, Any]:
    return {
        "id": one.id,
        "transaction_uid": one.transaction_uid,
        "node": one.node,
        "calling_ae": one.calling_ae,
        "peer": one.peer,
        "received_at": one.received_at,
        "state": one.progress,
        "objects": one.objects,
        "committed": one.committed,
        "failed": one.failed,
        "duplicate": one.duplicate,
        "tries": one.tries,
        "error": one.error,
        "why": in_english(reason(one.error)) if one.error else "",
        "judged_at": one.judged_at,
    }


def _object(one: JudgedObject) -> CommitmentObjectView:
    result: Literal["waiting", "committed", "failed"] = "failed"
    if one.reason in (OPEN, COMMITTED):
        result = "waiting" if one.reason == OPEN else "committed"
    return CommitmentObjectView(
        place=one.position,
        sop_class=one.reference.sop_class_uid,
        sop_instance=one.reference.sop_instance_uid,
        result=result,
        reason=f"{one.reason:04X}" if result == "failed" else "",
    )
