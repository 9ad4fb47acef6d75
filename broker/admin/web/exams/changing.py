"""Changes one exam from its page, with a reason: moves a step, calls the exam off, lets an ended step begin again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.routers import NEEDS, page_router
from broker.admin.viewing import shows
from broker.admin.web import forms, shell
from broker.admin.web.exams import words
from broker.admin.web.exams.detail import ExamPages, Row, Tried, missing
from broker.admin.web.forms import FormFields
from broker.admin.web.words import Sentence
from broker.orders.core.context import StoryContext
from broker.orders.direct import moving, placing
from broker.orders.direct.moving import DATE, STATION, TIME, Move
from broker.orders.direct.placing import OrderRefused

REASON = range(3, 501)  # characters
FIELDS = ("step", "station", "date", "time", "reason")
SAY_WHY = Sentence("Say why, in 3 to 500 characters.")
CHANGED = Sentence("The exam has changed meanwhile: look again. Nothing was changed.")
_REFUSALS = {
    "The step has begun or ended": Sentence("The step has begun or ended. Nothing was changed."),
    "The order has ended": Sentence("The exam has ended. Nothing was changed."),
    "the step has not ended": Sentence("The step has not ended. Nothing was changed."),
    "Say another station or another time that can be used": Sentence("Say another station or another time."),
}
_BESIDE = {STATION: "station", DATE: "date", TIME: "time"}  # fields by attribute
_UNUSABLE = Sentence("This cannot be used.")
_Change = Callable[[FormFields, StoryContext], object]


def router(context: AdminContext) -> APIRouter:
    """The routes of the questions on the page."""
    routes, pages = page_router(Right.PATIENTS), ExamPages(context)
    database, working = context.database, [NEEDS[Right.WORK], shows("order")]

    async def change(request: Request, row: int, question: str, make: _Change, done: Sentence) -> Response:
        form = await forms.read(request)
        why = form.get("reason")
        if len(why) not in REASON:
            tried = _tried(question, form, errors={"reason": SAY_WHY})
            return await run_in_threadpool(pages.show, request, row, tried, 422)
        story = replace(context.story(request), reason=why)
        try:
            await run_in_threadpool(make, form, story)
        except OrderRefused as error:
            if error.kind == "missing":
                raise missing() from None
            status = 422 if error.kind == "invalid" else 409
            return await run_in_threadpool(pages.show, request, row, _refused(question, form, error), status)
        return shell.go(f"/exams/{row}", done)

    @routes.post("/exams/{id:int}/move", dependencies=working)
    async def move(request: Request, row: Row) -> Response:
        def make(form: FormFields, story: StoryContext) -> object:
            stations = words.stations_of(form.get("station"))
            asked = Move(step_id=form.get("step"), stations=stations, date=form.get("date"), time=form.get("time"))
            return database.execute(moving.move, row, asked, form.get("seen"), story)

        return await change(request, row, "move", make, Sentence("The step was moved."))

    @routes.post("/exams/{id:int}/cancel", dependencies=working)
    async def cancel(request: Request, row: Row) -> Response:
        def make(form: FormFields, story: StoryContext) -> object:
            return database.execute(placing.cancel, row, form.get("seen"), story)

        return await change(request, row, "calloff", make, Sentence("The exam was called off."))

    @routes.post("/exams/{id:int}/reopen", dependencies=working)
    async def reopen(request: Request, row: Row) -> Response:
        def make(form: FormFields, story: StoryContext) -> object:
            return database.execute(placing.reopen, row, form.get("step"), story.reason, story)

        return await change(request, row, "reopen", make, Sentence("The step can begin again."))

    return routes


def _tried(
    question: str, form: FormFields, errors: forms.FieldErrors | None = None, problem: Sentence | None = None
) -> Tried:
    values = {name: form.get(name) for name in FIELDS}
    return Tried(question=question, values=values, errors=errors or {}, problem=problem)


def _refused(question: str, form: FormFields, error: OrderRefused) -> Tried:
    """Why a change was refused: beside its field, or else above all."""
    if error.kind == "changed":
        return _tried("", form, problem=CHANGED)
    named = (finding.location.partition("[")[0].partition("/")[0] for finding in error.findings)
    errors = {_BESIDE[name]: _UNUSABLE for name in named if name in _BESIDE}
    problem = _REFUSALS.get(str(error), Sentence("%(words)s", {"words": str(error)[:300]}))
    return _tried(question if errors else "", form, errors, None if errors else problem)
