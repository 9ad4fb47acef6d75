"""REST for the worklist: `/api/v1/worklist/explain`, why a device shows an exam or not."""

from __future__ import annotations

from typing import Annotated, Protocol

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from broker.admin.problems import Problem

Row = Annotated[int, Field(ge=1, le=2**63 - 1)]
Name = Annotated[str, Field(min_length=1, max_length=64, description="Name of a node, or an AE title")]


class ExplainBody(BaseModel):
    """Which exam, by accession number or by our own number of the order or step, and which device."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    device: Name
    AccessionNumber: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")] | None = None
    order: Row | None = None
    step: Row | None = None

    @model_validator(mode="after")
    def _one(self) -> ExplainBody:
        if sum(one is not None for one in (self.AccessionNumber, self.order, self.step)) != 1:
            raise ValueError("one of AccessionNumber, order and step is needed")
        return self


class CheckView(BaseModel):
    """One condition: what is asked or allowed, what the step has, and whether that passes. null: cannot be told."""

    name: str
    passed: bool | None
    asked: str
    found: str
    hint: str


class QueryView(BaseModel):
    """A query of the device (`at` null: a supposed one, as it has never asked) and what it shows of the step now."""

    at: str | None
    times: int
    count: int
    status: str
    comment: str
    keys: dict[str, str]
    shown: bool | None
    reason: str
    checks: list[CheckView]


class StepView(BaseModel):
    """A step and why the device shows it or not. Last query first."""

    order: int
    step: int
    ScheduledProcedureStepID: str
    Modality: str
    ScheduledStationAETitle: list[str]
    start: str
    status: str
    came_at: str
    changed_at: str
    shown: bool | None
    reason: str
    queries: list[QueryView]


class DeviceView(BaseModel):
    """The device: `node` is empty if it is none, `accepted` if it is let in."""

    ae_title: str
    node: str
    accepted: bool
    knocking: int = Field(description="How often it called without being a node")
    last_asked: str | None


class ExplanationView(BaseModel):
    """Why a device shows an exam or not; without steps there is no such exam."""

    device: DeviceView
    shown: bool | None
    reason: str
    steps: list[StepView]


class Desk(Protocol):
    """Who can explain."""

    def explain(self, body: ExplainBody) -> ExplanationView:
        """Why a device shows an exam or not. Raises Unavailable."""
        ...


def router(desk: Desk) -> APIRouter:
    """Routes under /api/v1/worklist, for admins."""
    routes = APIRouter(prefix="/api/v1/worklist", tags=["worklist"])

    @routes.post("/explain")
    def explain(body: ExplainBody) -> ExplanationView:
        """Why a device shows an exam or not: each condition of each of its last queries, and the first reason."""
        return desk.explain(body)

    @routes.get("/explain")
    def explained(
        device: Name,
        order: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
        step: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    ) -> ExplanationView:
        """The same by our own number of the order or step; an accession number does not belong into a URL."""
        if (order is None) == (step is None):
            raise Problem(422, "One of order and step is needed")
        return desk.explain(ExplainBody(device=device, order=order, step=step))

    return routes
