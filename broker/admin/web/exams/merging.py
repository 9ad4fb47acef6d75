"""Merges two patients: find the other one, look at both side by side, say which one stays and why both are one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.concurrency import run_in_threadpool

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import NEEDS, page_router
from broker.admin.viewing import shows, viewing_of
from broker.admin.web import forms, shell
from broker.admin.web.exams import words
from broker.admin.web.exams.changing import REASON, SAY_WHY
from broker.admin.web.exams.detail import Row, missing
from broker.admin.web.forms import FieldErrors
from broker.admin.web.words import Sentence
from broker.exams import finding
from broker.exams.finding import ExamWish
from broker.model.exam import ExamLine
from broker.model.order import EntityId, Patient
from broker.orders.core.context import StoryContext
from broker.orders.direct import uniting
from broker.orders.direct.placing import OrderRefused
from broker.orders.direct.uniting import Pair
from broker.store.orders.search import patient_of

Stays = Annotated[int, Path(alias="id", ge=1, le=2**63 - 1)]
Retired = Annotated[int, Path(ge=1, le=2**63 - 1)]
FOUND = 10  # exams of other patients that are shown
LONGEST = 200  # characters that are looked for
_SHOWN: Mapping[str, Sentence] = {  # attributes side by side
    "PatientName": Sentence("Name"),
    "PatientBirthDate": Sentence("Birth date"),
    "PatientSex": Sentence("Sex"),
    "PatientAge": Sentence("Age"),
    "PatientWeight": Sentence("Weight (kg)"),
    "PatientAddress": Sentence("Address"),
    "Allergies": Sentence("Allergies"),
}
_CHANGED = Sentence("One of both has changed meanwhile: look again. Nothing was changed.")
_REFUSALS = {
    "Prior identifier is of another authority": Sentence(
        "Their identifiers are of different authorities: neither takes the place of the other. Nothing was changed."
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherView:
    """The search for the other patient. `found`: exams of others, one each; None before anything was typed."""

    order: int
    patient: int
    typed: str
    found: Sequence[tuple[ExamLine, str, str]] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedLine:
    """One attribute of both patients."""

    title: Sentence
    stays: str
    retired: str

    @property
    def differs(self) -> bool:
        """Whether both say something else."""
        return self.stays != self.retired


@dataclass(frozen=True, slots=True, kw_only=True)
class BothPatients:
    """Two patients side by side. `problem`: why they were not merged."""

    pair: Pair
    lines: Sequence[ComparedLine]
    errors: FieldErrors = field(default_factory=dict)
    problem: Sentence | None = None
    reason: str = ""

    @staticmethod
    def identifiers(patient: Patient) -> Sequence[EntityId]:
        """All identifiers, the one in use first."""
        return (EntityId(patient.patient_id, patient.issuer), *patient.aliases)


def router(context: AdminContext) -> APIRouter:
    """The routes of merging."""
    routes, database = page_router(Right.WORK), context.database
    seeing = NEEDS[Right.PATIENTS]

    def other(request: Request, row: int, typed: str) -> Response:
        patient = database.read(patient_of, row).result()
        if patient is None:
            raise missing()
        found = None
        if typed:
            lines = [line for line in _found(context, typed) if line.patient != patient]
            found = [(line, words.person(line.name), _born(line)) for line in _one_each(lines)]
        viewing_of(request).patient = patient
        viewing_of(request).many(len(found or ()), ["typed"] if typed else [])
        return shell.render(request, "merge", OtherView(order=row, patient=patient, typed=typed, found=found))

    def compared(
        request: Request, stays: int, retired: int, status: int = 200, problem: Sentence | None = None,
        errors: FieldErrors = MappingProxyType({}), reason: str = "",
    ) -> Response:  # fmt: skip
        try:
            pair = database.read(uniting.compare, stays, retired).result()
        except OrderRefused as error:
            raise Problem(404 if error.kind == "missing" else 409, str(error)) from None
        viewing_of(request).people((stays, retired))
        view = BothPatients(pair=pair, lines=_lines(pair), problem=problem, errors=errors, reason=reason)
        return shell.render(request, "merge_pair", view, status)

    @routes.get("/exams/{id:int}/merge", dependencies=[seeing, shows("order")])
    def ask(request: Request, row: Row) -> Response:
        return other(request, row, "")

    @routes.post("/exams/{id:int}/merge", dependencies=[seeing, shows("patient", "listed")])
    async def find(request: Request, row: Row) -> Response:
        typed = (await forms.read(request)).get("typed")[:LONGEST]
        return await run_in_threadpool(other, request, row, typed)

    @routes.get("/patients/{id:int}/beside/{retired:int}", dependencies=[seeing, shows("patient", "compared")])
    def beside(request: Request, stays: Stays, retired: Retired) -> Response:
        return compared(request, stays, retired)

    @routes.post("/patients/{id:int}/beside/{retired:int}", dependencies=[seeing, shows("patient", "compared")])
    async def merge(request: Request, stays: Stays, retired: Retired) -> Response:
        form = await forms.read(request)
        why = form.get("reason")
        if len(why) not in REASON:
            wrong = {"reason": SAY_WHY}
            return await run_in_threadpool(compared, request, stays, retired, 422, None, wrong, why)
        story: StoryContext = replace(context.story(request), reason=why)
        try:
            await run_in_threadpool(database.execute, uniting.unite, stays, retired, form.get("seen"), story)
        except OrderRefused as error:
            problem = _REFUSALS.get(str(error), Sentence("%(words)s", {"words": str(error)[:300]}))
            problem = _CHANGED if error.kind == "changed" else problem
            return await run_in_threadpool(compared, request, stays, retired, 409, problem, {}, why)
        return shell.go(f"/exams?patient={stays}", Sentence("Both are one patient now."))

    return routes


def _found(context: AdminContext, typed: str) -> list[ExamLine]:
    """Exams by what a person types: a Patient ID, a number, or words of the name."""
    wishes = [ExamWish(patient_id=typed), ExamWish(number=typed), ExamWish(name=typed)]
    return [
        line
        for wish in wishes
        if finding.is_usable(wish)
        for line in context.database.read(finding.find, wish, None, FOUND).result().lines
    ]


def _one_each(lines: Sequence[ExamLine]) -> list[ExamLine]:
    """The first exam of each patient."""
    by_patient: dict[int, ExamLine] = {}
    for line in lines:
        by_patient.setdefault(line.patient, line)
    return list(by_patient.values())[:FOUND]


def _born(line: ExamLine) -> str:
    return words.day_of(str(line.demographics.get("PatientBirthDate") or ""))


def _lines(pair: Pair) -> list[ComparedLine]:
    lines = [
        ComparedLine(title=title, stays=_text(keyword, pair.stays), retired=_text(keyword, pair.retired))
        for keyword, title in _SHOWN.items()
    ]
    return [line for line in lines if line.stays or line.retired]


def _text(keyword: str, patient: Patient) -> str:
    value = patient.attributes.get(keyword) or ""
    if keyword == "PatientName":
        return words.person(str(value))
    if keyword == "PatientBirthDate":
        return words.day_of(str(value))
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
