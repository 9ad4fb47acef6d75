"""The page of all that waits for a person: held objects and held jobs in one list, with what can be done with them.

Who may see no patients sees the jobs alone, without what they send.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.routers import NEEDS, page_router
from broker.admin.viewing import SHOWS_NOTHING, shows, viewing_of
from broker.admin.web import forms, shell
from broker.admin.web.hold_words import told, told_with_jobs
from broker.admin.web.kept import FilterSeal
from broker.admin.web.listing import CAP, NOTHING, Column, Filter, Listing, Picked, Table
from broker.admin.web.shell import PageLink
from broker.admin.web.words import counted
from broker.model.lane import Lane, LaneKind, parts_of
from broker.model.wording import Sentence
from broker.queue import holds
from broker.routing.held_work import OtherCount
from broker.routing.holding import Deciding, Ending
from broker.status.causes import reason as cause_words
from broker.store.holds import waiting
from broker.store.holds.held_jobs import HeldFilter
from broker.store.holds.waiting import WaitingThing
from broker.store.images.held_objects import ObjectFilter
from broker.store.studies.finding import rows_of

LINK = PageLink(title=Sentence("Holds"), path="/holds", icon="holds", right=Right.STATUS)
KINDS = {
    LaneKind.DELIVER: Sentence("images"),
    LaneKind.FEEDBACK: Sentence("news for a RIS"),
    LaneKind.MPPS: Sentence("MPPS"),
    LaneKind.MPPS_EVENT: Sentence("news of MPPS"),
    LaneKind.AUDIT: Sentence("audit messages"),
    LaneKind.NOTIFY: Sentence("notices of rules"),
    LaneKind.COMMITMENT: Sentence("storage commitment"),
}
REASON = range(3, 501)  # characters
TABLE = Table(
    path="/holds",
    region="held",
    finds="/holds/find",
    title=Sentence("Holds"),
    columns=(
        Column(name="pick", title=Sentence("Pick")),
        Column(name="what", title=Sentence("What")),
        Column(name="node", title=Sentence("Destination")),
        Column(name="error", title=Sentence("Cause")),
        Column(name="device", title=Sentence("From")),
        Column(name="patient", title=Sentence("Patient ID")),
        Column(name="order", title=Sentence("Exam")),
        Column(name="study", title=Sentence("Study")),
        Column(name="size", title=Sentence("Size"), numeric=True),
        Column(name="tries", title=Sentence("Tries"), numeric=True),
        Column(name="since", title=Sentence("Waiting since")),
    ),
    filters=(
        Filter(name="error", title=Sentence("Cause"), hint=Sentence("code, like no-rule-matched")),
        Filter(name="node", title=Sentence("Node"), hint=Sentence("that it is for, or came from")),
        Filter(name="accession", title=Sentence("Accession number"), private=True),
        Filter(name="device", title=Sentence("From"), hint=Sentence("AE title")),
        Filter(name="study", title=Sentence("Study"), hint=Sentence("Study Instance UID"), private=True),
        Filter(name="lane", title=Sentence("Lane"), kind="hidden"),
        Filter(name="exam", title=Sentence("Exam"), kind="hidden"),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldLine:
    """Something that waits, in words. `kind` is None for an object; `order`, `study`: our numbers, 0 for none."""

    thing: WaitingThing
    kind: Sentence | None
    node: str
    cause: Sentence
    patient: str
    accession: str
    order: int
    study: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldsView:
    """A page of what waits.

    `problem`: why nothing was changed; `reason` and `picked`: what was typed and picked before. `older`: what is picked
    would go over newer versions. `forgotten`: the address holds a search that cannot be read here.
    """

    listing: Listing[HoldLine]
    may_work: bool
    problem: Sentence | None = None
    errors: forms.FieldErrors
    reason: str
    picked: Picked
    older: bool = False
    forgotten: bool


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The filters of a request, for each kind; no objects for who may see no patients."""

    objects: ObjectFilter | None
    jobs: HeldFilter | None


