"""Serves `/api/v1/fsck`: are the bytes of all objects as they were received, and does a row know each file?"""

from __future__ import annotations

import time
from datetime import UTC
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from broker.accounts.roles import Right
from broker.admin.bodies import RowNumber
from broker.admin.callers import LOCAL_USER
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import admin_router
from broker.errors import SpoolUnavailable
from broker.routing.adopting.adoption import Adopting, StrayPart
from broker.routing.adopting.places import BadFolder
from broker.routing.adopting.walk import cursor, place_of
from broker.routing.held_work import BytesBusy
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


class FsckFilesBody(BaseModel):
    """A part of the walk through a folder, behind the file at which the last one ended. To adopt needs a reason."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    folder: str = Field(
        "",
        max_length=4096,
        description="Empty for the spool, `spool/unclaimed`, or below a `before-restore-…` of the data folder",
    )
    after: str | None = Field(None, max_length=40_000, description="`next` of the part before; the first part has none")
    adopt: bool = Field(False, description="Take the files in, as if their senders sent them now")
    reason: Annotated[str, Field(max_length=500)] = ""


class UnknownFilesView(BaseModel):
    """Files of a folder that no row knows."""

    folder: str
    files: int
    bytes: int


class LeftFileView(BaseModel):
    """A file that cannot be adopted, and stays where it is."""

    path: str = Field(description="Below the folder")
    fault: str
    text: str = Field(description="The fault in words")


class FsckFilesView(BaseModel):
    """What a part of the walk found; the four first are files that were adopted."""

    new: int = Field(description="Objects that were not known")
    version: int = Field(description="Other bytes of a known object: a new version")
    repaired: int = Field(description="Known objects whose own file was lost or damaged")
    duplicate: int = Field(description="Known objects with the same bytes; the file is removed if it is the broker's")
    known: int = Field(description="Files of known objects, left alone")
    purged: int = Field(description="Files of purged objects, left alone")
    young: int = Field(description="Files that may belong to a reception under way, left alone")
    left: list[LeftFileView] = Field(description="Files that cannot be adopted")
    unknown: list[UnknownFilesView] = Field(description="Files that no row knows, without `adopt`")
    set_aside: list[str] = Field(description="Old spools that restores have set aside, as `folder` names them")
    next: str | None = Field(description="Where the next part begins; null at the end")


_BUSY: dict[int | str, dict[str, Any]] = {409: {"description": "Another check is under way"}}


def router(context: AdminContext) -> APIRouter:
    """The route /api/v1/fsck, for admins."""
    routes = admin_router("/api/v1/fsck", Right.SITE, tags=["status"])

    @routes.post("", responses=_BUSY)
    def fsck(body: FsckBody, request: Request) -> FsckView:
        """Read the bytes of received objects for some seconds: `broker fsck`. One request at a time is served."""
        if body.repair and len(body.reason.strip()) < 3:
            raise Problem(422, "say in the reason why deliveries are to be held and released")
        mending = (request.state.actor, request.state.address, body.reason) if body.repair else ()
        try:
            found = context.held.check_bytes(body.after or 0, mending)
        except BytesBusy as error:
            raise Problem(409, str(error)) from None
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

    @routes.post("/files", responses=_BUSY)
    def files(body: FsckFilesBody, request: Request) -> FsckFilesView:
        """Look for files that no row knows, for some seconds, and adopt them: `broker fsck --adopt`. One at a time."""
        if body.adopt and len(body.reason.strip()) < 3:
            raise Problem(422, "say in the reason why files are to be adopted")
        local, after = bool(request.scope.get(LOCAL_USER)), place_of(body.after or "")
        try:
            if body.adopt:
                who = Adopting(request.state.actor, request.state.address, body.reason)
                part = context.adoption.adopt(body.folder, after, who, local=local)
            else:
                part = context.adoption.look(body.folder, after, local=local)
        except BytesBusy as error:
            raise Problem(409, str(error)) from None
        except BadFolder as error:
            raise Problem(422, str(error)) from None
        except SpoolUnavailable as error:
            raise Problem(503, str(error)) from None  # it says what to do: another folder is mounted, for instance
        return _view(part, context.adoption.set_aside())

    return routes


def _view(part: StrayPart, set_aside: list[str]) -> FsckFilesView:
    return FsckFilesView(
        new=part.counts["new"],
        version=part.counts["version"],
        repaired=part.counts["repaired"],
        duplicate=part.counts["duplicate"],
        known=part.counts["known"],
        purged=part.counts["purged"],
        young=part.counts["young"],
        left=[LeftFileView(path=one.path, fault=one.code, text=one.text) for one in part.left],
        unknown=[UnknownFilesView(folder=name, files=n, bytes=size) for name, (n, size) in part.unknown.items()],
        set_aside=set_aside,
        next=None if part.over else cursor(part.last),
    )
