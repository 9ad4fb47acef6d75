"""The page *Exams*: finds exams by name, number, day, station, state and more.

What may name a patient is sent in a body, and stands in the address of the list sealed (`kept`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.routers import page_router
from broker.admin.viewing import SHOWS_NOTHING, shows, viewing_of
from broker.admin.web import forms, shell
from broker.admin.web.exams import words
from broker.admin.web.kept import FilterSeal
from broker.admin.web.listing import Asked, Column, Filter, Listing, Table
from broker.admin.web.search import Finder, SearchHit, Wanted
from broker.admin.web.shell import PageLink
from broker.admin.web.words import Sentence
from broker.exams import finding
from broker.exams.finding import ExamWish
from broker.model.exam import ExamLine

HITS = 20  # of the search box
LINK = PageLink(title=Sentence("Exams"), path="/exams", icon="exams", right=Right.PATIENTS)
TABLE = Table(
    path="/exams",
    region="exams",
    title=Sentence("Exams"),
    finds="/exams/find",
    columns=(
        Column(name="planned", title=Sentence("Planned")),
        Column(name="patient", title=Sentence("Patient")),
        Column(name="exam", title=Sentence("Exam")),
        Column(name="station", title=Sentence("Station")),
        Column(name="state", title=Sentence("State")),
    ),
    filters=(
        Filter(name="name", title=Sentence("Patient's name"), kind="search", private=True),
        Filter(name="number", title=Sentence("Accession or order number"), private=True),
        Filter(name="patient_id", title=Sentence("Patient ID"), private=True),
        Filter(name="born", title=Sentence("Birth date"), kind="date", private=True),
        Filter(name="day", title=Sentence("Day"), kind="date"),
        Filter(name="station", title=Sentence("Station"), hint=Sentence("AE title")),
        Filter(
            name="state",
            title=Sentence("State"),
            kind="choice",
            choices=(
                ("open", Sentence("not ended")),
                ("ended", Sentence("ended")),
                *((status.lower(), word) for status, (_, word) in words.STATES.items()),
            ),
        ),
        Filter(name="modality", title=Sentence("Modality"), hint=Sentence("like CT")),
        Filter(name="procedure", title=Sentence("What is done"), private=True),
        Filter(name="referring", title=Sentence("Referring physician"), private=True),
        Filter(name="patient", title=Sentence("Patient"), kind="hidden"),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownExam:
    """An exam in the list, in words. `times`: when its steps are planned."""

    line: ExamLine
    name: str
    born: str
    times: tuple[str, ...]
    stations: tuple[str, ...]
    modalities: tuple[str, ...]
    states: tuple[tuple[str, Sentence], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamsView:
    """A page of exams. `forgotten`: the address holds a search that cannot be read here.

    `looks_on`: the page is short, the next one looks further back. `unfindable`: patients whom no name finds yet.
    """

    listing: Listing[ShownExam]
    forgotten: bool
    looks_on: bool
    unfindable: int
    may_work: bool


def router(context: AdminContext) -> APIRouter:
    """The routes of the page."""
    routes, seal = page_router(Right.PATIENTS), FilterSeal(context.secret)

    @routes.get("/exams", dependencies=[shows("order")])
    def page(request: Request) -> Response:
        asked, forgotten = seal.asked(TABLE, request)
        wish = _wish(asked)
        found = context.database.read(finding.find, wish, finding.place_of(asked.after), TABLE.size).result()
        viewing_of(request).many(len(found.lines), wish.given)
        if wish.patient is not None:
            viewing_of(request).patient = wish.patient
        view = ExamsView(
            listing=Listing(
                asked=asked,
                rows=[_shown(line) for line in found.lines],
                total=found.total,
                next_key="" if found.after is None else finding.place_text(found.after),
                uncounted=not found.whole,
            ),
            forgotten=forgotten,
            looks_on=found.after is not None and len(found.lines) < TABLE.size,
            unfindable=context.database.read(finding.unfindable).result() if wish.name or wish.born else 0,
            may_work=Right.WORK in request.state.rights,
        )
        return shell.render(request, "exams", view)

    @routes.post("/exams/find", dependencies=[SHOWS_NOTHING])
    async def find(request: Request) -> Response:
        return shell.go(seal.address(TABLE, await forms.read(request), request.state.actor))

    return routes


def finder(context: AdminContext) -> Finder:
    """Finds exams by a number, or by the patient's name or identifier, the newest orders first."""

    def find(wanted: Wanted) -> list[SearchHit]:
        wishes = [ExamWish(number=wanted.text), ExamWish(patient_id=wanted.text)] if len(wanted.words) == 1 else []
        found: dict[int, ExamLine] = {}
        for wish in [*wishes, ExamWish(name=wanted.text)]:
            if len(found) < HITS and finding.is_usable(wish):
                page = context.database.read(finding.find, wish, None, HITS).result()
                found |= {line.order: line for line in page.lines}
        return [_hit(_shown(line)) for line in list(found.values())[:HITS]]

    return Finder(find=find, right=Right.PATIENTS, shows="order")


def _hit(exam: ShownExam) -> SearchHit:
    what = " ".join([*exam.times[:1], *exam.modalities, *exam.line.descriptions, exam.line.accession])
    return SearchHit(title=exam.name, path=f"/exams/{exam.line.order}", kind=Sentence("exam"), detail=what)


def _wish(asked: Asked) -> ExamWish:
    values = asked.values
    number = values.get("patient", "")
    return ExamWish(
        **{name: values.get(name, "") for name in ("name", "number", "patient_id", "station", "state", "modality")},
        procedure=values.get("procedure", ""),
        referring=values.get("referring", ""),
        born=values.get("born", "").replace("-", ""),
        day=values.get("day", "").replace("-", ""),
        patient=int(number) if number.isascii() and number.isdigit() and len(number) < 19 else None,
    )


def _shown(line: ExamLine) -> ShownExam:
    def each(text_of: Callable[[int], str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(text for place in range(len(line.steps)) if (text := text_of(place))))

    return ShownExam(
        line=line,
        name=words.person(line.name),
        born=words.day_of(str(line.demographics.get("PatientBirthDate") or "")),
        times=each(lambda place: words.clock_of(line.steps[place].start_at)),
        stations=each(lambda place: ", ".join(line.steps[place].stations)),
        modalities=each(lambda place: line.steps[place].modality),
        states=tuple(words.states_of(line)),
    )
