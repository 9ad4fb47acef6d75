"""Answers changes of orders: what became of one with the order as it is then, or why it is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Annotated, Any

from fastapi import Header, Path, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from broker import telemetry
from broker.accounts.roles import Right
from broker.admin.problems import FieldError, Problem
from broker.admin.routers import NEEDS
from broker.admin.viewing import shows, viewing_of
from broker.model.order import Document
from broker.orders.direct import placing
from broker.orders.direct.placing import OrderRefused, Placed

STATUS = {"missing": 404, "conflict": 409, "changed": 412, "invalid": 422, "key-reused": 409}
Responses = dict[int | str, dict[str, Any]]
CONFLICT: Responses = {409: {"description": "What is stored does not allow it"}}
CHANGES = [NEEDS[Right.WORK], shows("order")]  # the answer holds the order as it is then
Row = Annotated[int, Path(alias="id", ge=1, le=2**63 - 1, description="Our own number of the order")]
Why = Annotated[str, Field(min_length=3, max_length=500, pattern=r"^[^\x00]*\S[^\x00]*$")]
IfMatch = Annotated[str | None, Header(description="The ETag that the change is based on")]


class CallOffBody(BaseModel):
    """Why an exam is called off."""

    model_config = ConfigDict(extra="forbid")
    reason: Why


async def outcome(begin: Callable[[], Future[Placed]], rename: Callable[[str], str] = str) -> Placed:
    """What became of it, once committed; raises Problem. `rename`: the path of a field as the body has it."""
    try:
        placed = await asyncio.wrap_future(begin())
    except OrderRefused as error:
        raise refusal(error, rename) from None
    accession = placed.document["request"].get("AccessionNumber")
    telemetry.logger().info("order.placed", state=placed.action, accession=telemetry.identifier(accession))
    return placed


def refusal(error: OrderRefused, rename: Callable[[str], str] = str) -> Problem:
    """A refused change as an answer."""
    errors = [FieldError(rename(placing.field_path(finding)), finding.text) for finding in error.findings]
    return Problem(STATUS[error.kind], str(error), errors)


def answer(request: Request, placed: Placed, status: int) -> Response:
    """The order as it is now, with its ETag."""
    viewing = viewing_of(request)
    viewing.one(placed.row)
    if placed.fresh:
        viewing.changed()
    body = {"outcome": placed.action, "warnings": placing.report_findings(placed.warnings), "order": placed.document}
    headers = {"Location": f"/api/v1/orders/{placed.row}", "ETag": etag(placed.document)}
    return JSONResponse(body, status, headers)


def etag(document: Document) -> str:
    """The ETag of an order."""
    return f'"{document["revision"]}"'


def revision_of(if_match: str | None) -> str | None:
    """The revision of an If-Match header; weak tags and lists match nothing of ours (RFC 9110 13.1.1)."""
    return None if if_match is None else if_match.strip().strip('"')
