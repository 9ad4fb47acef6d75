"""Serves `/api/v1/deliveries`: what waits in the queue by destination and age, job by job; retries, moves, gives up.

A decision about all that match takes at most MOST jobs at once and says behind which job the next ones begin.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import Field

from broker.accounts.roles import Right
from broker.admin.api.routing.delivery_bodies import (
    MOST,
    DeliveriesDoneView,
    DiscardDeliveriesBody,
    LaneShapeView,
    NodeRetriedView,
    PauseBody,
    RerouteBody,
    RetryBody,
    SelectedDeliveries,
    WaitingJobView,
    WaitsText,
    delivery_view,
    shape_view,
)
from broker.admin.api.routing.holds import JobSelection, Text
from broker.admin.bodies import Moment
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import NEEDS, admin_router
from broker.admin.viewing import shows, viewing_of
from broker.delivery.rerouting import RerouteEnding, reroute
from broker.errors import BadContent
from broker.queue.steering import QueueSteering, Steering, now_by
from broker.routing.site import destinations
from broker.status.lane_keeps import LaneKeep, endings_of, kept_of
from broker.store import lanes
from broker.store.queued import pauses, shapes, waiting_jobs

_CHANGED: dict[int | str, dict[str, Any]] = {
    403: {"description": "A filter by study, order or device needs the right `patients`"},
    409: {"description": "More jobs match than expected"},
}
_NODE: dict[int | str, dict[str, Any]] = {
    404: {"description": "No such node"},
    409: {"description": "It is so already"},
}
Node = Annotated[str, Field(max_length=64, pattern=r"^[^\x00-\x1f\x7f/]+$")]


def router(context: AdminContext) -> APIRouter:
    """Routes under /api/v1/deliveries, for admins."""
    routes = admin_router("/api/v1/deliveries", Right.STATUS, tags=["deliveries"])
    queue = QueueSteering(context.database, context.wake)
    _reading(routes, context)
    _deciding(routes, context, queue)
    _pausing(routes, context, queue)
    return routes


def _reading(routes: APIRouter, context: AdminContext) -> None:
    """Routes that list and count."""

    @routes.get("/summary")
    def summary() -> list[LaneShapeView]:
        """Count what waits by destination and age, and say how each lane is."""
        now = time.time()
        found = context.database.read(shapes.shapes, now).result()
        paused = frozenset(one.node for one in context.database.read(pauses.find).result())
        return [shape_view(context, one, found, paused, now) for one in found]

    @routes.get("", dependencies=[NEEDS[Right.PATIENTS], shows("objects")])
    def waiting(
        request: Request,
        state: WaitsText = "waiting",
        cause: Text = "",
        node: Text = "",
        study: Text = "",
        accession: Text = "",
        device: Text = "",
        older: Moment | None = None,
        after: Annotated[int, Query(ge=0, le=2**63 - 1, description="`id` of a job")] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> list[WaitingJobView]:
        """List jobs that wait to be sent, or for a person: lane by lane, the oldest first."""
        same = {"cause": cause, "node": node, "study": study, "accession": accession, "device": device, "older": older}
        wanted = JobSelection.model_validate(same).filter()
        found = context.database.read(waiting_jobs.find, wanted, state, after, limit).result()
        viewing_of(request).many(len(found))
        return [delivery_view(one) for one in found]


def _deciding(routes: APIRouter, context: AdminContext, queue: QueueSteering) -> None:
    """Routes that act on jobs."""
    database = context.database

    @routes.post("/retry", dependencies=[NEEDS[Right.WORK]], responses=_CHANGED)
    def retry(body: RetryBody, request: Request) -> DeliveriesDoneView:
        """Try jobs that wait at once, with their lanes. `notes` say what waits on: for a paused node, for a window."""
        notes = list[str]()

        def tried(rows: Sequence[int]) -> Counter[str]:
            retried = queue.retry(rows, _who(request, body.reason))
            keeps = context.keeping(retried.lanes)
            now, kept = kept_of(retried, keeps)
            notes.extend(_notes(context, [one.keep for one in kept]))
            return endings_of(now, kept)

        done = _done(context, request, body, tried)
        return done.model_copy(update={"notes": notes})

    @routes.post("/discard", dependencies=[NEEDS[Right.WORK]], responses=_CHANGED)
    def discard(body: DiscardDeliveriesBody, request: Request) -> DeliveriesDoneView:
        """Give jobs up that wait or are held; they stay, as discarded. What is being sent is left alone."""

        def discarded(rows: Sequence[int]) -> Counter[str]:
            return Counter({"discarded": queue.discard(rows, _who(request, body.reason))})

        return _done(context, request, body, discarded)

    @routes.post("/reroute", dependencies=[NEEDS[Right.WORK]], responses=_CHANGED)
    def send_elsewhere(body: RerouteBody, request: Request) -> DeliveriesDoneView:
        """Let another destination have what these deliveries send; the old ones end as discarded.

        A destination that has an object is not sent it again.
        """
        who = _who(request, body.reason)

        def moved(rows: Sequence[int]) -> Counter[RerouteEnding]:
            return reroute(database, rows, body.to, destinations(context.site.value), who, context.wake)

        try:
            return _done(context, request, body, moved)
        except BadContent:
            raise Problem(422, "`to` is no destination") from None


def _pausing(routes: APIRouter, context: AdminContext, queue: QueueSteering) -> None:
    """Routes that act on all that is for a node."""
    needs = [NEEDS[Right.WORK]]

    def known(name: str) -> None:
        if context.directory.node(name) is None:
            raise Problem(404, "No such node")

    def so(changed: bool, otherwise: str) -> None:
        if not changed:
            raise Problem(409, otherwise)

    @routes.post("/nodes/{name}/retry", dependencies=needs, responses=_NODE)
    def retry_node(name: Node, body: PauseBody, request: Request) -> NodeRetriedView:
        """Try all that waits for a node at once, however much it is; `notes` say what is not sent all the same."""
        known(name)
        queue.retry_node(name, _who(request, body.reason))
        busy = context.database.read(lanes.reports_of_node, name).result()
        keeps = context.keeping(one.name for one in busy if one.waiting)
        return NodeRetriedView(notes=_notes(context, keeps.values()))

    @routes.post("/nodes/{name}/pause", dependencies=needs, status_code=204, responses=_NODE)
    def pause(name: Node, body: PauseBody, request: Request) -> None:
        """Send nothing more to a node until somebody resumes it. What is being sent just now ends."""
        known(name)
        so(queue.pause(name, _who(request, body.reason)), "This node is paused already")

    @routes.post("/nodes/{name}/drain", dependencies=needs, status_code=204, responses=_NODE)
    def drain(name: Node, body: PauseBody, request: Request) -> None:
        """Send what is there for a node now, then pause it. What comes later waits."""
        known(name)
        so(queue.pause(name, _who(request, body.reason), drain=True), "This node is paused or drains already")

    @routes.post("/nodes/{name}/resume", dependencies=needs, status_code=204, responses=_NODE)
    def resume(name: Node, body: PauseBody, request: Request) -> None:
        """Send again what is for a node."""
        so(queue.resume(name, _who(request, body.reason)), "This node is not paused")


def _done(
    context: AdminContext, request: Request, body: SelectedDeliveries, act: Callable[[Sequence[int]], Counter[Any]]
) -> DeliveriesDoneView:
    """Act on the jobs that are meant. Raises Problem."""
    rows, more = body.rows, False
    if body.matching is not None:
        if body.matching.personal and Right.PATIENTS not in request.state.rights:
            raise Problem(403, "A filter by study, order or device needs the right `patients`")
        wanted, most = body.matching.filter(), body.expected or MOST
        found = context.database.read(waiting_jobs.rows, wanted, body.state, body.after, most + 1).result()
        more = len(found) > most
        if more and body.expected is not None:
            raise Problem(409, "More jobs match than expected. Nothing was changed")
        rows = found[:most]
    endings = {str(getattr(name, "value", name)): number for name, number in act(rows).items() if number}
    return DeliveriesDoneView(endings=endings, after=rows[-1] if more else 0)


def _notes(context: AdminContext, keeps: Iterable[LaneKeep]) -> list[str]:
    """What keeps jobs, each once, in English."""
    zone, now = context.settings.zone(), time.time()
    return list(dict.fromkeys(keep.text.english(zone, now) for keep in keeps))


def _who(request: Request, reason: str) -> Steering:
    return now_by(request.state.actor, request.state.address, reason)
