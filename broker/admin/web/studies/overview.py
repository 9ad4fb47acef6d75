"""The page *Studies*: finds studies of which objects came, and says what each destination has of them.

What may name a patient is sent in a body, and stands in the address of the list sealed (`kept`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from fastapi import APIRouter, Request, Response

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.routers import page_router
from broker.admin.viewing import SHOWS_NOTHING, shows, viewing_of
from broker.admin.web import forms, shell
from broker.admin.web.kept import FilterSeal
from broker.admin.web.listing import Column, Filter, Listing, Table, midnight
from broker.admin.web.shell import PageLink
from broker.admin.web.studies import words
from broker.admin.web.words import Sentence
from broker.store.db import newest
from broker.store.studies import summaries
from broker.store.studies.finding import StudyFilter
from broker.store.studies.summaries import StudySummary

LINK = PageLink(title=Sentence("Studies"), path="/studies", icon="studies", right=Right.PATIENTS)
TABLE = Table(
    path="/studies",
    region="studies",
    title=Sentence("Studies"),
    finds="/studies/find",
    columns=(
        Column(name="study", title=Sentence("Received")),
        Column(name="patient", title=Sentence("Patient ID")),
        Column(name="order", title=Sentence("Exam")),
        Column(name="modality", title=Sentence("Modality")),
        Column(name="device", title=Sentence("From")),
        Column(name="objects", title=Sentence("Objects"), numeric=True),
        Column(name="destinations", title=Sentence("Destinations")),
    ),
    filters=(
        Filter(name="patient", title=Sentence("Patient ID"), kind="search", private=True),
        Filter(name="accession", title=Sentence("Accession number"), private=True),
        Filter(name="study", title=Sentence("Study"), hint=Sentence("Study Instance UID"), private=True),
        Filter(name="modality", title=Sentence("Modality"), hint=Sentence("like CT")),
        Filter(name="device", title=Sentence("From"), hint=Sentence("AE title")),
        Filter(name="node", title=Sentence("Destination"), hint=Sentence("name of a node")),
        Filter(name="since", title=Sentence("Received since"), kind="date"),
        Filter(name="until", title=Sentence("Received until"), kind="date"),
        Filter(
            name="state",
            title=Sentence("State"),
            kind="choice",
            choices=(("incomplete", Sentence("not complete")),),
        ),
        Filter(name="exam", title=Sentence("Exam"), kind="hidden"),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedStudy:
    """A study of the list in words. `stays`: objects that did not go the way of their rules, or not yet."""

    found: StudySummary
    stays: Sequence[words.Pill]
    destinations: Sequence[tuple[str, Sequence[words.Pill]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyListView:
    """A page of studies. `forgotten`: the address holds a search that cannot be read here.

    `looks_on`: the page is short, the next one looks further back.
    """

    listing: Listing[ListedStudy]
    forgotten: bool
    looks_on: bool


def router(context: AdminContext) -> APIRouter:
    """The routes of the page."""
    routes, seal = page_router(Right.PATIENTS), FilterSeal(context.secret)

    @routes.get("/studies", dependencies=[shows("study")])
    def page(request: Request) -> Response:
        asked, forgotten = seal.asked(TABLE, request)
        wanted = filter_of(asked.values, context.settings.zone())
        found = context.database.read(summaries.page, wanted, newest.place_of(asked.after), TABLE.size).result()
        viewing_of(request).many(len(found.studies), asked.values)
        view = StudyListView(
            listing=Listing(
                asked=asked,
                rows=[_listed(one) for one in found.studies],
                total=TABLE.size * len(asked.trail) + len(found.studies),
                next_key=newest.place_text(found.after) if found.after else "",
                uncounted=found.after is not None,
            ),
            forgotten=forgotten,
            looks_on=found.after is not None and len(found.studies) < TABLE.size,
        )
        return shell.render(request, "studies", view)

    @routes.post("/studies/find", dependencies=[SHOWS_NOTHING])
    async def find(request: Request) -> Response:
        return shell.go(seal.address(TABLE, await forms.read(request), request.state.actor))

    return routes


def filter_of(values: Mapping[str, str], zone: tzinfo) -> StudyFilter:
    """What the filters mean; days are those of a zone."""
    texts = ("patient", "accession", "study", "modality", "device", "node")
    return StudyFilter(
        **{name: values.get(name, "") for name in texts},
        order=forms.row_number(values.get("exam", "")),
        since=midnight(zone, values.get("since", "")),
        until=midnight(zone, values.get("until", ""), 1),
        incomplete=values.get("state") == "incomplete",
    )


def _listed(found: StudySummary) -> ListedStudy:
    return ListedStudy(
        found=found,
        stays=words.stays(found.counts),
        destinations=[(one.node, words.delivered(one)) for one in found.counts.destinations],
    )
