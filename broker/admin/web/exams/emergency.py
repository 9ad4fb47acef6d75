"""The form of an emergency: an exam that begins now for somebody nobody knows. It is on the worklist once it is saved.

Who it was is said later by a merge (`merging.py`), or by the RIS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.routers import page_router
from broker.admin.viewing import SHOWS_NOTHING
from broker.admin.web import forms, shell
from broker.admin.web.exams.fields import FILL_IN, SEX, UNUSABLE
from broker.admin.web.forms import FieldErrors, FormFields
from broker.admin.web.words import Sentence
from broker.model.modalities import known_modalities
from broker.orders.core.identifiers import Minter
from broker.orders.direct import placing
from broker.orders.direct.placing import OrderRefused, Placed
from broker.orders.documents import document as documents
from broker.orders.documents.emergency import Emergency
from broker.orders.documents.emergency import document as emergency_order

_FIELDS = ("modality", "procedure", "station", "sex", "age", "family", "given")
_NEEDED = ("modality", "procedure")
_BESIDE = {  # fields by attribute
    "Modality": "modality",
    "RequestedProcedureDescription": "procedure",
    "ScheduledProcedureStepDescription": "procedure",
    "ScheduledStationAETitle": "station",
    "PatientAge": "age",
    "PatientSex": "sex",
    "PatientName": "family",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EmergencyForm:
    """What stands in the form. `modalities`: to choose, those of the site's devices first known by their orders."""

    values: Mapping[str, str]
    modalities: Sequence[str]
    stations: Sequence[str]
    errors: FieldErrors = field(default_factory=dict)
    problem: Sentence | None = None
    sexes: Sequence[tuple[str, Sentence]] = SEX


def router(context: AdminContext) -> APIRouter:
    """The routes of the form."""
    routes, database = page_router(Right.WORK), context.database
    known = known_modalities(context.settings.worklist.modalities)

    def form_of(values: Mapping[str, str], errors: FieldErrors, problem: Sentence | None = None) -> EmergencyForm:
        stations = sorted({node.ae_title for node in context.directory.nodes if "modality" in node.roles})
        return EmergencyForm(values=values, modalities=sorted(known), stations=stations, errors=errors, problem=problem)

    @routes.get("/exams/emergency", dependencies=[SHOWS_NOTHING])
    def empty(request: Request) -> Response:
        return shell.render(request, "emergency", form_of({}, {}))

    @routes.post("/exams/emergency", dependencies=[SHOWS_NOTHING])
    async def place(request: Request) -> Response:
        form, story = await forms.read(request), context.story(request)
        values = {name: form.get(name) for name in _FIELDS}
        lacking = {name: FILL_IN for name in _NEEDED if not values[name]}
        if lacking:
            return shell.render(request, "emergency", form_of(values, lacking), 422)

        def placed() -> Placed:
            issuer = context.settings.temporary_issuer()
            new = emergency_order(_known(form), story.received, issuer, Minter(story.token))
            return database.execute(placing.place, placing.usable(documents.convert(new, known)), story)

        try:
            done = await run_in_threadpool(placed)
        except OrderRefused as error:
            names = (finding.location.split("/") for finding in error.findings)
            errors = {_BESIDE[part]: UNUSABLE for parts in names for part in parts if part in _BESIDE}
            problem = None if errors else Sentence("%(words)s", {"words": str(error)[:300]})
            return shell.render(request, "emergency", form_of(values, errors, problem), 422)
        return shell.go(f"/exams/{done.row}", Sentence("The emergency is on the worklist."))

    return routes


def _known(form: FormFields) -> Emergency:
    age = form.get("age")
    return Emergency(
        form.get("modality"),
        form.get("procedure"),
        form.get("station"),
        form.get("sex"),
        f"{int(age):03}Y" if age.isdecimal() and age.isascii() and len(age) < 4 else age,
        form.get("family"),
        form.get("given"),
    )
