"""Serves `/api/v1/orders`. No URL holds an identifier of a patient; no positive answer leaves before the commit."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from broker.accounts.roles import Right
from broker.admin.api import batches
from broker.admin.api.order_documents import BatchView, EditBody, OrderBody, OrdersView, PlacedView
from broker.admin.api.placed import (
    CHANGES,
    CONFLICT,
    CallOffBody,
    IfMatch,
    Responses,
    Row,
    Why,
    answer,
    etag,
    outcome,
    revision_of,
)
from broker.admin.context import AdminContext
from broker.admin.problems import FieldError, Problem
from broker.admin.routers import NEEDS, admin_router
from broker.admin.viewing import SHOWS_NOTHING, shows, viewing_of
from broker.model.modalities import known_modalities
from broker.orders.core.identifiers import Minter
from broker.orders.core.values import Conversion
from broker.orders.direct import placing
from broker.orders.direct.placing import OrderRefused, Placed
from broker.orders.documents import document
from broker.orders.documents.emergency import Emergency
from broker.orders.documents.emergency import document as emergency_order
from broker.store.idempotency import Key

BATCH = 500  # orders in one import
_WHY: TypeAdapter[str] = TypeAdapter(Why)


class EmergencyBody(BaseModel):
    """What is known of somebody nobody knows yet: what is to be done, and perhaps sex, age and parts of a name."""

    model_config = ConfigDict(extra="forbid")
    Modality: str = Field(examples=["CT"])
    RequestedProcedureDescription: str = Field(min_length=1, max_length=64, examples=["CT polytrauma"])
    ScheduledStationAETitle: str = Field("", max_length=16, examples=["CT01"])
    PatientSex: str = ""
    PatientAge: str = Field("", description="About, as DICOM AS: 040Y, 006M")
    FamilyName: str = Field("", max_length=32)
    GivenName: str = Field("", max_length=30)


# a RIS may have identifiers that are longer than DICOM allows: they are found by their short form
_LongKey = Annotated[str, Field(max_length=250, pattern=r"^[^\x00-\x1f\x7f]*$")]
Key64 = Annotated[str, Field(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]


class SearchBody(BaseModel):
    """Values that orders must have, exactly; all of them. Pages begin behind the order `after`."""

    model_config = ConfigDict(extra="forbid")
    AccessionNumber: _LongKey | None = None
    PlacerOrderNumberImagingServiceRequest: _LongKey | None = None
    FillerOrderNumberImagingServiceRequest: _LongKey | None = None
    PatientID: _LongKey | None = None
    IssuerOfPatientID: Key64 | None = None
    RequestedProcedureID: _LongKey | None = None
    StudyInstanceUID: Key64 | None = None
    after: int = Field(0, ge=0, le=2**63 - 1)
    limit: int = Field(50, ge=1, le=200)


class ReopenBody(BaseModel):
    """Which ended step begins again, and why: the reason stands in the audit trail."""

    model_config = ConfigDict(extra="forbid")
    ScheduledProcedureStepID: Key64
    reason: str = Field(min_length=1, max_length=1000, pattern=r"^[^\x00]*\S[^\x00]*$")


class BatchBody(BaseModel):
    """Orders of an import, each for itself; with `dry_run` nothing is written."""

    model_config = ConfigDict(extra="forbid")
    orders: list[OrderBody] = Field(min_length=1, max_length=BATCH)
    dry_run: bool = False


IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=128,
        description="The same key with the same body within 24 h has no second effect; with another body: 409",
    ),
]


def router(context: AdminContext) -> APIRouter:
    """Routes of orders."""
    routes = admin_router("/api/v1/orders", Right.PATIENTS, tags=["orders"])
    _placing(routes, context)
    _placing_many(routes, context)
    _reading(routes, context)
    _changing(routes, context)
    return routes


def _placing(routes: APIRouter, context: AdminContext) -> None:
    database, modalities = context.database, known_modalities(context.settings.worklist.modalities)

    async def place(
        given: Any, body: Any, request: Request, key: str | None, rename: Callable[[str], str] = str
    ) -> Response:
        conversion = await asyncio.to_thread(document.convert, given, modalities)
        keyed = Key(request.state.actor, key, await asyncio.to_thread(_digest, request, body)) if key else None
        story = context.story(request)
        placed = await outcome(lambda: database.submit(placing.place, placing.usable(conversion), story, keyed), rename)
        return answer(request, placed, 201 if placed.action == "created" else 200)

    @routes.post(
        "",
        dependencies=CHANGES,
        status_code=201,
        responses={
            200: {"model": PlacedView, "description": "Known: updated, or unchanged"},
            201: {"model": PlacedView},
            **CONFLICT,
        },
    )
    async def create(request: Request, order: OrderBody, idempotency_key: IdempotencyKey = None) -> Response:
        """Place an order: created (201), or known by its numbers and then updated or unchanged (200).

        An accession number, UIDs and identifiers that are not given are generated, once for ever.
        """
        return await place(order.root, order.root, request, idempotency_key)

    @routes.post(
        "/emergency", dependencies=CHANGES, status_code=201, responses={201: {"model": PlacedView}, **CONFLICT}
    )
    async def emergency(request: Request, body: EmergencyBody, idempotency_key: IdempotencyKey = None) -> Response:
        """Place an emergency order for a new temporary patient: begins now, priority STAT."""
        known = Emergency(
            body.Modality,
            body.RequestedProcedureDescription,
            body.ScheduledStationAETitle,
            body.PatientSex,
            body.PatientAge,
            body.FamilyName,
            body.GivenName,
        )
        story = context.story(request)
        new = emergency_order(known, story.received, context.settings.temporary_issuer(), Minter(story.token))
        return await place(new, body.model_dump(), request, idempotency_key, _last)


def _placing_many(routes: APIRouter, context: AdminContext) -> None:
    database, modalities = context.database, known_modalities(context.settings.worklist.modalities)

    @routes.post(
        "/batch",
        dependencies=[NEEDS[Right.WORK], SHOWS_NOTHING],
        responses={200: {"model": BatchView, "description": "What became of each order, in their sequence"}},
    )
    async def batch(request: Request, body: BatchBody) -> Response:
        """Place many orders, each in its own transaction. `broker import` uses `/api/v1/imports`.

        Once the database is away the rest has the outcome `unavailable`: send these again. Is it all, then with 503.
        """
        given = [order.root for order in body.orders]
        conversions = await asyncio.to_thread(lambda: [document.convert(order, modalities) for order in given])
        story = partial(context.story, request)

        async def placed(conversion: Conversion) -> dict[str, Any]:
            try:
                change = placing.usable(conversion)
                made = await asyncio.wrap_future(database.submit(placing.place, change, story(), dry=body.dry_run))
            except OrderRefused as error:
                return error.report()
            return made.report(dry=body.dry_run)

        results = await batches.outcomes(partial(placed, conversion) for conversion in conversions)
        return JSONResponse({"results": [result or batches.AWAY for result in results]})


def _reading(routes: APIRouter, context: AdminContext) -> None:
    @routes.post(
        "/search",
        dependencies=[shows("order")],
        responses={200: {"model": OrdersView, "description": "`orders`, and `after` for the next page"}},
    )
    async def search(request: Request, body: SearchBody) -> Response:
        """Search orders: values stand in the body, for URLs end up in logs."""
        wanted = body.model_dump(exclude={"after", "limit"}, exclude_none=True)
        orders = await asyncio.wrap_future(context.database.read(placing.search, wanted, body.after, body.limit))
        viewing_of(request).many(len(orders), wanted)
        after = orders[-1]["id"] if len(orders) == body.limit else None
        return JSONResponse({"orders": orders, "after": after})

    @routes.get(
        "/{id}",
        dependencies=[shows("order")],
        responses={200: {"model": OrderBody}, 404: {"description": "No such order"}},
    )
    async def read(row: Row) -> Response:
        """An order with the events of its steps; the ETag is what a change must be based on."""
        order = await asyncio.wrap_future(context.database.read(placing.read, row, context.settings.zone()))
        if order is None:
            raise Problem(404, "No such order")
        return JSONResponse(order, headers={"ETag": etag(order)})


def _changing(routes: APIRouter, context: AdminContext) -> None:
    database, modalities = context.database, known_modalities(context.settings.worklist.modalities)
    placed: Responses = {200: {"model": PlacedView}, **CONFLICT}
    changed: Responses = {
        **placed,
        404: {"description": "No such order"},
        412: {"description": "Changed meanwhile"},
    }

    @routes.put("/{id}", dependencies=CHANGES, responses={**changed, 428: {"description": "If-Match is missing"}})
    async def amend(request: Request, row: Row, order: EditBody, if_match: IfMatch = None) -> Response:
        """Make an order what the document says: steps it leaves out are cancelled, attributes of the order deleted.

        Those of the patient stay if they are left out: they belong to the patient's other orders too. A person says
        why by `reason`; the audit trail and the story of the exam show it.
        """
        revision = revision_of(if_match)
        if revision is None:
            raise Problem(428, "If-Match is needed: the ETag of what the change is based on")
        given, why = _with_reason(order.root)
        conversion = await asyncio.to_thread(document.convert, given, modalities)
        story = replace(context.story(request), reason=why)

        def begin() -> Future[Placed]:
            return database.submit(placing.amend, row, placing.usable(conversion), revision, story)

        return answer(request, await outcome(begin), 200)

    @routes.delete("/{id}", dependencies=CHANGES, responses=changed)
    async def cancel(request: Request, row: Row, body: CallOffBody | None = None, if_match: IfMatch = None) -> Response:
        """Cancel an order: 409 if it has started or ended. Again is no error.

        A person says why in a body. Whose client sends none with DELETE has `POST /cancel` for it (RFC 9110 9.3.5).
        """
        story = replace(context.story(request), reason=body.reason if body else "")
        begin = partial(database.submit, placing.cancel, row, revision_of(if_match), story)
        return answer(request, await outcome(begin), 200)

    @routes.post(
        "/{id}/reopen", dependencies=CHANGES, responses={**placed, 404: {"description": "No such order or step"}}
    )
    async def reopen(request: Request, row: Row, body: ReopenBody) -> Response:
        """Let an ended step begin again: it is SCHEDULED. 409 if it has not ended. No message can do this."""
        story = context.story(request)
        begin = partial(database.submit, placing.reopen, row, body.ScheduledProcedureStepID, body.reason, story)
        return answer(request, await outcome(begin), 200)


def _with_reason(given: Any) -> tuple[Any, str]:
    """A document without the reason of its change, and that reason. Raises Problem."""
    if not isinstance(given, dict) or "reason" not in given:
        return given, ""
    try:
        why = _WHY.validate_python(given["reason"], strict=True)
    except ValidationError:
        raise Problem(422, "The reason cannot be used", [FieldError("reason", "3 to 500 characters")]) from None
    return {name: value for name, value in given.items() if name != "reason"}, why


def _last(path: str) -> str:
    """The field of an emergency order that a path of its document stands for."""
    return next((part for part in reversed(path.split("/")) if not part.isdigit()), path)


def _digest(request: Request, given: Any) -> bytes:
    text = json.dumps(given, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(f"{request.url.path}\n{text}".encode()).digest()
