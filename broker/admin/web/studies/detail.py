"""The page of a study: what each destination has of it, its objects, and the rules that they met.

Two regions stand alone: `study` (the destinations, and what a person can do) and `study_objects`. What REST and
`broker studies` do is done by the same functions.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import NEEDS, page_router
from broker.admin.viewing import shows, viewing_of
from broker.admin.web import forms, shell
from broker.admin.web.holds import REASON
from broker.admin.web.kept import FilterSeal
from broker.admin.web.listing import SEALED
from broker.admin.web.queue import lanes, told
from broker.admin.web.queue.lanes import QueueLane
from broker.admin.web.rules.decided import DecidedStudies, decided
from broker.admin.web.studies import objects as shown_objects
from broker.admin.web.studies import words
from broker.admin.web.studies.objects import ObjectListing
from broker.admin.web.words import Sentence
from broker.delivery.resending import ResendEnding, ResentStudy, reroute_study, resend
from broker.errors import BadContent
from broker.model.lane import Lane, LaneKind
from broker.queue.steering import Steering, now_by
from broker.routing.hindsight.explaining import explain_studies
from broker.routing.site import destinations
from broker.status.causes import reason as cause_words
from broker.store.images.instances import InstanceState
from broker.store.orders.search import patient_of
from broker.store.studies import objects, summaries
from broker.store.studies.counting import DeliveryState, DestinationCount
from broker.store.studies.summaries import StudySummary

Row = Annotated[int, Path(alias="id", ge=1, lt=1 << 63)]
STUDY, OBJECTS = "study", "study_objects"  # regions
_CAUSES = 5  # of a state that are told, the most frequent first
_MOVES = (DeliveryState.WAITING, DeliveryState.SENDING, DeliveryState.HELD)
_TOLD = (
    DeliveryState.HELD,
    DeliveryState.GIVEN_UP,
    DeliveryState.WAITING,
    DeliveryState.WARNED,
)  # those in trouble first
_UNDECIDED = (InstanceState.HELD, InstanceState.WAITING, InstanceState.DISCARDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryNote:
    """Why deliveries to a destination are in a state, and what to do. `causes`: words, code, how many.

    `lane`: how the destination works now, of what waits. `queue`: where these deliveries are listed, empty for nowhere.
    """

    state: Sentence
    causes: Sequence[tuple[Sentence, str, int]]
    advice: Sentence | None
    lane: QueueLane | None
    queue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyDestination:
    """What a destination has of the study in words. `known`: it is still one."""

    node: str
    known: bool
    pills: Sequence[words.Pill]
    notes: Sequence[DeliveryNote]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySlip:
    """Why nothing was changed, and what was typed. `question`: the one that is asked again."""

    question: str = ""
    problem: Sentence | None = None
    errors: forms.FieldErrors = field(default_factory=dict)
    reason: str = ""
    to: str = ""
    node: str = ""
    undecided: bool = False

    def errors_of(self, question: str) -> forms.FieldErrors:
        """What is wrong in the form of a question."""
        return self.errors if self.question == question else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPageView:
    """The page. Of a region that is not asked for, `destinations`, `listing` or `told` is None.

    `nodes`: where the study can be sent. `moves`: the destinations for which something waits or is held. `usual`: the
    destination that a person probably means. `undecided`: objects that are only sent if a person decides so.
    """

    row: int
    found: StudySummary
    stays: Sequence[words.Pill]
    destinations: Sequence[StudyDestination] | None
    listing: ObjectListing | None
    told: DecidedStudies | None
    nodes: Sequence[tuple[str, str]]
    moves: Sequence[tuple[str, str]]
    usual: str
    undecided: bool
    may_work: bool
    slip: StudySlip


class _Page:
    """The page with the parts of the broker that it works on."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context
        self._database = context.database
        self._seal = FilterSeal(context.secret)

    def show(self, request: Request, row: int, slip: StudySlip | None = None, status: int = 200) -> Response:
        """Draw the page, or the region that is asked for. Raises Problem: no such study."""
        found = self._found(row)
        region, known = request.headers.get(shell.REGION_HEADER), destinations(self._context.site.value)
        moves = [one.node for one in found.counts.destinations if _moves(one)]
        shown = [one.node for one in found.counts.destinations if one.node in known]
        uid = found.line.study_instance_uid
        view = StudyPageView(
            row=row,
            found=found,
            stays=words.stays(found.counts),
            destinations=self._destinations(request, found) if region != OBJECTS else None,
            listing=self._listing(request, found) if region != STUDY else None,
            told=decided(explain_studies(self._database, self._context.site, [uid])) if region is None else None,
            nodes=[(name, name) for name in sorted(known)],
            moves=[(name, name) for name in moves],
            usual=shown[0] if len(shown) == 1 else "",
            undecided=any(found.counts.by_state.get(state) for state in _UNDECIDED),
            may_work=Right.WORK in request.state.rights,
            slip=slip or StudySlip(),
        )
        if region == STUDY:
            viewing_of(request).nothing()  # numbers, and names of nodes
        else:
            viewing_of(request).one(row, self._database.read(patient_of, found.line.order).result())
        return shell.render(request, "study", view, status)

    def resend(self, request: Request, row: int, form: forms.FormFields) -> Response:
        """Let a destination have the objects anew."""
        to, undecided = form.get("to"), bool(form.get("undecided"))

        def again(study: str, who: Steering, known: frozenset[str]) -> Sentence:
            wanted = ResentStudy(row=row, study=study, node=to, until=time.time(), undecided=undecided)
            done, after, more = Counter[ResendEnding](), 0, True
            while more:
                part = resend(self._database, wanted, known, who, self._context.wake, after)
                done += part.endings
                after, more = part.after, part.after > 0
            return words.resent(done, to)

        return self._change(request, row, form, "resend", again)

    def reroute(self, request: Request, row: int, form: forms.FormFields) -> Response:
        """Let another destination have what waits or is held."""
        to, before = form.get("to"), form.get("node")

        def moved(study: str, who: Steering, known: frozenset[str]) -> Sentence:
            wanted = ResentStudy(row=row, study=study, node=to, until=time.time())
            done = reroute_study(self._database, wanted, before, known, who, self._context.wake)
            return told.rerouted(done, to) if done else told.NONE_WAITS

        return self._change(request, row, form, "reroute", moved)

    def _change(
        self,
        request: Request,
        row: int,
        form: forms.FormFields,
        question: str,
        act: Callable[[str, Steering, frozenset[str]], Sentence],
    ) -> Response:
        """Do with the study what a form says, and go back to its page; or say there why not."""
        study, reason, wrong = self._found(row).line.study_instance_uid, form.get("reason"), dict[str, Sentence]()
        if len(reason) not in REASON:
            wrong["reason"] = Sentence("Say why, in 3 to 500 characters.")
        known = destinations(self._context.site.value)
        if form.get("to") not in known:
            wrong["to"] = Sentence("Choose a destination.")
        if not wrong:
            try:
                who = now_by(request.state.actor, request.state.address, reason)
                return shell.go(f"/studies/{row}", act(study, who, known))
            except BadContent:
                wrong["to"] = Sentence("Choose a destination.")
        slip = StudySlip(
            question=question,
            errors=wrong,
            reason=reason,
            to=form.get("to"),
            node=form.get("node"),
            undecided=bool(form.get("undecided")),
        )
        return self.show(request, row, slip, 422)

    def _found(self, row: int) -> StudySummary:
        """Raises Problem: no such study."""
        found = self._database.read(summaries.one, row).result()
        if found is None:
            raise Problem(404, "No object of this study is known")
        return found

    def _destinations(self, request: Request, found: StudySummary) -> list[StudyDestination]:
        known = destinations(self._context.site.value)
        state = self._database.read(lanes.state, time.time()).result()
        by_name = {one.shape.name: one for one in lanes.lanes_of(self._context, state)}
        sealed = self._seal.close({"study": found.line.study_instance_uid}, request.state.actor)
        return [_destination(one, known, by_name, sealed) for one in found.counts.destinations]

    def _listing(self, request: Request, found: StudySummary) -> ObjectListing:
        asked = shown_objects.table_of(found.line.id).ask(request.query_params)
        series = shown_objects.chosen(found, forms.row_number(asked.values.get("series", "")))
        uid = series.series_instance_uid if series is not None else ""
        arguments = found.line.study_instance_uid, uid, forms.row_number(asked.after), asked.table.size + 1
        rows = self._database.read(objects.stands, *arguments).result()
        total = shown_objects.total_of(found, series)
        lines = [shown_objects.line_of(one, found) for one in rows]
        return asked.filled(lines, total, lambda one: str(one.stand.id))


