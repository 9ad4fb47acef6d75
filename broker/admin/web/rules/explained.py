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
from broker.admin.web.rules.marking import MarkedRule, marked, marked_level
from broker.admin.web.words import Sentence
from broker.exams.traffic import DELIVERED, NOTIFIED, RECEIVED
from broker.model.lane import JobState
from broker.routing.hindsight.explaining import (
    ExplainedGroup,
    ExplainedLevel,
    ExplainedStudies,
    StudyDelivery,
    explain_studies,
)
from broker.routing.rules.completion import Awaited
from broker.routing.rules.ruleset import Level
from broker.status.causes import reason as cause_words
from broker.store.images import decisions
from broker.store.images.gatherings import GatheringPhase
from broker.store.images.instances import InstanceState
from broker.store.notices import NoticeState

_UID = re.compile(r"[0-9]+(\.[0-9]+)+", re.ASCII)
AWAITED: dict[str, Sentence] = {
    Awaited.QUIET: Sentence("It waits until no further object has come for a while."),
    Awaited.PERFORMED: Sentence("It waits for objects that the modality reported."),
    Awaited.ORDER: Sentence("It waits for as many objects as the order names."),
    Awaited.REQUIRED: Sentence("It waits for a series that it must have."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedGroup:
    """Objects with the same decision. `rules` is None where the rules of that version are gone."""

    tone: str
    words: Sentence
    why: Sentence | None
    first_at: float
    last_at: float
    version: int
    rules: Sequence[MarkedRule] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedLevel:
    """A series or study. `waits`: what an open one waits for; `rules` is None until it is judged."""

    title: Sentence
    objects: int
    waits: Sentence | None
    due_at: float
    sent_to: Sequence[str]
    version: int
    rules: Sequence[MarkedRule] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedView:
    """The form, and what was found. `exam`: whose images these are, 0 for a study that was typed."""

    exam: int = 0
    wanted: str = ""
    asked: bool = False
    groups: Sequence[DecidedGroup] = ()
    levels: Sequence[DecidedLevel] = ()
    deliveries: Sequence[tuple[str, Sentence]] = ()
    notices: Sequence[tuple[str, Sentence]] = ()
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
    return shell.render(request, "rule_explained", _filled(view, found), status)


def _filled(view: ExplainedView, found: ExplainedStudies) -> ExplainedView:
    return replace(
        view,
        groups=[_group(one) for one in found.groups],
        levels=[_level(one) for one in found.levels],
        deliveries=[_delivery(one) for one in found.deliveries],
        notices=[_notice(one) for one in found.notices],
    )


def _group(explained: ExplainedGroup) -> DecidedGroup:
    group = explained.group
    tone, words = RECEIVED.get(group.state, RECEIVED[InstanceState.ROUTED])
    return DecidedGroup(
        tone=tone,
        words=replace(words, values={"n": group.count, "device": group.calling_ae}),
        why=cause_words(group.reason) if group.reason else None,
        first_at=group.first_at,
        last_at=group.last_at,
        version=group.rules_version,
        rules=None if explained.rules is None else marked(explained.rules, explained.trace),
    )


def _level(explained: ExplainedLevel) -> DecidedLevel:
    one = explained.gathering
    series = {"series": one.series_instance_uid}
    return DecidedLevel(
        title=Sentence("Series %(series)s", series) if explained.level is Level.SERIES else Sentence("The whole study"),
        objects=one.instances,
        waits=AWAITED.get(explained.waits) if one.state == GatheringPhase.OPEN else None,
        due_at=one.due_at,
        sent_to=sorted(one.had),
        version=one.rules_version,
        rules=None if explained.rules is None else marked_level(explained.rules, explained.trace),
    )


def _delivery(one: StudyDelivery) -> tuple[str, Sentence]:
    tone, words = DELIVERED.get(one.state, DELIVERED[JobState.READY])
    return tone, replace(words, values={"n": one.objects, "node": one.node})


def _notice(one: NoticeState) -> tuple[str, Sentence]:
    tone, words = NOTIFIED.get(one.state, NOTIFIED[JobState.READY])
    return tone, replace(words, values={"rule": one.rule, "node": one.node})
