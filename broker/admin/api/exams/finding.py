"""Serves `/api/v1/orders/find` and `/api/v1/orders/{id}/story`: exams by what a person types, and what happened to one.

What is typed stands in the body, never in a URL.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from broker.accounts.roles import Right
from broker.admin.api.placed import Row
from broker.admin.bodies import RowNumber
from broker.admin.context import AdminContext
from broker.admin.problems import FieldError, Problem
from broker.admin.routers import admin_router
from broker.admin.viewing import shows, viewing_of
from broker.exams import finding, story
from broker.exams.entries import EntryKind, SourceKind
from broker.exams.finding import ExamWish
from broker.exams.sightings import Sightings
from broker.model.exam import ExamLine
from broker.orders.documents import outline

_Text = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Day = Annotated[str, Field(pattern=r"^(\d{8})?$", description="YYYYMMDD")]
ExamState = Literal[
    "", "open", "ended", "scheduled", "arrived", "ready", "started", "completed", "discontinued", "canceled"
]


class FindBody(BaseModel):
    """What is looked for; an empty text is anything. All that is given must fit, of steps one and the same."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: _Text = Field("", description="Beginnings of words of the patient's name, in any order", examples=["walesa"])
    number: _Text = Field("", description="The beginning of an accession number, or a whole order number")
    patient_id: _Text = Field("", description="The beginning of a Patient ID, or one that was retired")
    patient: RowNumber | None = Field(None, description="Our own number of the patient")
    born: _Day = ""
    station: _Text = Field("", description="Scheduled Station AE Title")
    day: _Day = ""
    state: ExamState = ""
    modality: _Text = ""
    procedure: _Text = Field("", description="Parts of words of what is to be done")
    referring: _Text = Field("", description="Parts of words of the name of who refers or requests")
    after: str = Field("", pattern=rf"^({finding.PLACE})?$", description="`after` of the page before")
    limit: int = Field(50, ge=1, le=200)


class FoundStep(BaseModel):
    """A step; `start` is empty where it is not planned yet."""

    status: str
    held: bool
    start: str = Field(description="YYYYMMDDHHMMSS on the clock of the site")
    Modality: str
    ScheduledStationAETitle: list[str]


class FoundExam(BaseModel):
    """An exam: `order` and `patient` are our own numbers."""

    order: int
    patient: int
    AccessionNumber: str
    PlacerOrderNumberImagingServiceRequest: str
    FillerOrderNumberImagingServiceRequest: str
    PatientID: str
    IssuerOfPatientID: str
    PatientName: str
    PatientBirthDate: str
    PatientSex: str
    RequestedProcedureDescription: list[str]
    steps: list[FoundStep]


class FoundExams(BaseModel):
    """Exams of a day by their time, others the newest order first."""

    exams: list[FoundExam]
    after: str | None = Field(description="For the next page; null behind the last exam")
    total: int = Field(description="Exams that match, as far as they were counted")
    counted_all: bool
    not_findable_yet: int = Field(description="New or updated patients whom no name finds yet; usually none")


class SourceView(BaseModel):
    """What tells more: a row of the journal or of an MPPS, a node, a lane of held work, or an object of the trail."""

    kind: SourceKind
    key: str


class EntryView(BaseModel):
    """Something that happened. `at` and `until` (the last time, if it happened often) in s since the epoch."""

    at: float
    until: float | None
    kind: EntryKind
    text: str
    actor: str
    code: str
    source: SourceView | None


class OnWorklist(BaseModel):
    """Whether a station shows the exam now (null: cannot be told), and why."""

    device: str
    node: str
    shown: bool | None
    reason: str


class ExamStoryView(BaseModel):
    """The story of an exam, the oldest entry first, and what its stations show of it now."""

    order: int
    document: dict[str, Any] = Field(description="The order as `/api/v1/orders/{id}` has it")
    worklists: list[OnWorklist]
    entries: list[EntryView]


def router(context: AdminContext) -> APIRouter:
    """Routes of finding exams and of their stories."""
    routes = admin_router("/api/v1/orders", Right.PATIENTS, tags=["orders"])
    database = context.database

    @routes.post("/find", dependencies=[shows("order")])
    def find(request: Request, body: FindBody) -> FoundExams:
        """Find exams by name, number, birth date, station, day, state, modality or texts, in any combination."""
        wish = ExamWish(**body.model_dump(exclude={"after", "limit"}))
        after = finding.place_of(body.after)
        if wish.name and not finding.is_usable(wish):
            raise Problem(422, "Fields cannot be used", [FieldError("name", "At least one letter or digit")])
        page = database.read(finding.find, wish, after, body.limit).result()
        viewing_of(request).many(len(page.lines), wish.given)
        return FoundExams(
            exams=[_found(line) for line in page.lines],
            after=None if page.after is None else finding.place_text(page.after),
            total=page.total,
            counted_all=page.whole,
            not_findable_yet=database.read(finding.unfindable).result() if wish.name or wish.born else 0,
        )

    looking = Sightings(directory=context.directory, settings=context.settings, secret=context.secret)

    @routes.get("/{id}/story", dependencies=[shows("order")], responses={404: {"description": "No such order"}})
    def told(request: Request, row: Row) -> ExamStoryView:
        """What happened to an exam: messages, queries, changes, MPPS, images, deliveries, news for the RIS."""
        context.write_behind()
        found = database.read(story.tell, row, looking).result()
        if found is None:
            raise Problem(404, "No such order")
        viewing_of(request).patient = found.order.patient.row
        now, zone = time.time(), context.settings.zone()
        return ExamStoryView(
            order=row,
            document=outline.document(found.order),
            worklists=[
                OnWorklist(device=one.device, node=one.node, shown=one.shown, reason=one.reason) for one in found.shown
            ],
            entries=[
                EntryView(
                    at=entry.at,
                    until=entry.until,
                    kind=entry.kind,
                    text=entry.text.english(zone, now),
                    actor=entry.actor,
                    code=entry.code,
                    source=SourceView(kind=entry.source.kind, key=entry.source.key) if entry.source else None,
                )
                for entry in found.entries
            ],
        )

    return routes


def _found(line: ExamLine) -> FoundExam:
    return FoundExam(
        order=line.order,
        patient=line.patient,
        AccessionNumber=line.accession,
        PlacerOrderNumberImagingServiceRequest=line.placer,
        FillerOrderNumberImagingServiceRequest=line.filler,
        PatientID=line.patient_id,
        IssuerOfPatientID=line.issuer,
        PatientName=line.name,
        PatientBirthDate=str(line.demographics.get("PatientBirthDate") or ""),
        PatientSex=str(line.demographics.get("PatientSex") or ""),
        RequestedProcedureDescription=list(line.descriptions),
        steps=[
            FoundStep(
                status=step.status,
                held=step.held,
                start=step.start_at,
                Modality=step.modality,
                ScheduledStationAETitle=list(step.stations),
            )
            for step in line.steps
        ],
    )