def router(context: AdminContext) -> APIRouter:
    """The routes of the page."""
    routes, page = page_router(Right.PATIENTS), _Page(context)
    needs = [NEEDS[Right.WORK], shows("study")]

    @routes.get("/studies/{id:int}", dependencies=[shows("study")])
    def show(request: Request, row: Row) -> Response:
        return page.show(request, row)

    @routes.post("/studies/{id:int}/resend", dependencies=needs)
    async def send_again(request: Request, row: Row) -> Response:
        return await asyncio.to_thread(page.resend, request, row, await forms.read(request))

    @routes.post("/studies/{id:int}/reroute", dependencies=needs)
    async def send_elsewhere(request: Request, row: Row) -> Response:
        return await asyncio.to_thread(page.reroute, request, row, await forms.read(request))

    return routes


def _moves(one: DestinationCount) -> bool:
    """Something for it waits or is held."""
    return any(one.states.get(state) for state in _MOVES)


def _destination(
    one: DestinationCount, known: frozenset[str], by_name: Mapping[str, QueueLane], sealed: str
) -> StudyDestination:
    lane, link = by_name.get(Lane(LaneKind.DELIVER, one.node).name), f"{lanes.path_of(one.node)}&{SEALED}={sealed}"
    return StudyDestination(
        node=one.node,
        known=one.node in known,
        pills=words.delivered(one),
        notes=[_note(one, state, lane, link) for state in _TOLD if one.states.get(state)],
    )


def _note(one: DestinationCount, state: DeliveryState, lane: QueueLane | None, link: str) -> DeliveryNote:
    links = {DeliveryState.WAITING: link, DeliveryState.HELD: f"{link}&state=held"}
    codes = one.errors.get(state, Counter[str]()).most_common(_CAUSES)
    return DeliveryNote(
        state=words.number_in(state, one.states[state])[1],
        causes=[(cause_words(code), code, number) for code, number in codes],
        advice=words.ADVICE.get(state),
        lane=lane if state is DeliveryState.WAITING else None,
        queue=links.get(state, ""),
    )
