"""Serves `/api/v1/worklist/explain`: why a device shows an exam or not."""

from __future__ import annotations

from dataclasses import asdict
from datetime import tzinfo
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import admin_router
from broker.admin.viewing import shows, viewing_of
from broker.worklist.explain import recall
from broker.worklist.explain.exam import Exam, ExamVerdict, StepVerdict, explain_exam
from broker.worklist.explain.verdict import Verdict, clock
from broker.worklist.query.attributes import START_DATE, START_TIME, STATIONS, STATUS, STEP_SEQUENCE
from broker.worklist.query.matcher import items, values

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


def router(context: AdminContext) -> APIRouter:
    """Routes under /api/v1/worklist, for admins."""
    routes = admin_router("/api/v1/worklist", Right.PATIENTS, tags=["worklist"])
    zone = context.settings.zone()

    def answer(request: Request, exam: Exam, device: str) -> ExplanationView:
        context.write_behind()
        arguments = (exam, device, context.directory, context.settings, context.secret)
        found = context.database.read(explain_exam, *arguments).result()
        orders = {step.row.order for step in found.steps}
        if len(orders) == 1:
            viewing_of(request).one(orders.pop())
        else:
            viewing_of(request).many(len(orders))
        return _view(found, zone)

    @routes.post("/explain", dependencies=[shows("order", "explained")])
    def explain(request: Request, body: ExplainBody) -> ExplanationView:
        """Say why a device shows an exam or not: each condition of each of its last queries, and the first reason."""
        return answer(request, Exam(body.AccessionNumber, body.order, body.step), body.device)

    @routes.get("/explain", dependencies=[shows("order", "explained")])
    def explained(
        request: Request,
        device: Name,
        order: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
        step: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    ) -> ExplanationView:
        """Say the same by our own number of the order or step; an accession number does not belong into a URL."""
        if (order is None) == (step is None):
            raise Problem(422, "One of order and step is needed")
        return answer(request, Exam(order=order, step=step), device)

    return routes


def _view(exam: ExamVerdict, zone: tzinfo) -> ExplanationView:
    caller = exam.caller
    device = DeviceView(
        ae_title=caller.ae_title,
        node=caller.node,
        accepted=bool(caller.node) or caller.accepted,
        knocking=sum(knock.count for knock in caller.knocks),
        last_asked=clock(exam.last_asked, zone) if exam.last_asked is not None else None,
    )
    steps = [_step(step, zone) for step in exam.steps]
    return ExplanationView(device=device, shown=exam.shown, reason=exam.reason, steps=steps)


def _step(step: StepVerdict, zone: tzinfo) -> StepView:
    row = step.row
    item = next(iter(items(row.answer, STEP_SEQUENCE)), {})
    return StepView(
        order=row.order,
        step=row.row,
        ScheduledProcedureStepID="".join(values(item, "ScheduledProcedureStepID")),
        Modality="".join(values(item, "Modality")),
        ScheduledStationAETitle=values(item, STATIONS),
        start=" ".join([*values(item, START_DATE), *values(item, START_TIME)]),
        status="".join(values(item, STATUS)),
        came_at=clock(row.came_at, zone),
        changed_at=clock(row.changed_at, zone),
        shown=step.shown,
        reason=step.reason,
        queries=[_query(query, zone) for query in step.queries],
    )


def _query(query: Verdict, zone: tzinfo) -> QueryView:
    asking = query.asking
    return QueryView(
        at=clock(asking.at, zone) if asking.at is not None else None,
        times=asking.times,
        count=asking.count,
        status=asking.status,
        comment=asking.comment,
        keys=recall.keys(asking.recalled) if asking.recalled is not None else {},
        shown=query.shown,
        reason=query.reason,
        checks=[CheckView(**asdict(check)) for check in query.checks],
    )
