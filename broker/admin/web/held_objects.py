"""The pages of objects that wait for a person or were discarded, and what can be done with them, one by one or all."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from sqlalchemy import Connection

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import NEEDS, page_router
from broker.admin.viewing import SHOWS_NOTHING, shows, viewing_of
from broker.admin.web import forms, shell
from broker.admin.web.hold_words import told
from broker.admin.web.kept import FilterSeal
from broker.admin.web.listing import CAP, NOTHING, Column, Filter, Listing, Picked, Table
from broker.errors import BadContent
from broker.model.wording import Sentence
from broker.routing.held_work import MOST, OtherCount
from broker.routing.holding import Deciding, Ending
from broker.routing.rejudging import Judged
from broker.routing.rules.evaluate import RoutingDecision
from broker.routing.rules.tracing import trace
from broker.routing.site import destinations, trace_of_version
from broker.settings.sections import DeliverySection
from broker.status.causes import reason as cause_words
from broker.store.images import held_objects
from broker.store.images.held_objects import HeldObject, ObjectFilter
from broker.store.images.instances import InstanceState

REASON = range(3, 501)  # characters
_STATES = {"discarded": InstanceState.DISCARDED, "waiting": InstanceState.WAITING}
TABLE = Table(
    path="/holds/objects",
    region="objects",
    finds="/holds/objects/find",
    title=Sentence("Held objects"),
    columns=(
        Column(name="pick", title=Sentence("Pick")),
        Column(name="since", title=Sentence("Waiting since")),
        Column(name="device", title=Sentence("From")),
        Column(name="cause", title=Sentence("Cause")),
        Column(name="modality", title=Sentence("Modality")),
        Column(name="study", title=Sentence("Study")),
        Column(name="size", title=Sentence("Size"), numeric=True),
        Column(name="until", title=Sentence("Kept until")),
    ),
    filters=(
        Filter(name="cause", title=Sentence("Cause"), hint=Sentence("code, like no-rule-matched")),
        Filter(name="device", title=Sentence("From"), hint=Sentence("AE title")),
        Filter(name="study", title=Sentence("Study"), hint=Sentence("Study Instance UID"), private=True),
        Filter(name="exam", title=Sentence("Exam"), kind="hidden"),
        Filter(name="accession", title=Sentence("Accession number"), private=True),
        Filter(name="node", title=Sentence("Node"), hint=Sentence("that it came from")),
        Filter(
            name="state",
            title=Sentence("State"),
            kind="choice",
            choices=(
                ("discarded", Sentence("discarded")),
                ("waiting", Sentence("waiting for their series or study")),
            ),
            any=Sentence("held"),
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectLine:
    """An object in words, without its patient."""

    row: int
    key: str
    since: float
    device: str
    cause: Sentence
    modality: str
    study: str
    size: int
    until: float  # when it is discarded, or its bytes are deleted; 0 for never


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectsView:
    """A page of objects in a state. `problem`: why nothing was changed; `typed`, `picked`: what was before."""

    listing: Listing[ObjectLine]
    nodes: Sequence[tuple[str, str]]
    state: InstanceState
    may_work: bool
    problem: Sentence | None
    errors: forms.FieldErrors
    typed: Mapping[str, str]
    picked: Picked
    forgotten: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectView:
    """An object with what the rules saw and decided then, and what those of today would do.

    `then` is None where the rules of that version cannot be read any more; `today` is None without bytes.
    """

    line: ObjectLine
    facts: Mapping[str, Sequence[str | float]]
    rules_version: int
    then: Sequence[Mapping[str, Any]] | None
    today: RoutingDecision | None
    today_trace: Sequence[Mapping[str, Any]]


Act = Callable[[Sequence[int], Deciding], Counter[Ending]]


class _Page:
    """The page with the parts of the broker that it works on."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context
        self._seal = FilterSeal(context.secret)

    def show(
        self,
        request: Request,
        problem: Sentence | None = None,
        status: int = 200,
        errors: forms.FieldErrors | None = None,
        typed: Mapping[str, str] | None = None,
        picked: Picked = NOTHING,
    ) -> Response:
        """Draw the list that the query asks for."""
        asked, forgotten = self._seal.asked(TABLE, request)
        wanted = _filter(self._context, asked.values)
        place = held_objects.place_of(asked.after) or held_objects.FIRST
        found, total = self._context.database.read(_look, wanted, place, TABLE.size + 1).result()
        rows = [_line(one, self._context.settings.delivery) for one in found]
        viewing_of(request).many(len(rows), asked.values)
        view = ObjectsView(
            listing=asked.filled(rows, total, lambda line: line.key),
            nodes=[(name, name) for name in sorted(destinations(self._context.site.value))],
            state=wanted.state,
            may_work=Right.WORK in request.state.rights,
            problem=problem,
            errors=errors or {},
            typed=typed or {},
            picked=picked,
            forgotten=forgotten,
        )
        return shell.render(request, "held_objects", view, status)

    def act(self, request: Request, form: forms.FormFields, act: Act) -> Response:
        """Do with the picked objects what a form says, and go back to the list; or say why not."""
        asked, forgotten = self._seal.asked(TABLE, request)
        picked = TABLE.picked(form, asked)
        typed = {"reason": form.get("reason"), "to": form.get("to")}
        if len(typed["reason"]) not in REASON:
            wrong = {"reason": Sentence("Say why, in 3 to 500 characters.")}
            return self.show(request, None, 422, wrong, typed, picked)
        if picked.is_empty:
            return self.show(request, Sentence("Pick the rows first. Nothing was changed."), 422, {}, typed)
        who = Deciding(actor=request.state.actor, at=time.time(), address=request.state.address, reason=typed["reason"])
        try:
            if forgotten and picked.expected is not None:  # nobody knows any more which list it was
                raise OtherCount
            done = act(self._rows(picked), who)
        except OtherCount:
            changed = Sentence("The list has changed meanwhile: look again. Nothing was changed.")
            return self.show(request, changed, 409, {}, typed)
        except BadContent:
            wrong = {"to": Sentence("Choose a destination.")}
            return self.show(request, None, 422, wrong, typed, picked)
        return shell.go(asked.link(), told(done))

    def find(self, request: Request, form: forms.FormFields) -> Response:
        """Go to the list with filters, of which the private ones are sealed."""
        return shell.go(self._seal.address(TABLE, form, request.state.actor))

    def _rows(self, picked: Picked) -> Sequence[int]:
        """The picked objects. Raises OtherCount."""
        if picked.expected is None:
            return [int(key) for key in picked.keys if key.isdecimal() and len(key) < 19]
        if picked.expected > MOST:
            raise OtherCount
        return self._context.held.rows(_filter(self._context, picked.values), picked.expected)


