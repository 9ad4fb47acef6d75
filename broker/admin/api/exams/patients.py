"""Serves `/api/v1/patients`: two patients side by side, and their merge by a person. URLs hold our own numbers only."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from broker.accounts.roles import Right
from broker.admin.api.order_documents import OrderFindingView
from broker.admin.api.placed import CONFLICT, IfMatch, Responses, Why, refusal, revision_of
from broker.admin.bodies import RowNumber
from broker.admin.context import AdminContext
from broker.admin.routers import NEEDS, admin_router
from broker.admin.viewing import SHOWS_NOTHING, shows, viewing_of
from broker.model.order import Patient
from broker.orders.direct import placing, uniting
from broker.orders.direct.placing import OrderRefused

Stays = Annotated[int, Path(alias="id", ge=1, le=2**63 - 1, description="Our own number of the patient who stays")]
Retired = Annotated[int, Path(ge=1, le=2**63 - 1, description="Our own number of the one who is retired")]
_MISSING: Responses = {404: {"description": "No such patient"}, **CONFLICT}


class IdentifierView(BaseModel):
    """A Patient ID and who issued it."""

    PatientID: str
    IssuerOfPatientID: str


class PatientView(BaseModel):
    """A patient: our own number, all identifiers with the one in use first, attributes, our numbers of the orders."""

    id: int
    identifiers: list[IdentifierView]
    attributes: dict[str, Any]
    orders: list[int]


class PairView(BaseModel):
    """Two patients; the ETag of the answer is what their merge must be based on."""

    stays: PatientView
    retired: PatientView


class MergeBody(BaseModel):
    """Who is retired, and why both are one."""

    model_config = ConfigDict(extra="forbid")
    retired: RowNumber
    reason: Why


class MergedView(BaseModel):
    """Our number of the patient who has all now."""

    patient: int
    warnings: list[OrderFindingView]


def router(context: AdminContext) -> APIRouter:
    """Routes of patients."""
    routes, database = admin_router("/api/v1/patients", Right.PATIENTS, tags=["patients"]), context.database

    @routes.get("/{id}/beside/{retired}", dependencies=[shows("patient", "compared")], responses=_MISSING)
    def beside(request: Request, stays: Stays, retired: Retired, response: Response) -> PairView:
        """Two patients side by side, before a merge."""
        try:
            pair = database.read(uniting.compare, stays, retired).result()
        except OrderRefused as error:
            raise refusal(error) from None
        viewing_of(request).people((stays, retired))
        response.headers["ETag"] = f'"{pair.revision}"'
        return PairView(stays=_view(pair.stays, pair.orders[0]), retired=_view(pair.retired, pair.orders[1]))

    @routes.post(
        "/{id}/merge",
        dependencies=[NEEDS[Right.WORK], SHOWS_NOTHING],
        responses={200: {"model": MergedView}, **_MISSING, 412: {"description": "Changed meanwhile"}},
    )
    async def merge(request: Request, stays: Stays, body: MergeBody, if_match: IfMatch = None) -> Response:
        """Make one patient of two: this one gets all that the retired one has, and its identifier leads here."""
        story = replace(context.story(request), reason=body.reason)
        revision = revision_of(if_match)
        try:
            united = database.submit(uniting.unite, stays, body.retired, revision, story)
            warnings = await asyncio.wrap_future(united)
        except OrderRefused as error:
            raise refusal(error) from None
        return JSONResponse({"patient": stays, "warnings": placing.report_findings(warnings)})

    return routes


def _view(patient: Patient, orders: Sequence[int]) -> PatientView:
    identifiers = [(patient.patient_id, patient.issuer), *((one.number, one.issuer) for one in patient.aliases)]
    return PatientView(
        id=patient.row or 0,
        identifiers=[IdentifierView(PatientID=number, IssuerOfPatientID=issuer) for number, issuer in identifiers],
        attributes=patient.attributes,
        orders=list(orders),
    )
