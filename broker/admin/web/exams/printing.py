"""Pages to print: the sheet of one exam with its accession number as a bar code, and the list of a day of a station."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.routers import page_router
from broker.admin.viewing import shows, viewing_of
from broker.admin.web import shell
from broker.admin.web.exams import words
from broker.admin.web.exams.barcodes import Barcode, code_128
from broker.admin.web.exams.detail import Row, StepLine, missing, step_line
from broker.exams import finding
from broker.exams.finding import ExamWish
from broker.model.exam import ExamLine, ExamStep
from broker.model.order import Order
from broker.orders.direct import placing

LISTED, PAGE = 500, 100  # exams of a day in all, and read at once
_DAY = re.compile(r"(\d{4})-(\d{2})-(\d{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetView:
    """An exam on paper. The bar codes are None where Code 128 lacks a character."""

    order: Order
    name: str
    born: str
    sex: str
    accession: Barcode | None
    patient: Barcode | None
    steps: Sequence[StepLine]


@dataclass(frozen=True, slots=True, kw_only=True)
class DayLine:
    """A step of the day in words."""

    step: ExamStep
    line: ExamLine
    time: str
    name: str
    born: str
    state: tuple[str, object]
    barcode: Barcode | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DayView:
    """The steps of a day of a station, by time. `stations` to choose; `cut`: there are more than fit."""

    station: str
    day: str
    stations: Sequence[str]
    lines: Sequence[DayLine]
    cut: bool


def router(context: AdminContext) -> APIRouter:
    """The routes of what is printed."""
    routes, database = page_router(Right.PATIENTS), context.database

    @routes.get("/exams/{id:int}/sheet", dependencies=[shows("order", "exported")])
    def sheet(request: Request, row: Row) -> Response:
        order = database.read(placing.stored, row).result()
        if order is None:
            raise missing()
        viewing_of(request).patient = order.patient.row
        attributes = order.patient.attributes
        view = SheetView(
            order=order,
            name=words.person(str(attributes.get("PatientName") or "")),
            born=words.day_of(str(attributes.get("PatientBirthDate") or "")),
            sex=str(attributes.get("PatientSex") or ""),
            accession=code_128(order.accession),
            patient=code_128(order.patient.patient_id),
            steps=[step_line(procedure, step) for procedure in order.procedures for step in procedure.steps],
        )
        return shell.render(request, "exam_sheet", view)

    @routes.get("/exams/day", dependencies=[shows("order")])
    def day(
        request: Request,
        station: Annotated[str, Query(max_length=16, pattern=r"^[^\x00-\x1f\x7f]*$")] = "",
        day: Annotated[str, Query(max_length=10)] = "",
    ) -> Response:
        station = station.strip()
        chosen = day if _DAY.fullmatch(day) else datetime.now(context.settings.zone()).strftime("%Y-%m-%d")
        lines, cut = _of_day(context, station, chosen.replace("-", "")) if station else ([], False)
        viewing_of(request).many(len(lines))
        stations = sorted({node.ae_title for node in context.directory.nodes if "modality" in node.roles})
        view = DayView(station=station, day=chosen, stations=stations, lines=lines, cut=cut)
        return shell.render(request, "exams_day", view)

    return routes


def _of_day(context: AdminContext, station: str, day: str) -> tuple[list[DayLine], bool]:
    """The steps of a station on a day (`YYYYMMDD`), by time; and whether there are more."""
    wish, after = ExamWish(station=station, day=day), None
    exams: list[ExamLine] = []
    while len(exams) < LISTED:
        page = context.database.read(finding.find, wish, after, PAGE).result()
        exams += page.lines
        after = page.after
        if after is None:
            break
    lines = [
        _day_line(exam, step)
        for exam in exams
        for step in exam.steps
        if step.start_at.startswith(day) and station in step.stations
    ]
    return sorted(lines, key=lambda line: (line.step.start_at, line.line.order)), after is not None


def _day_line(exam: ExamLine, step: ExamStep) -> DayLine:
    return DayLine(
        step=step,
        line=exam,
        time=f"{step.start_at[8:10]}:{step.start_at[10:12]}",
        name=words.person(exam.name),
        born=words.day_of(str(exam.demographics.get("PatientBirthDate") or "")),
        state=words.STATES[step.status],
        barcode=code_128(exam.accession),
    )
