"""The form of an exam: place a new one, or change what is known of one. A patient nobody knows has `emergency.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.routers import NEEDS, page_router
from broker.admin.viewing import SHOWS_NOTHING, shows, viewing_of
from broker.admin.web import forms, shell
from broker.admin.web.exams import fields
from broker.admin.web.exams.changing import CHANGED, REASON, SAY_WHY
from broker.admin.web.exams.detail import Row, missing
from broker.admin.web.exams.fields import ExamField
from broker.admin.web.forms import FieldErrors, FormFields
from broker.admin.web.words import Sentence
from broker.model.modalities import known_modalities
from broker.model.order import Document
from broker.orders.core.context import StoryContext
from broker.orders.direct import placing
from broker.orders.direct.placing import OrderRefused, Placed
from broker.orders.documents import document as documents
from broker.store.orders.search import patient_of

_NO_ERRORS: FieldErrors = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamForm:
    """What stands in the form. `order`: of the exam, 0 for a new one; `seen`: its revision when the form was made."""

    order: int
    fields: Sequence[ExamField]
    values: Mapping[str, str]
    seen: str
    errors: FieldErrors
    problem: Sentence | None = None
    reason: str = ""


class ExamForms:
    """Draws the form, and carries out what it says."""

    def __init__(self, context: AdminContext) -> None:
        self._database, self._zone = context.database, context.settings.zone()
        self._modalities = known_modalities(context.settings.worklist.modalities)

    def stored(self, request: Request, row: int) -> Document:
        """The document of an exam, which is shown. Raises Problem: no such exam."""
        found = self._database.read(placing.read, row, self._zone).result()
        if found is None:
            raise missing()
        viewing_of(request).patient = self._database.read(patient_of, row).result()
        return dict(found)

    def place(self, form: FormFields, story: StoryContext) -> Placed:
        """Place the exam that a form describes. Raises OrderRefused."""
        change = placing.usable(documents.convert(fields.fresh(form), self._modalities))
        return self._database.execute(placing.place, change, story)

    def amend(self, row: int, found: Document, form: FormFields, story: StoryContext) -> None:
        """Change an exam as a form says. Raises OrderRefused."""
        change = placing.usable(documents.convert(fields.changed(found, form), self._modalities))
        self._database.execute(placing.amend, row, change, form.get("seen"), story)


def router(context: AdminContext) -> APIRouter:
    """The routes of the form."""
    routes, exams = page_router(Right.WORK), ExamForms(context)

    @routes.get("/exams/new", dependencies=[SHOWS_NOTHING])
    def empty(request: Request) -> Response:
        form = ExamForm(order=0, fields=fields.FIELDS, values={}, seen="", errors=_NO_ERRORS)
        return shell.render(request, "exam_form", form)

    @routes.post("/exams/new", dependencies=[SHOWS_NOTHING])
    async def add(request: Request) -> Response:
        form = await forms.read(request)
        try:
            placed = await run_in_threadpool(exams.place, form, context.story(request))
        except OrderRefused as error:
            return shell.render(request, "exam_form", _again(form, 0, fields.FIELDS, error), _status(error))
        return shell.go(f"/exams/{placed.row}", _PLACED if placed.action == "created" else _KNOWN)

    @routes.get("/exams/{id:int}/edit", dependencies=[NEEDS[Right.PATIENTS], shows("order")])
    def filled(request: Request, row: Row) -> Response:
        found = exams.stored(request, row)
        shown, seen = fields.shown(found), found["revision"]
        form = ExamForm(order=row, fields=fields.of(found), values=shown, seen=seen, errors=_NO_ERRORS)
        return shell.render(request, "exam_form", form)

    @routes.post("/exams/{id:int}/edit", dependencies=[NEEDS[Right.PATIENTS], shows("order")])
    async def edit(request: Request, row: Row) -> Response:
        form = await forms.read(request)
        found = await run_in_threadpool(exams.stored, request, row)
        shown, why = fields.of(found), form.get("reason")
        if len(why) not in REASON:
            again = _again(form, row, shown, None, {"reason": SAY_WHY})
            return shell.render(request, "exam_form", again, 422)
        story = replace(context.story(request), reason=why)
        try:
            await run_in_threadpool(exams.amend, row, found, form, story)
        except OrderRefused as error:
            return shell.render(request, "exam_form", _again(form, row, shown, error), _status(error))
        return shell.go(f"/exams/{row}", Sentence("The exam was changed."))

    return routes


_PLACED = Sentence("The exam was placed.")
_KNOWN = Sentence("This exam was known by its numbers: it is as you said now.")


def _status(error: OrderRefused) -> int:
    return 422 if error.kind == "invalid" else 409


def _again(
    form: FormFields,
    order: int,
    shown: Sequence[ExamField],
    error: OrderRefused | None,
    errors: FieldErrors = _NO_ERRORS,
) -> ExamForm:
    """The form as it was sent, with what is wrong."""
    problem = None
    if error is not None:
        errors = fields.beside(error.findings, shown)
        others = [finding for finding in error.findings if finding.is_error]
        if error.kind == "changed":
            problem = CHANGED
        elif not errors:
            told = others[0] if others else None
            text = f"{told.location}: {told.text}" if told is not None else str(error)
            problem = Sentence("It was not saved: %(words)s", {"words": text[:300]})
    return ExamForm(
        order=order,
        fields=shown,
        values={one.name: form.get(one.name) for one in shown},
        seen=form.get("seen"),
        errors=errors,
        problem=problem,
        reason=form.get("reason"),
    )
