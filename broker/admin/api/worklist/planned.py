"""Serves `/api/v1/worklist/board` and `/unseen`: what is planned on a day, and exams that nobody will see."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.routers import admin_router
from broker.admin.viewing import shows, viewing_of
from broker.exams import unseen
from broker.exams.board import BoardStation, board
from broker.exams.unseen import UnseenExam
from broker.model.exam import ExamLine, ExamStep, UnseenReason
from broker.model.wording import in_english


class PlannedStepView(BaseModel):
    """A scheduled step with its exam: `order` and `step` are our own numbers, `start` is on the clock of the site."""

    order: int
    step: int
    start: str = Field(description="YYYYMMDDHHMMSS, empty for none")
    status: str
    held: bool
    Modality: str
    ScheduledStationAETitle: list[str]
    AccessionNumber: str
    PatientID: str
    PatientName: str
    PatientBirthDate: str
    RequestedProcedureDescription: list[str]


class BoardStationView(BaseModel):
    """A station: `device` is whose it is, empty for nobody known, and `last_asked` when that asked (s since the epoch).

    `steps` are the first of `total`.
    """

    ScheduledStationAETitle: str
    device: str
    last_asked: float | None
    total: int
    steps: list[PlannedStepView]


class BoardView(BaseModel):
    """What is planned on a day. `whole`: all steps of the day were read; `hidden`: stations that have no room."""

    day: str
    total: int
    whole: bool
    hidden: int
    stations: list[BoardStationView]


class UnseenView(PlannedStepView):
    """A step that nobody will see, why, and what to do."""

    reason: UnseenReason
    why: str
    next: str


class UnseenList(BaseModel):
    """A page of exams that nobody will see. `after`: for the next page, null behind the last one.

    `counts`: of each reason, as far as they were counted (10,001 means more than 10,000). `seeing_all`: devices whose
    last query named no station: they may show exams of other stations all the same.
    """

    exams: list[UnseenView]
    after: str | None
    counts: dict[UnseenReason, int]
    seeing_all: list[str]


def router(context: AdminContext) -> APIRouter:
    """Routes of what is planned."""
    routes = admin_router("/api/v1/worklist", Right.PATIENTS, tags=["worklist"])

    @routes.get("/board", dependencies=[shows("order")])
    def by_station(
        request: Request,
        day: Annotated[str, Query(pattern=r"^(\d{8})?$", description="YYYYMMDD; without it today")] = "",
    ) -> BoardView:
        """Show what is planned on a day, by station and time."""
        context.write_behind()
        wanted = day or datetime.now(context.settings.zone()).strftime("%Y%m%d")
        found = context.database.read(board, wanted, context.directory).result()
        stations = [_station(one) for one in found.stations]
        viewing_of(request).many(sum(len(one.steps) for one in stations))
        return BoardView(day=found.day, total=found.total, whole=found.whole, hidden=found.hidden, stations=stations)

    @routes.get("/unseen", dependencies=[shows("order")])
    def listed(
        request: Request,
        reason: Literal["", "held", "unscheduled", "unassigned", "unknown-station", "past"] = "",
        after: Annotated[str, Query(pattern=rf"^({unseen.PLACE})?$", description="`after` of the page before")] = "",
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> UnseenList:
        """List exams that no device which asks for its own exams will show, with the reason and what to do."""
        context.write_behind()
        wanted, place = UnseenReason(reason) if reason else None, unseen.place_of(after)
        wanted, place = UnseenReason(reason) if reason else None, unseen.place_of(after)
        arguments = (wanted, place, limit, context.directory, context.settings)
        found = context.database.read(unseen.page, *arguments).result()
        viewing_of(request).many(len(found.exams))
        return UnseenList(
            exams=[_unseen(one) for one in found.exams],
            after=found.after or None,
            counts=dict(found.counts),
            seeing_all=list(found.seeing_all),
        )

    return routes


def _station(station: BoardStation) -> BoardStationView:
    device = station.device
    return BoardStationView(
        ScheduledStationAETitle=station.station,
        device=device.name if device is not None else "",
        last_asked=device.last.at if device is not None and device.last is not None else None,
        total=station.total,
        steps=[_step(one.exam, one.step) for one in station.steps],
    )


def _step(exam: ExamLine, step: ExamStep) -> PlannedStepView:
    return PlannedStepView(
        order=exam.order,
        step=step.row,
        start=step.start_at,
        status=step.status,
        held=step.held,
        Modality=step.modality,
        ScheduledStationAETitle=list(step.stations),
        AccessionNumber=exam.accession,
        PatientID=exam.patient_id,
        PatientName=exam.name,
        PatientBirthDate=str(exam.demographics.get("PatientBirthDate") or ""),
        RequestedProcedureDescription=list(exam.descriptions),
    )


def _unseen(one: UnseenExam) -> UnseenView:
    reason = one.place.reason
    return UnseenView(
        **_step(one.exam, one.step).model_dump(),
        reason=reason,
        why=in_english(unseen.WHY[reason]),
        next=in_english(unseen.NEXT[reason]),
    )