class _Page:
    """The page with the parts of the broker that it works on."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context
        self._database = context.database
        self._seal = FilterSeal(context.secret)

    def show(
        self,
        request: Request,
        problem: Sentence | None = None,
        status: int = 200,
        errors: forms.FieldErrors | None = None,
        reason: str = "",
        picked: Picked = NOTHING,
        *,
        older: bool = False,
    ) -> Response:
        """Draw the list that the query asks for."""
        asked, forgotten = self._seal.asked(TABLE, request)
        after = waiting.place_of(asked.after) or waiting.BEFORE_ALL
        rows, total = self._database.read(_look, self._wanted(request, asked.values), after, TABLE.size + 1).result()
        patients = Right.PATIENTS in request.state.rights
        if patients:
            viewing_of(request).many(len(rows), asked.values)
        else:
            viewing_of(request).nothing()
        view = HoldsView(
            listing=asked.filled([_line(*row, patients) for row in rows], total, lambda line: line.thing.key),
            may_work=Right.WORK in request.state.rights,
            problem=problem,
            errors=errors or {},
            reason=reason,
            picked=picked,
            older=older,
            forgotten=forgotten,
        )
        return shell.render(request, "holds", view, status)

    def release(self, request: Request, form: forms.FormFields) -> Response:
        """Try picked jobs again, and let picked objects go the way of today's rules."""
        who, where, now = request.state.actor, request.state.address, time.time()
        picked, anyway = self._picked(request, form), bool(form.get("anyway"))

        def end(connection: Connection, row: int) -> bool:
            return holds.release(connection, row, who, now, where, anyway=anyway)

        def route(rows: Sequence[int]) -> Counter[Ending]:
            return self._context.held.route(rows, Deciding(actor=who, at=now, address=where))

        try:
            return self._change(request, picked, end, _released, route)
        except holds.NewerSent:
            return self.show(request, _NEWER, 409, picked=picked, older=True)

    def discard(self, request: Request, form: forms.FormFields) -> Response:
        """Give picked jobs and objects up."""
        picked, reason = self._picked(request, form), form.get("reason")
        who, where, now = request.state.actor, request.state.address, time.time()
        if len(reason) not in REASON:
            wrong = {"reason": Sentence("Say why, in 3 to 500 characters.")}
            return self.show(request, None, 422, wrong, reason, picked)

        def end(connection: Connection, row: int) -> bool:
            return holds.discard(connection, row, who, reason, now, where)

        def discard(rows: Sequence[int]) -> Counter[Ending]:
            return self._context.held.discard(rows, Deciding(actor=who, at=now, address=where, reason=reason))

        return self._change(request, picked, end, _discarded, discard)

    def _change(
        self,
        request: Request,
        picked: Picked,
        end: Callable[[Connection, int], bool],
        done: Callable[[int], Sentence],
        objects: Callable[[Sequence[int]], Counter[Ending]],
    ) -> Response:
        """End the holds of picked jobs and objects, and go back to the list; or say why not."""
        if picked.is_empty:
            return self.show(request, Sentence("Pick the rows first. Nothing was changed."), 422)
        try:
            jobs, held = self._rows(request, picked)
        except OtherCount:
            return self.show(request, Sentence("The list has changed meanwhile: look again. Nothing was changed."), 409)
        ended = 0
        if jobs or not held:
            ended = self._database.execute(holds.end_all, lambda _: jobs, end)
            self._context.wake()
        back = self._seal.asked(TABLE, request)[0].link()
        if not held:
            return shell.go(back, done(ended))
        return shell.go(back, told_with_jobs(objects(held), ended) if jobs else told(objects(held)))

    def find(self, request: Request, form: forms.FormFields) -> Response:
        """Go to the list with filters, of which the private ones are sealed."""
        return shell.go(self._seal.address(TABLE, form, request.state.actor))

    def _picked(self, request: Request, form: forms.FormFields) -> Picked:
        return TABLE.picked(form, self._seal.asked(TABLE, request)[0])

    def _rows(self, request: Request, picked: Picked) -> tuple[Sequence[int], Sequence[int]]:
        """The rows of picked jobs, and those of picked objects. Raises OtherCount."""
        patients = Right.PATIENTS in request.state.rights
        if picked.expected is None:
            keys = [key for key in picked.keys if len(key) < 19]
            objects = [int(key[1:]) for key in keys if key[:1] == "o" and key[1:].isdecimal() and patients]
            return [int(key) for key in keys if key.isdecimal()], objects
        if self._seal.asked(TABLE, request)[1]:  # nobody knows any more which list it was
            raise OtherCount
        wanted = self._wanted(request, picked.values)
        jobs, held = self._database.read(waiting.rows, wanted.objects, wanted.jobs, picked.expected + 1).result()
        if len(jobs) + len(held) != picked.expected:
            raise OtherCount
        return jobs, held

    def _wanted(self, request: Request, values: Mapping[str, str]) -> _Wanted:
        """What the filters mean. A filter that only objects have, or only jobs, finds none of the others."""
        patients, node = Right.PATIENTS in request.state.rights, values.get("node", "")
        study, accession, device = (values.get(name, "") if patients else "" for name in _OF_OBJECTS)
        cause, lane, exam = (values.get(name, "") for name in ("error", "lane", "exam"))
        order = forms.row_number(exam) if patients else 0
        titles = tuple(one.ae_title for one in self._context.directory.nodes if one.name == node) if node else None
        objects = ObjectFilter(
            reason=cause, senders=titles, study=study, accession=accession, device=device, order=order
        )
        jobs = HeldFilter(
            lane=lane, error=cause, node=node, study=study, accession=accession, device=device, order=order
        )
        return _Wanted(objects if patients and not lane else None, jobs)


