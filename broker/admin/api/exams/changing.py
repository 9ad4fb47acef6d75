"""Serves changes of one exam by hand: move a step, call the exam off. Why it was done stands in the audit trail."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from broker.accounts.roles import Right
from broker.admin.api.order_documents import PlacedView
from broker.admin.api.placed import (
    CHANGES,
    CONFLICT,
    CallOffBody,
    IfMatch,
    Responses,
    Row,
    Why,
    answer,
    outcome,
    revision_of,
)
from broker.admin.context import AdminContext
from broker.admin.routers import admin_router
from broker.orders.direct import moving, placing
from broker.orders.direct.moving import Move


class MoveBody(BaseModel):
    """Which step is moved where or to when, and why. What is not given stays as it is."""

    model_config = ConfigDict(extra="forbid")
    ScheduledProcedureStepID: str = Field(min_length=1, max_length=64)
    ScheduledStationAETitle: list[str] = Field([], max_length=10)
    ScheduledProcedureStepStartDate: str = Field("", max_length=10, description="20300312 or 2030-03-12")
    ScheduledProcedureStepStartTime: str = Field("", max_length=16, description="103000 or 10:30")
    reason: Why


def router(context: AdminContext) -> APIRouter:
    """Routes that change an exam."""
    routes, database = admin_router("/api/v1/orders", Right.PATIENTS, tags=["orders"]), context.database
    changed: Responses = {
        200: {"model": PlacedView},
        **CONFLICT,
        404: {"description": "No such order or step"},
        412: {"description": "Changed meanwhile"},
    }

    @routes.post("/{id}/move", dependencies=CHANGES, responses=changed)
    async def move(request: Request, row: Row, body: MoveBody, if_match: IfMatch = None) -> Response:
        """Move a step that has not begun to another station or time. What the RIS says of it later is in force."""
        asked = Move(
            step_id=body.ScheduledProcedureStepID,
            stations=tuple(body.ScheduledStationAETitle),
            date=body.ScheduledProcedureStepStartDate,
            time=body.ScheduledProcedureStepStartTime,
        )
        story = replace(context.story(request), reason=body.reason)
        begin = partial(database.submit, moving.move, row, asked, revision_of(if_match), story)
        return answer(request, await outcome(begin), 200)

    @routes.post("/{id}/cancel", dependencies=CHANGES, responses=changed)
    async def cancel(request: Request, row: Row, body: CallOffBody, if_match: IfMatch = None) -> Response:
        """Cancel an order as DELETE does, and say why. 409 if it has started or ended. Again is no error."""
        story = replace(context.story(request), reason=body.reason)
        begin = partial(database.submit, placing.cancel, row, revision_of(if_match), story)
        return answer(request, await outcome(begin), 200)

    return routes