def router(context: AdminContext) -> APIRouter:
    """The routes of the page."""
    # a Study Instance UID may hold a birth date: who may see no patients sees no list either
    routes, page, work = page_router(Right.PATIENTS), _Page(context), context.held
    needs = [NEEDS[Right.WORK], shows("objects")]

    @routes.get("/holds/objects", dependencies=[shows("objects")])
    def show(request: Request) -> Response:
        return page.show(request)

    @routes.get("/holds/objects/{row:int}", dependencies=[shows("objects")])
    def one(request: Request, row: Annotated[int, Path(ge=1, lt=1 << 63)]) -> Response:
        judged = next(iter(work.judge([row])), None)
        if judged is None:
            raise Problem(404, "No such object waits")
        return shell.render(request, "held_object", _object(context, judged))

    @routes.post("/holds/objects/find", dependencies=[SHOWS_NOTHING])
    async def find(request: Request) -> Response:
        return page.find(request, await forms.read(request))

    @routes.post("/holds/objects/route", dependencies=needs)
    async def route(request: Request) -> Response:
        return await asyncio.to_thread(page.act, request, await forms.read(request), work.route)

    @routes.post("/holds/objects/send", dependencies=needs)
    async def send(request: Request) -> Response:
        form = await forms.read(request)
        to = form.get("to")
        return await asyncio.to_thread(page.act, request, form, lambda rows, who: work.send(rows, [to], who))

    @routes.post("/holds/objects/discard", dependencies=needs)
    async def discard(request: Request) -> Response:
        return await asyncio.to_thread(page.act, request, await forms.read(request), work.discard)

    @routes.post("/holds/objects/undo", dependencies=needs)
    async def undo(request: Request) -> Response:
        return await asyncio.to_thread(page.act, request, await forms.read(request), work.undo)

    @routes.post("/holds/objects/purge", dependencies=needs)
    async def purge(request: Request) -> Response:
        return await asyncio.to_thread(page.act, request, await forms.read(request), work.purge)

    return routes


def _object(context: AdminContext, judged: Judged) -> ObjectView:
    held = judged.held
    facts = json.loads(held.facts or "{}")
    return ObjectView(
        line=_line(held, context.settings.delivery),
        facts=facts,
        rules_version=held.rules_version,
        then=trace_of_version(context.site, held.rules_version, facts),
        today=judged.decision,
        today_trace=trace(context.site.value.rules, judged.facts) if judged.decision is not None else (),
    )


def _filter(context: AdminContext, values: Mapping[str, str]) -> ObjectFilter:
    node = values.get("node", "")
    return ObjectFilter(
        state=_STATES.get(values.get("state", ""), InstanceState.HELD),
        reason=values.get("cause", ""),
        study=values.get("study", ""),
        accession=values.get("accession", ""),
        order=forms.row_number(values.get("exam", "")),
        device=values.get("device", ""),
        senders=tuple(one.ae_title for one in context.directory.nodes if one.name == node) if node else None,
    )


def _look(
    connection: Connection, wanted: ObjectFilter, after: tuple[float, int], limit: int
) -> tuple[list[HeldObject], int]:
    return held_objects.find(connection, wanted, after, limit), held_objects.count(connection, wanted, CAP + 1)


def _line(held: HeldObject, kept: DeliverySection) -> ObjectLine:
    discarded, waits = (held.state == state for state in (InstanceState.DISCARDED, InstanceState.WAITING))
    since = held.discarded_at if discarded else held.received_at
    days = 0 if waits else kept.keep_discarded_days if discarded else kept.keep_held_days
    facts = json.loads(held.facts or "{}")
    return ObjectLine(
        row=held.id,
        key=held.key,
        since=held.received_at,
        device=held.calling_ae,
        cause=cause_words(held.reason),
        modality=", ".join(map(str, facts.get("tag.Modality", ()))),
        study=held.study_instance_uid,
        size=held.data_length,
        until=since + days * 86_400 if days else 0.0,
    )
