"""Serves `/api/v1/holds/all`: everything that waits for a person, objects and jobs in one list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from broker.accounts.roles import Right
from broker.admin.api.routing.held_objects import ObjectSelection, Text
from broker.admin.api.routing.holds import JobSelection
from broker.admin.bodies import Moment
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import admin_router
from broker.admin.viewing import shows, viewing_of
from broker.model.lane import parts_of
from broker.model.wording import in_english
from broker.status.causes import reason
from broker.store.holds import waiting
from broker.store.holds.waiting import WaitingThing

_OBJECT, _JOB = ["route", "send", "discard"], ["release", "discard"]


class WaitingView(BaseModel):
    """Something that waits. `number`: as commands name it; `what`: object, or the kind of a job; `place` in the list.

    `cause` is a code, `why` says it in words. `node` is the one that a job is for. `order` is our number of the exam,
    0 for none. `can`: what a person can do. Time in s since the epoch, size in bytes.
    """

    number: str
    what: str
    cause: str
    why: str
    node: str
    device: str
    study: str
    accession: str
    patient: str
    order: int
    modality: str
    size: int
    since: float
    failures: int
    can: list[str]
    place: str


def router(context: AdminContext) -> APIRouter:
    """The route of the list."""
    routes = admin_router("/api/v1/holds", Right.PATIENTS, tags=["holds"])

    @routes.get("/all", dependencies=[shows("objects")])
    def waits(
        request: Request,
        cause: Text = "",
        node: Text = "",
        study: Text = "",
        accession: Text = "",
        device: Text = "",
        older: Moment | None = None,
        what: Literal["", "objects", "jobs"] = "",
        after: Annotated[str, Query(max_length=60, description="`place` of a row")] = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> list[WaitingView]:
        """List everything that waits for a person, the oldest first: held objects, and jobs that were held."""
        same = {"cause": cause, "node": node, "study": study, "accession": accession, "device": device, "older": older}
        place = waiting.place_of(after)
        if place is None:
            raise Problem(422, "`after` is no place in the list")
        objects = ObjectSelection.model_validate(same).filter(context.directory) if what != "jobs" else None
        jobs = JobSelection.model_validate(same).filter() if what != "objects" else None
        found = context.database.read(waiting.find, objects, jobs, place, limit).result()
        viewing_of(request).many(len(found))
        return views(context, found)

    return routes


def views(context: AdminContext, found: Sequence[WaitingThing]) -> list[WaitingView]:
    """What waits as it is shown, each with its order."""
    studies = sorted({one.study for one in found if one.study})
    orders = context.database.read(waiting.orders_of, studies).result() if studies else {}
    return [_view(one, orders.get(one.study, 0)) for one in found]


def _view(one: WaitingThing, order: int) -> WaitingView:
    kind, node = parts_of(one.lane) if one.lane else ("object", "")
    return WaitingView(
        number=one.number,
        what=kind,
        cause=one.cause,
        why=in_english(reason(one.cause)),
        node=node,
        device=one.device,
        study=one.study,
        accession=one.fact("tag.AccessionNumber"),
        patient=one.fact("tag.PatientID"),
        order=order,
        modality=one.fact("tag.Modality"),
        size=one.size,
        since=one.since,
        failures=one.failures,
        can=_JOB if one.lane else _OBJECT,
        place=one.key,
    )
