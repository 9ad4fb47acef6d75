"""Serves `/api/v1/fsck`: are the bytes of all objects those that were received?"""

from __future__ import annotations

import time
from datetime import UTC
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from broker.accounts.roles import Right
from broker.admin.bodies import RowNumber
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import admin_router
from broker.status.causes import reason as cause_words


class FsckBody(BaseModel):
    """A part of the check, behind the object at which the last one ended. A reason is needed to repair."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    after: RowNumber | None = Field(None, description="`next` of the part before; the first part has none")
    repair: bool = Field(
        False,
        description="Hold deliveries of spoiled objects, release those of right ones, remove files of purged ones",
    )
    reason: Annotated[str, Field(max_length=500)] = ""


class SpoiledObjectView(BaseModel):
    """An object whose bytes are not those that were received."""

    object: int
    fault: str
    text: str = Field(description="The fault in words")


class FsckView(BaseModel):
    """What a part of the check found. `held` and `released` are deliveries."""

    objects: int
    bytes: int
    spoiled: list[SpoiledObjectView]
    held: int
    released: int
    left: int = Field(
        description="Files of purged objects, looked for by the last part: a killed broker may leave some"
    )
    removed: int = Field(description="Those of them that were deleted, with `repair`")
    next: int | None = Field(description="Where the next part begins; null at the end")


def router(context: AdminContext) -> APIRouter:
    """The route /api/v1/fsck, for admins."""
    routes = admin_router("/api/v1/fsck", Right.SITE, tags=["status"])

    @routes.post("")
    def fsck(body: FsckBody, request: Request) -> FsckView:
        """Read the bytes of received objects for some seconds: `broker fsck`. One request at a time is served."""
        if body.repair and len(body.reason.strip()) < 3:
            raise Problem(422, "say in the reason why deliveries are to be held and released")
        mending = (request.state.actor, request.state.address, body.reason) if body.repair else ()
        found = context.held.check_bytes(body.after or 0, mending)
        spoiled = [
            SpoiledObjectView(object=one.row, fault=one.fault, text=cause_words(one.fault).english(UTC, time.time()))
            for one in found.spoiled
        ]
        return FsckView(
            objects=found.objects,
            bytes=found.size,
            spoiled=spoiled,
            held=found.held,
            released=found.released,
            left=found.left,
            removed=found.removed,
            next=None if found.over else found.last,
        )

    return routes