def router(context: AdminContext) -> APIRouter:
    """The routes of the page."""
    routes, page = page_router(Right.STATUS), _Page(context)

    @routes.get("/holds", dependencies=[shows("objects")])
    def show(request: Request) -> Response:
        return page.show(request)

    @routes.post("/holds/find", dependencies=[SHOWS_NOTHING])
    async def find(request: Request) -> Response:
        return page.find(request, await forms.read(request))

    @routes.post("/holds/release", dependencies=[NEEDS[Right.WORK], shows("objects")])
    async def release(request: Request) -> Response:
        return await asyncio.to_thread(page.release, request, await forms.read(request))

    @routes.post("/holds/discard", dependencies=[NEEDS[Right.WORK], shows("objects")])
    async def discard(request: Request) -> Response:
        return await asyncio.to_thread(page.discard, request, await forms.read(request))

    return routes


_NEWER = Sentence(
    "Of some objects that are picked a newer version was sent. Tried again, the older one goes over it. Nothing was"
    " changed."
)
_OF_OBJECTS = ("study", "accession", "device")


def _look(
    connection: Connection, wanted: _Wanted, after: tuple[float, int, int], limit: int
) -> tuple[list[tuple[WaitingThing, int, int]], int]:
    """What waits with its order and its study, and how much matches."""
    found = waiting.find(connection, wanted.objects, wanted.jobs, after, limit)
    studies = sorted({one.study for one in found if one.study})
    orders = waiting.orders_of(connection, studies) if studies else {}
    total = waiting.count(connection, wanted.objects, wanted.jobs, CAP + 1)
    numbers = rows_of(connection, studies)
    return [(one, orders.get(one.study, 0), numbers.get(one.study, 0)) for one in found], total


def _line(thing: WaitingThing, order: int, study: int, patients: bool) -> HoldLine:
    thing = thing if patients else thing.unseen()
    return HoldLine(
        thing=thing,
        kind=work_of(thing.lane) if thing.lane else None,
        node=parts_of(thing.lane)[1],
        cause=cause_words(thing.cause),
        patient=thing.fact("tag.PatientID"),
        accession=thing.fact("tag.AccessionNumber"),
        order=order if patients else 0,
        study=study if patients else 0,
    )


def work_of(name: str) -> Sentence:
    """What a lane is for, by its stored name."""
    lane = Lane.known(name)
    return Sentence("work of a newer version") if lane is None else KINDS[lane.kind]


def _released(n: int) -> Sentence:
    return counted("%(n)s job is tried again.", "%(n)s jobs are tried again.", n)


def _discarded(n: int) -> Sentence:
    return counted("%(n)s job was given up.", "%(n)s jobs were given up.", n)
