"""The page of one exam: the patient, identifiers with who issued them, order numbers, steps with their states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from sqlalchemy import Connection

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import page_router
from broker.admin.viewing import shows, viewing_of
from broker.admin.web import shell
from broker.admin.web.exams import words
from broker.admin.web.words import Sentence
from broker.model.order import Document, EntityId, Order, Procedure, Step
from broker.store.orders import reading
from broker.store.orders import search as order_search

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


def router(context: AdminContext) -> APIRouter:
    """The routes of the page of an exam."""
    routes = page_router(Right.PATIENTS)

    @routes.get("/exams/{id}", dependencies=[shows("order")])
    def page(request: Request, row: Row) -> Response:
        order = context.database.read(_load, row).result()
        if order is None:
            raise Problem(404, "There is no such exam")
        viewing_of(request).patient = order.patient.row
        return shell.render(request, "exam", _view(order))

    return routes


def _load(connection: Connection, row: int) -> Order | None:
    return reading.load_order(connection, row) if order_search.exists(connection, row) else None


def _view(order: Order) -> ExamView:
    patient = order.patient
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
        steps=[_step(procedure, step) for procedure in order.procedures for step in procedure.steps],
        held=words.HELD,
    )


def _text(keyword: str, *documents: Document) -> str:
    value = next((document[keyword] for document in documents if document.get(keyword)), "")
    texts = [str(part) for part in (value if isinstance(value, list) else [value]) if not isinstance(part, dict)]
    return ", ".join(words.person(text) if keyword in _NAMES else text for text in texts)


def _step(procedure: Procedure, step: Step) -> StepLine:
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
