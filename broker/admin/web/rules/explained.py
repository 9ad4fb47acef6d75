"""The page that says what rules did with images of an exam or study: which sent them where, and why not elsewhere.

A study without an exam is typed: what is typed comes in a body, and stands in no address.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.routers import page_router
from broker.admin.viewing import shows, viewing_of
from broker.admin.web import forms, shell
from broker.admin.web.forms import FieldErrors
from broker.admin.web.rules.decided import NOTHING_DECIDED, DecidedStudies, decided
from broker.admin.web.words import Sentence
from broker.routing.hindsight.explaining import explain_studies
from broker.store.images import decisions

_UID = re.compile(r"[0-9]+(\.[0-9]+)+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedView:
    """The form, and what was found. `exam`: whose images these are, 0 for a study that was typed."""

    exam: int = 0
    wanted: str = ""
    asked: bool = False
    told: DecidedStudies = NOTHING_DECIDED
    errors: FieldErrors


def router(context: AdminContext) -> APIRouter:
    """The routes of the page."""
    routes = page_router(Right.PATIENTS)

    @routes.get("/rules/explain", dependencies=[shows("study", "explained")])
    def page(request: Request) -> Response:
        exam = forms.row_number(request.query_params.get("exam", ""))
        studies = context.database.read(decisions.studies_of_row, exam).result() if exam else []
        return _draw(context, request, ExplainedView(exam=exam, asked=bool(exam), errors={}), studies)

    @routes.post("/rules/explain", dependencies=[shows("study", "explained")])
    async def typed(request: Request) -> Response:
        wanted = (await forms.read(request)).get("wanted").strip()
        return await run_in_threadpool(_typed, context, request, wanted)

    return routes


def _typed(context: AdminContext, request: Request, wanted: str) -> Response:
    """A study by its UID, or those of an order by its accession number."""
    view = ExplainedView(wanted=wanted, asked=True, errors={})
    if not wanted:
        errors = {"wanted": Sentence("Type a Study Instance UID or an accession number.")}
        return _draw(context, request, replace(view, asked=False, errors=errors), [], 422)
    if _UID.fullmatch(wanted):
        return _draw(context, request, view, [wanted])
    return _draw(context, request, view, context.database.read(decisions.studies_of, wanted).result())


def _draw(
    context: AdminContext, request: Request, view: ExplainedView, studies: Sequence[str], status: int = 200
) -> Response:
    found = explain_studies(context.database, context.site, studies)
    if found.objects:
        viewing_of(request).many(found.objects)
    else:
        viewing_of(request).nothing()
    return shell.render(request, "rule_explained", replace(view, told=decided(found)), status)
