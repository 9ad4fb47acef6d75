"""The page of one exam: the patient, identifiers with who issued them, steps with their states, and the whole story.

`/exams/{id}/why` explains why a device shows the exam or not, condition by condition. What people change there:
`changing.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import page_router
from broker.admin.viewing import shows, viewing_of
from broker.admin.web import shell
from broker.admin.web.exams import words
from broker.admin.web.exams.story_lines import EntryLine, line_of
from broker.admin.web.forms import FieldErrors
from broker.admin.web.words import Sentence
from broker.exams import story
from broker.exams.sightings import LookedAt, Sightings
from broker.exams.story import ExamStory
from broker.model.order import Document, EntityId, Order, Procedure, Step
from broker.orders.core import lifecycle
from broker.orders.documents import outline
from broker.store.orders.search import patient_of
from broker.worklist.explain.exam import Exam, ExamVerdict, explain_exam
from broker.worklist.explain.verdict import Verdict

Row = Annotated[int, Path(alias="id", ge=1, le=2**63 - 1)]
FACTS: Mapping[str, Sentence] = {
    "ReferringPhysicianName": Sentence("Referring physician"),
    "RequestingPhysician": Sentence("Requesting physician"),
    "RequestingService": Sentence("Requesting service"),
    "CurrentPatientLocation": Sentence("Where the patient is"),
    "AdmissionID": Sentence("Visit number"),
    "ReasonForTheImagingServiceRequest": Sentence("Reason"),
    "ImagingServiceRequestComments": Sentence("Comments"),
    "MedicalAlerts": Sentence("Alerts"),
    "Allergies": Sentence("Allergies"),
    "PregnancyStatus": Sentence("Pregnancy status"),
    "SpecialNeeds": Sentence("Special needs"),
    "PatientWeight": Sentence("Weight (kg)"),
    "PatientSize": Sentence("Height (m)"),
}
_NAMES = frozenset({"ReferringPhysicianName", "RequestingPhysician"})


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLine:
    """A step in words."""

    procedure: Procedure
    step: Step
    what: str
    time: str
    tone: str
    state: Sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A change that was not made: its question (`move`, `calloff`, `reopen`), what was typed, and what is wrong."""

    question: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    errors: FieldErrors = field(default_factory=dict)
    problem: Sentence | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamView:
    """All that is shown of an exam. `facts`: what else is known, by its name."""

    order: Order
    name: str
    born: str
    sex: str
    identifiers: Sequence[EntityId]  # the one in use first
    facts: Sequence[tuple[Sentence, str]]
    steps: Sequence[StepLine]
    held: Sentence
    shown: Sequence[LookedAt]
    entries: Sequence[EntryLine]
    revision: str
    movable: Sequence[Step]  # empty for who may not change anything
    ended: Sequence[Step]
    may_work: bool
    tried: Tried


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyView:
    """Why a device shows an exam or not. `device`: as it was asked for, empty for none yet; `devices`: to choose."""

    order: int
    device: str
    devices: Sequence[str]
    verdict: ExamVerdict | None
    zone: tzinfo

    @staticmethod
    def keys(query: Verdict) -> str:
        """What a query asked for."""
        return query.asking.wanted()


NOTHING_TRIED = Tried()


class ExamPages:
    """Draws the page of an exam."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context
        self._looking = Sightings(directory=context.directory, settings=context.settings, secret=context.secret)

    def show(self, request: Request, row: int, tried: Tried = NOTHING_TRIED, status: int = 200) -> Response:
        """The page as things are now. Raises Problem: no such exam."""
        self._context.write_behind()
        told = self._context.database.read(story.tell, row, self._looking).result()
        if told is None:
            raise missing()
        viewing_of(request).patient = told.order.patient.row
        return shell.render(request, "exam", _view(told, request.state.rights, tried), status)


def missing() -> Problem:
    """No exam has this number."""
    return Problem(404, "There is no such exam")


def router(context: AdminContext) -> APIRouter:
    """The routes of the page of an exam."""
    routes, pages = page_router(Right.PATIENTS), ExamPages(context)

    @routes.get("/exams/{id:int}", dependencies=[shows("order")])
    def page(request: Request, row: Row) -> Response:
        return pages.show(request, row)

    @routes.get("/exams/{id:int}/why", dependencies=[shows("order", "explained")])
    def why(
        request: Request, row: Row, device: Annotated[str, Query(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    ) -> Response:
        context.write_behind()
        arguments = (context.directory, context.settings, context.secret)
        verdict = None
        if device.strip():
            verdict = context.database.read(explain_exam, Exam(order=row), device.strip(), *arguments).result()
        viewing_of(request).patient = context.database.read(patient_of, row).result()
        nodes = [node.name for node in context.directory.nodes if "modality" in node.roles]
        zone = context.settings.zone()
        view = WhyView(order=row, device=device.strip(), devices=nodes, verdict=verdict, zone=zone)
        return shell.render(request, "exam_why", view)

    return routes


def _view(told: ExamStory, rights: frozenset[Right], tried: Tried) -> ExamView:
    order, patient, may_work = told.order, told.order.patient, Right.WORK in rights
    return ExamView(
        order=order,
        name=words.person(str(patient.attributes.get("PatientName") or "")),
        born=words.day_of(str(patient.attributes.get("PatientBirthDate") or "")),
        sex=str(patient.attributes.get("PatientSex") or ""),
        identifiers=(EntityId(patient.patient_id, patient.issuer), *patient.aliases),
        facts=[
            (title, text)
            for keyword, title in FACTS.items()
            if (text := _text(keyword, patient.attributes, order.attributes))
        ],
        steps=[step_line(procedure, step) for procedure in order.procedures for step in procedure.steps],
        held=words.HELD,
        shown=told.shown,
        entries=[line_of(entry, rights) for entry in told.entries],
        revision=outline.document(order)["revision"],
        movable=[step for step in order.steps() if may_work and step.status in lifecycle.WAITING],
        ended=[step for step in order.steps() if may_work and step.status in lifecycle.ENDED],
        may_work=may_work,
        tried=tried,
    )


def _text(keyword: str, *documents: Document) -> str:
    value = next((document[keyword] for document in documents if document.get(keyword)), "")
    texts = [str(part) for part in (value if isinstance(value, list) else [value]) if not isinstance(part, dict)]
    return ", ".join(words.person(text) if keyword in _NAMES else text for text in texts)


def step_line(procedure: Procedure, step: Step) -> StepLine:
    """A step in words."""
    tone, state = words.STATES[step.status]
    what = step.attributes.get("ScheduledProcedureStepDescription") or ""
    asked = procedure.attributes.get("RequestedProcedureDescription") or ""
    texts = dict.fromkeys(str(text) for text in (asked, what) if text)
    return StepLine(
        procedure=procedure,
        step=step,
        what=" – ".join(texts),
        time=words.clock_of(step.start_at),
        tone=tone,
        state=state,
    )
