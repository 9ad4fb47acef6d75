"""The list of exams that nobody will see, with the reason and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.routers import page_router
from broker.admin.viewing import shows, viewing_of
from broker.admin.web import shell
from broker.admin.web.listing import Column, Filter, Listing, Table
from broker.admin.web.words import Sentence
from broker.admin.web.worklist import words
from broker.admin.web.worklist.overview import PlannedLine, line_of
from broker.exams import unseen
from broker.exams.unseen import UnseenExam
from broker.model.exam import UnseenReason

TABLE = Table(
    path="/worklist/unseen",
    region="unseen",
    title=Sentence("Exams that nobody will see"),
    columns=(
        Column(name="planned", title=Sentence("Planned")),
        Column(name="patient", title=Sentence("Patient")),
        Column(name="exam", title=Sentence("Exam")),
        Column(name="station", title=Sentence("Station")),
        Column(name="why", title=Sentence("Why nobody sees it")),
    ),
    filters=(
        Filter(
            name="reason",
            title=Sentence("Reason"),
            kind="choice",
            choices=tuple((reason.value, word) for reason, word in words.REASONS.items()),
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnseenLine:
    """A step that nobody sees, in words. `movable`: to move it may help."""

    line: PlannedLine
    word: Sentence
    why: Sentence
    next: Sentence
    movable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UnseenExamsView:
    """A page of the list. `counts`: exams of each reason, as far as they were counted; `most` is the limit."""

    listing: Listing[UnseenLine]
    counts: Mapping[UnseenReason, int]
    reasons: Mapping[UnseenReason, Sentence]
    most: int
    seeing_all: Sequence[str]


def router(context: AdminContext) -> APIRouter:
    """The route of the list."""
    routes = page_router(Right.PATIENTS)

    @routes.get("/worklist/unseen", dependencies=[shows("order")])
    def page(request: Request) -> Response:
        context.write_behind()
        asked = TABLE.ask(request.query_params)
        reason = UnseenReason(asked.values["reason"]) if "reason" in asked.values else None
        after = unseen.place_of(asked.after)
        arguments = (reason, after, TABLE.size, context.directory, context.settings)
        found = context.database.read(unseen.page, *arguments).result()
        viewing_of(request).many(len(found.exams))
        counts = [found.counts[reason]] if reason else list(found.counts.values())
        listing = Listing(
            asked=asked,
            rows=[_line(one) for one in found.exams],
            total=sum(counts),
            next_key=found.after,
            uncounted=any(count > unseen.COUNTED for count in counts),
        )
        view = UnseenExamsView(
            listing=listing,
            counts=found.counts,
            reasons=words.REASONS,
            most=unseen.COUNTED,
            seeing_all=found.seeing_all,
        )
        return shell.render(request, "worklist_unseen", view)

    return routes


def _line(one: UnseenExam) -> UnseenLine:
    reason = one.place.reason
    return UnseenLine(
        line=line_of(one.exam, one.step),
        word=words.REASONS[reason],
        why=unseen.WHY[reason],
        next=unseen.NEXT[reason],
        movable=reason is not UnseenReason.HELD,
    )
