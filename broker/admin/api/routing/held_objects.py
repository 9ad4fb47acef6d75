"""Serves `/api/v1/holds/objects`: objects that wait for a person, or were discarded, and what can be done with them."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from broker.accounts.roles import Right
from broker.admin.bodies import Moment, RowNumber
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import NEEDS, admin_router
from broker.admin.viewing import SHOWS_NOTHING, shows, viewing_of
from broker.errors import BadContent
from broker.routing.held_work import MOST, OtherCount
from broker.routing.holding import Deciding, Ending
from broker.routing.rejudging import Judged
from broker.routing.rules.tracing import trace
from broker.routing.site import trace_of_version
from broker.settings import Settings
from broker.site.directory import Directory
from broker.store.images import held_objects
from broker.store.images.held_objects import HeldObject, ObjectFilter
from broker.store.images.instances import InstanceState

State = Literal["held", "discarded", "waiting"]
Text = Annotated[str, Field(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]
Reason = Annotated[str, Field(min_length=3, max_length=500)]


class ObjectSelection(BaseModel):
    """Objects by filters, as the list has them. `node` sent them. `older`: received before, in s since the epoch."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    state: State = "held"
    cause: Text = ""
    study: Text = ""
    accession: Text = ""
    device: Text = ""
    node: Text = ""
    older: Moment | None = None

    def filter(self, directory: Directory) -> ObjectFilter:
        """The filter of the store."""
        return ObjectFilter(
            state=InstanceState(self.state),
            reason=self.cause,
            study=self.study,
            accession=self.accession,
            device=self.device,
            senders=senders(directory, self.node),
            before=self.older,
        )


def senders(directory: Directory, node: str) -> tuple[str, ...] | None:
    """The AE titles under which a node sends objects; None for any node."""
    return tuple(one.ae_title for one in directory.nodes if one.name == node) if node else None


