"""The page of one performed step: what the modality said, beside the scheduled steps that it may mean.

A person links it to a scheduled step, sets it aside, or ends it in place of its modality.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import Connection

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import NEEDS, page_router
from broker.admin.viewing import shows, viewing_of
from broker.admin.web import forms, shell
from broker.admin.web.exams import words as exam_words
from broker.admin.web.exams.changing import REASON, SAY_WHY
from broker.admin.web.forms import FieldErrors
from broker.admin.web.performed import words
from broker.admin.web.words import Sentence
from broker.model.lane import Lane, LaneKind
from broker.model.order import Document, Order, Procedure, Step
from broker.model.performed import PerformedStatus, PerformedStep, StepLink
from broker.mpps import deciding, showing
from broker.mpps.attributes import ITEMS
from broker.mpps.deciding import Undecided
from broker.orders.core.context import StoryContext
from broker.orders.direct import placing
from broker.site.tables.roles import MPPS_NOTIFICATION
from broker.status.causes import reason

Row = Annotated[int, Path(ge=1, lt=1 << 63)]
_Status = Literal["COMPLETED", "DISCONTINUED"]
_WORKING = [NEEDS[Right.WORK], shows("mpps")]
_DONE = {"aside": Sentence("It was set aside."), "end": Sentence("It has ended.")}
PROPOSED = 20  # scheduled steps that are shown beside it
_REFUSALS = {
    "No such item without a step": Sentence("It belongs to a scheduled step already. Nothing was changed."),
    "No such scheduled step": Sentence("There is no such scheduled step. Nothing was changed."),
}


_Decision = Callable[[str, str, StoryContext], None]  # how it ended, why, in whose name


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What is known of one side, for people to compare: the texts of LINES in their sequence."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedStep:
    """A scheduled step that may be meant: rows of itself and its order, and what is known of it."""

    step: int
    order: int
    state: tuple[str, Sentence]
    side: Side


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformedDetail:
    """A performed step. `items`: what it says it does, with the order that was found. `own`: its side."""

    row: int
    performed: PerformedStep
    state: tuple[str, Sentence]
    link: tuple[str, Sentence]
    why: Sentence | None
    findings: Sequence[Sentence]
    titles: Sequence[Sentence]
    own: Side
    items: Sequence[tuple[StepLink, int, Sentence]]
    proposals: Sequence[ProposedStep]
    may_work: bool
    running: bool
    waits: bool
    problem: Sentence | None = None
    question: str = ""
    errors: FieldErrors = field(default_factory=dict)
    typed: Mapping[str, str] = field(default_factory=dict)


LINES = (
    Sentence("Patient"),
    Sentence("Birth date"),
    Sentence("Patient ID"),
    Sentence("Accession number"),
    Sentence("What is done"),
    Sentence("Station"),
    Sentence("Time"),
)


@dataclass(frozen=True, slots=True)
class _Known:
    """What the database has of one: the step as it is shown, and the orders of its items and proposals by rows."""

    shown: showing.ShownStep
    orders: Mapping[int, Order]
    of_step: Mapping[int, int]


class PerformedPages:
    """Draws the page of one performed step."""

    def __init__(self, context: AdminContext) -> None:
        self._database = context.database

    def show(self, request: Request, row: int, status: int = 200, **more: Any) -> Response:
        """The page as things are now; `more` says what was not done. Raises Problem: no such performed step."""
        known = self._database.read(_known, row).result()
        if known is None:
            raise Problem(404, "There is no such performed step")
        viewing_of(request).people(order.patient.row or 0 for order in known.orders.values())
        return shell.render(request, "performed_step", _view(known, row, request.state.rights, more), status)


def router(context: AdminContext) -> APIRouter:
    """The routes of one performed step."""
    routes, pages = page_router(Right.PATIENTS), PerformedPages(context)

    @routes.get("/performed/{row:int}", dependencies=[shows("mpps")])
    def page(request: Request, row: Row) -> Response:
        return pages.show(request, row)

    _linking(routes, pages, context)
    _deciding(routes, pages, context)
    return routes


def _linking(routes: APIRouter, pages: PerformedPages, context: AdminContext) -> None:
    @routes.post("/performed/{row:int}/link", dependencies=_WORKING)
    async def link(request: Request, row: Row) -> Response:
        form, story = await forms.read(request), context.story(request)
        step, item = (_number(form.get(name)) for name in ("step", "item"))
        if step is None:
            problem = Sentence("Choose the scheduled step first. Nothing was changed.")
            return await run_in_threadpool(pages.show, request, row, 422, problem=problem)
        try:
            await run_in_threadpool(context.database.execute, deciding.link, row, step, item, story)
        except Undecided as error:
            return await run_in_threadpool(pages.show, request, row, 409, problem=_refusal(error))
        context.wake()
        return shell.go(f"/performed/{row}", Sentence("It belongs to the scheduled step now."))


def _deciding(routes: APIRouter, pages: PerformedPages, context: AdminContext) -> None:
    database, directory = context.database, context.directory

    async def decide(request: Request, row: int, question: str, decide_so: _Decision) -> Response:
        form, story = await forms.read(request), context.story(request)
        typed = {"reason": form.get("reason"), "status": form.get("status")}
        if len(typed["reason"]) not in REASON:
            wrong = {"reason": SAY_WHY}
            return await run_in_threadpool(pages.show, request, row, 422, question=question, errors=wrong, typed=typed)
        try:
            await run_in_threadpool(decide_so, typed["status"], typed["reason"], story)
        except Undecided as error:
            return await run_in_threadpool(pages.show, request, row, 409, problem=_refusal(error))
        context.wake()
        return shell.go(f"/performed/{row}", _DONE[question])

    @routes.post("/performed/{row:int}/set-aside", dependencies=_WORKING)
    async def set_aside(request: Request, row: Row) -> Response:
        def aside(status: str, why: str, story: StoryContext) -> None:
            database.execute(deciding.set_aside, row, why, story)

        return await decide(request, row, "aside", aside)

    @routes.post("/performed/{row:int}/end", dependencies=_WORKING)
    async def end(request: Request, row: Row) -> Response:
        def ended(status: str, why: str, story: StoryContext) -> None:
            how: _Status = "DISCONTINUED" if status == "DISCONTINUED" else "COMPLETED"
            listeners = directory.having(MPPS_NOTIFICATION)
            lanes = [Lane(LaneKind.DELIVER, node.name).name for node in directory.having("destination")]
            database.execute(deciding.end, row, how, why, story, listeners, lanes)

        return await decide(request, row, "end", ended)


def _refusal(error: Undecided) -> Sentence:
    return _REFUSALS.get(str(error), Sentence("%(words)s", {"words": str(error)[:300]}))


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 19 else None


def _known(connection: Connection, row: int) -> _Known | None:
    shown = showing.show(connection, row)
    if shown is None:
        return None
    of_step = {one["step"]: one["order"] for one in shown.proposals[:PROPOSED]}
    linked = {item.step: showing.order_of(connection, item.step) for item in shown.items if item.step is not None}
    of_step |= {step: order for step, order in linked.items() if order is not None}
    found = ((order, placing.stored(connection, order)) for order in dict.fromkeys(of_step.values()))
    return _Known(shown, {order: stored for order, stored in found if stored is not None}, of_step)


def _view(known: _Known, row: int, rights: frozenset[Right], more: Mapping[str, Any]) -> PerformedDetail:
    performed, shown = known.shown.performed, known.shown
    return PerformedDetail(
        row=row,
        performed=performed,
        state=words.STATES[performed.status],
        link=words.LINKS[performed.linking],
        why=reason(performed.attention) if performed.attention else None,
        findings=[reason(code) for code in performed.findings],
        titles=LINES,
        own=_own(performed),
        items=[(item, known.of_step.get(item.step or 0, 0), reason(item.reason)) for item in shown.items],
        proposals=[
            _proposal(known, one["step"], one["order"])
            for one in shown.proposals[:PROPOSED]
            if one["order"] in known.orders
        ],
        may_work=Right.WORK in rights,
        running=performed.status == PerformedStatus.IN_PROGRESS,
        waits=bool(performed.attention),
        **more,
    )


def _own(performed: PerformedStep) -> Side:
    document = performed.document
    items = document.get(ITEMS) or [{}]
    day = str(document.get("PerformedProcedureStepStartDate", ""))
    clock = str(document.get("PerformedProcedureStepStartTime", ""))
    done = document.get("PerformedProcedureStepDescription") or document.get("PerformedProcedureTypeDescription")
    return _side(
        document,
        _joined(items, "AccessionNumber"),
        str(done or _joined(items, "RequestedProcedureDescription")),
        performed.station,
        f"{day}{clock[:6]}",
    )


def _proposal(known: _Known, step: int, order: int) -> ProposedStep:
    stored = known.orders[order]
    procedure, planned = next(pair for pair in _steps(stored) if pair[1].row == step)
    return ProposedStep(
        step=step,
        order=order,
        state=exam_words.STATES[planned.status],
        side=_side(
            {**stored.patient.attributes, "PatientID": stored.patient.patient_id},
            stored.accession,
            str(procedure.attributes.get("RequestedProcedureDescription") or ""),
            ", ".join(planned.stations),
            planned.start_at,
        ),
    )


def _steps(order: Order) -> list[tuple[Procedure, Step]]:
    return [(procedure, step) for procedure in order.procedures for step in procedure.steps]


def _side(patient: Document, accession: str, done: str, station: str, at: str) -> Side:
    name, born, number = (str(patient.get(word) or "") for word in ("PatientName", "PatientBirthDate", "PatientID"))
    texts = (exam_words.person(name), exam_words.day_of(born), number, accession, done, station)
    return Side(texts=(*texts, exam_words.clock_of(at) if len(at) >= 12 else exam_words.day_of(at)))


def _joined(items: Sequence[Document], keyword: str) -> str:
    return ", ".join(dict.fromkeys(str(item[keyword]) for item in items if item.get(keyword)))
