"""Serves `/api/v1/studies`: finds studies, counts what each destination has of them, sends them again or elsewhere.

A study is named by its Study Instance UID or by our own number. What names a patient is typed into a body.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from broker.accounts.roles import Right
from broker.admin.api.routing.rules import decisions_view
from broker.admin.api.studies.bodies import (
    CauseView,
    DestinationView,
    FindStudiesBody,
    Limit,
    RerouteStudyBody,
    ResendBody,
    SeriesView,
    StudiesView,
    StudyDetailView,
    StudyDoneView,
    StudyView,
    Text,
)
from broker.admin.bodies import Moment
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import NEEDS, admin_router
from broker.admin.viewing import SHOWS_NOTHING, shows, viewing_of
from broker.delivery.resending import ResentStudy, reroute_study, resend
from broker.errors import BadContent
from broker.model.wording import in_english
from broker.queue.steering import now_by
from broker.routing.hindsight.explaining import explain_studies
from broker.routing.site import destinations
from broker.status.causes import reason
from broker.store.db import newest
from broker.store.orders.search import patient_of
from broker.store.queued import pauses
from broker.store.studies import finding, summaries
from broker.store.studies.finding import StudyFilter
from broker.store.studies.summaries import StudySummary

Named = Annotated[
    str, Path(max_length=64, pattern=r"^[0-9]+(\.[0-9]+)*$", description="Study Instance UID, or our own number")
]
UNKNOWN = "No object of this study is known"
_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"description": UNKNOWN}}


def router(context: AdminContext) -> APIRouter:
    """Routes under /api/v1/studies."""
    routes = admin_router("/api/v1/studies", Right.PATIENTS, tags=["studies"])
    _finding(routes, context)
    _acting(routes, context)
    return routes


def _finding(routes: APIRouter, context: AdminContext) -> None:
    @routes.get("", dependencies=[shows("study")])
    def listed(
        request: Request,
        modality: Text = "",
        device: Text = "",
        node: Text = "",
        order: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
        since: Moment | None = None,
        until: Moment | None = None,
        incomplete: bool = False,
        after: Annotated[str, Query(pattern=rf"^({newest.PLACE})?$", description="`after` of the page before")] = "",
        limit: Limit = 50,
    ) -> StudiesView:
        """List studies of which objects were received, the newest first, with what each destination has of them."""
        given = {"modality": modality, "device": device, "node": node, "order": order, "since": since, "until": until}
        body = FindStudiesBody.model_validate(given | {"incomplete": incomplete, "after": after, "limit": limit})
        return _found(context, request, body)

    @routes.post("/find", dependencies=[shows("study")])
    def find(body: FindStudiesBody, request: Request) -> StudiesView:
        """Find studies by patient, accession number, UID and all that the list takes, in any combination."""
        return _found(context, request, body)

    @routes.get("/{study}", dependencies=[shows("study")], responses=_UNKNOWN)
    def one(study: Named, request: Request) -> StudyDetailView:
        """Show a study: its objects, what each destination has, and which rules its objects met with what result."""
        row = _row(context, study)
        found = context.database.read(summaries.one, row).result()
        if found is None:
            raise Problem(404, UNKNOWN)
        viewing_of(request).one(row, context.database.read(patient_of, found.line.order).result())
        decided = decisions_view(explain_studies(context.database, context.site, [found.line.study_instance_uid]))
        return StudyDetailView(
            **_view(context, found, _paused(context)).model_dump(),
            series=[
                SeriesView(
                    series=each.series_instance_uid,
                    objects=each.objects,
                    first_at=each.first_at,
                    last_at=each.last_at,
                )
                for each in found.series
            ],
            decisions=decided.decisions,
            levels=decided.levels,
            notices=decided.notices,
        )


def _acting(routes: APIRouter, context: AdminContext) -> None:
    needs = [NEEDS[Right.WORK], SHOWS_NOTHING]

    def meant(study: str, node: str) -> ResentStudy:
        line = next(iter(context.database.read(finding.lines, [_row(context, study)]).result()), None)
        if line is None:
            raise Problem(404, UNKNOWN)
        return ResentStudy(row=line.id, study=line.study_instance_uid, node=node, until=time.time())

    @routes.post("/{study}/resend", dependencies=needs, responses=_UNKNOWN)
    def send_again(study: Named, body: ResendBody, request: Request) -> StudyDoneView:
        """Send the objects of a study to a destination anew, also what it had, or what was held or given up for it.

        Of an object the newest version is sent. What waits for it or is being sent goes on.
        """
        who = now_by(request.state.actor, request.state.address, body.reason)
        wanted, nodes = replace(meant(study, body.to), undecided=body.undecided), destinations(context.site.value)
        try:
            done = resend(context.database, wanted, nodes, who, context.wake, body.after)
        except BadContent:
            raise Problem(422, "`to` is no destination") from None
        endings = {ending.value: number for ending, number in done.endings.items()}
        return StudyDoneView(endings=endings, paused=body.to in _paused(context), after=done.after)

    @routes.post("/{study}/reroute", dependencies=needs, responses=_UNKNOWN)
    def send_elsewhere(study: Named, body: RerouteStudyBody, request: Request) -> StudyDoneView:
        """Let another destination have what waits or is held of a study; the old deliveries end as discarded.

        A destination that has an object is not sent it again.
        """
        who = now_by(request.state.actor, request.state.address, body.reason)
        wanted, nodes = meant(study, body.to), destinations(context.site.value)
        try:
            done = reroute_study(context.database, wanted, body.node, nodes, who, context.wake)
        except BadContent:
            raise Problem(422, "`to` is no destination") from None
        endings = {ending.value: number for ending, number in done.items()}
        return StudyDoneView(endings=endings, paused=body.to in _paused(context))


def _found(context: AdminContext, request: Request, body: FindStudiesBody) -> StudiesView:
    given = body.model_dump(exclude={"after", "limit"})
    wanted = StudyFilter(**given)

    found = context.database.read(summaries.page, wanted, newest.place_of(body.after), body.limit).result()
    viewing_of(request).many(len(found.studies), [name for name, value in given.items() if value])
    paused = _paused(context)
    after = newest.place_text(found.after) if found.after else ""
    return StudiesView(studies=[_view(context, one, paused) for one in found.studies], after=after)


def _row(context: AdminContext, named: str) -> int:
    """The row of a study by its UID or our own number; that of none if it is not known."""
    if "." not in named and len(named) <= 18:
        return int(named)
    return context.database.read(finding.row_of, named).result()


def _paused(context: AdminContext) -> frozenset[str]:
    """The nodes to which nothing new is sent just now."""
    return frozenset(one.node for one in context.database.read(pauses.find).result())


def _view(context: AdminContext, found: StudySummary, paused: frozenset[str]) -> StudyView:
    line, counts, known = found.line, found.counts, destinations(context.site.value)
    return StudyView(
        id=line.id,
        study=line.study_instance_uid,
        order=line.order,
        patients=list(line.patients),
        accessions=list(line.accessions),
        modalities=list(line.modalities),
        devices=list(line.devices),
        objects=counts.objects,
        versions=counts.versions,
        size=counts.size,
        first_at=line.first_at,
        last_at=counts.last_at,
        states={state.value: number for state, number in counts.by_state.items()},
        complete=counts.is_complete,
        capped=counts.capped,
        destinations=[
            DestinationView(
                node=one.node,
                known=one.node in known,
                paused=one.node in paused,
                committed=one.committed,
                states={state.value: number for state, number in one.states.items()},
                causes=[
                    CauseView(state=state.value, cause=code, why=in_english(reason(code)), objects=number)
                    for state, codes in one.errors.items()
                    for code, number in codes.most_common(_CAUSES)
                ],
            )
            for one in counts.destinations
        ],
    )


_CAUSES = 10  # of a state that are told, the most frequent first