class HeldObjectsBody(BaseModel):
    """Objects by their numbers, or all that match, if they are just as many as `expected`; and why."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    rows: Annotated[list[RowNumber], Field(max_length=MOST)] = []
    matching: ObjectSelection | None = None
    expected: Annotated[int, Field(ge=1, le=MOST)] | None = None
    reason: Reason

    @model_validator(mode="after")
    def _one_way(self) -> HeldObjectsBody:
        if bool(self.rows) == (self.matching is not None) or (self.matching is None) != (self.expected is None):
            raise ValueError("either rows, or matching and expected")
        return self


class SendObjectsBody(HeldObjectsBody):
    """The objects, and the destinations that they are sent to."""

    to: Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]], Field(min_length=1, max_length=100)]


class HeldObjectView(BaseModel):
    """An object without its patient. `cause`: the code of why it waits. `size` in bytes, times in s since the epoch.

    `discarded_at`: 0 if it is not. `deleted_at`: when its bytes go away, until which a discard can be undone; 0: never.
    """

    id: int
    cause: str
    state: str
    study: str
    sop_instance_uid: str
    sop_class_uid: str
    device: str
    modality: str
    size: int
    received_at: float
    discarded_at: float
    deleted_at: float
    rules_version: int


class HeldObjectDetail(HeldObjectView):
    """An object with what the rules saw and decided then, and what those of today would do.

    `today`: send, wait (for its series or study), hold, discard, or `missing` if its bytes are not there.
    """

    facts: dict[str, list[str | float]]
    trace: list[dict[str, Any]]
    today: str
    today_to: list[str]
    today_trace: list[dict[str, Any]]


class ObjectsDoneView(BaseModel):
    """How many objects were routed, wait still, wait for their study, were discarded, or were changed by others.

    `purged`: their bytes were deleted just now; `gone`: their bytes are missing, or were deleted before.
    """

    routed: int = 0
    held: int = 0
    waiting: int = 0
    discarded: int = 0
    purged: int = 0
    gone: int = 0
    changed: int = 0


_REFUSED: dict[int | str, dict[str, Any]] = {409: {"description": "Not as many objects match as expected"}}


def router(context: AdminContext) -> APIRouter:
    """Routes under /api/v1/holds/objects."""
    routes = admin_router("/api/v1/holds/objects", Right.PATIENTS, tags=["holds"])
    _reading(routes, context)
    _deciding(routes, context)
    return routes


def _reading(routes: APIRouter, context: AdminContext) -> None:
    @routes.get("", dependencies=[shows("objects")])
    def listed(
        request: Request,
        state: State = "held",
        cause: Text = "",
        study: Text = "",
        accession: Text = "",
        device: Text = "",
        node: Text = "",
        older: Moment | None = None,
        after: Annotated[
            str, Query(max_length=60, pattern=r"^([0-9.]+[,:][0-9]+)?$", description="`received_at,id` of a row")
        ] = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> list[HeldObjectView]:
        """List objects that wait for a person or for their study, or were discarded, the oldest first."""
        selection = ObjectSelection(
            state=state, cause=cause, study=study, accession=accession, device=device, node=node, older=older
        )
        wanted = selection.filter(context.directory)
        place = held_objects.place_of(after)
        if place is None:
            raise Problem(422, "`after` is no place in the list")
        found = context.database.read(held_objects.find, wanted, place, limit).result()
        viewing_of(request).many(len(found))
        return [HeldObjectView(**_fields(one, context.settings)) for one in found]

    @routes.get("/{row}", dependencies=[shows("objects")])
    def one(row: RowNumber) -> HeldObjectDetail:
        """Show one of them: what the rules saw and decided, and what those of today would do."""
        judged = next(iter(context.held.judge([row])), None)
        if judged is None:
            raise Problem(404, "No such object waits")
        return _detail(context, judged)


def _deciding(routes: APIRouter, context: AdminContext) -> None:
    work = context.held
    needs = [NEEDS[Right.WORK], SHOWS_NOTHING]

    def done(body: HeldObjectsBody, act: Callable[[Sequence[int]], Counter[Ending]]) -> ObjectsDoneView:
        try:
            matching = body.matching
            rows = (
                work.rows(matching.filter(context.directory), body.expected or 0) if matching is not None else body.rows
            )
            ended = act(rows)
        except OtherCount:
            raise Problem(409, "Not as many objects match as expected. Nothing was changed") from None
        except BadContent:
            raise Problem(422, "`to` names a node that is no destination") from None
        return ObjectsDoneView(**{ending.value: count for ending, count in ended.items()})

    @routes.post("/route", dependencies=needs, responses=_REFUSED)
    def route(body: HeldObjectsBody, request: Request) -> ObjectsDoneView:
        """Let objects go the way of the rules in force."""
        return done(body, lambda rows: work.route(rows, _who(request, body)))

    @routes.post("/send", dependencies=needs, responses=_REFUSED)
    def send(body: SendObjectsBody, request: Request) -> ObjectsDoneView:
        """Send objects to chosen destinations, whatever the rules say."""
        return done(body, lambda rows: work.send(rows, body.to, _who(request, body)))

    @routes.post("/discard", dependencies=needs, responses=_REFUSED)
    def discard(body: HeldObjectsBody, request: Request) -> ObjectsDoneView:
        """Give objects up. It can be undone as long as they are kept."""
        return done(body, lambda rows: work.discard(rows, _who(request, body)))

    @routes.post("/undo", dependencies=needs, responses=_REFUSED)
    def undo(body: HeldObjectsBody, request: Request) -> ObjectsDoneView:
        """Take a discard back: the objects wait for a person again."""
        return done(body, lambda rows: work.undo(rows, _who(request, body)))

    @routes.post("/purge", dependencies=needs, responses=_REFUSED)
    def purge(body: HeldObjectsBody, request: Request) -> ObjectsDoneView:
        """Delete the bytes of discarded objects now. It cannot be undone."""
        return done(body, lambda rows: work.purge(rows, _who(request, body)))


def _who(request: Request, body: HeldObjectsBody) -> Deciding:
    state = request.state
    return Deciding(actor=state.actor, at=time.time(), address=state.address, reason=body.reason)


def deleted_at(held: HeldObject, settings: Settings) -> float:
    """When the bytes of a discarded object go away; 0 for never, or one that is not discarded."""
    kept = settings.delivery.keep_discarded_days
    return held.discarded_at + kept * 86_400 if held.state == InstanceState.DISCARDED and kept else 0.0


def _fields(held: HeldObject, settings: Settings) -> dict[str, Any]:
    facts = json.loads(held.facts or "{}")
    return {
        "id": held.id,
        "cause": held.reason,
        "state": held.state,
        "study": held.study_instance_uid,
        "sop_instance_uid": held.sop_instance_uid,
        "sop_class_uid": held.sop_class_uid,
        "device": held.calling_ae,
        "modality": "\\".join(map(str, facts.get("tag.Modality", ()))),
        "size": held.data_length,
        "received_at": held.received_at,
        "discarded_at": held.discarded_at,
        "deleted_at": deleted_at(held, settings),
        "rules_version": held.rules_version,
    }


def _detail(context: AdminContext, judged: Judged) -> HeldObjectDetail:
    held, decision = judged.held, judged.decision
    kept = json.loads(held.facts or "{}")
    return HeldObjectDetail(
        **_fields(held, context.settings),
        facts=kept,
        trace=trace_of_version(context.site, held.rules_version, kept) or [],
        today="missing" if decision is None else decision.words,
        today_to=[] if decision is None else list(decision.destinations),
        today_trace=[] if decision is None else trace(context.site.value.rules, judged.facts),
    )
