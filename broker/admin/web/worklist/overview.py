"""The page *Worklist*: the board of a day by station and time, and the devices that ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.routers import page_router
from broker.admin.viewing import shows, viewing_of
from broker.admin.web import shell
from broker.admin.web.exams import words as exam_words
from broker.admin.web.forms import FieldErrors
from broker.admin.web.nodes.words import STATES
from broker.admin.web.shell import PageLink
from broker.admin.web.words import Sentence
from broker.admin.web.worklist import words
from broker.exams.board import MOST_OF_ONE, BoardStation, BoardStep, DayBoard, board
from broker.model.exam import ExamLine, ExamStep
from broker.site.tables.roles import ACTIVE
from broker.worklist.explain.devices import AskingDevice, devices

LINK = PageLink(title=Sentence("Worklist"), path="/worklist", icon="worklist", right=Right.PATIENTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedDevice:
    """A device in words. `state` is None for one that is served; `end`: how its last query ended."""

    device: AskingDevice
    path: str
    state: tuple[str, Sentence] | None
    end: tuple[str, Sentence] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLine:
    """A step in words."""

    exam: ExamLine
    step: ExamStep
    time: str
    name: str
    born: str
    states: Sequence[tuple[str, Sentence]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StationSection:
    """A station of the board. `rest`: the address of all its exams of the day."""

    station: BoardStation
    lines: Sequence[PlannedLine]
    rest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardPage:
    """The board of a day. Days are `YYYY-MM-DD`; those before and after are empty at the ends of the calendar."""

    day: str
    before: str
    after: str
    is_today: bool
    errors: FieldErrors
    devices: Sequence[ListedDevice]
    board: DayBoard
    sections: Sequence[StationSection]
    most: int


def router(context: AdminContext) -> APIRouter:
    """The route of the board."""
    routes = page_router(Right.PATIENTS)

    @routes.get("/worklist", dependencies=[shows("order")])
    def page(request: Request) -> Response:
        context.write_behind()
        today = datetime.now(context.settings.zone()).date()
        day, errors = _day(request.query_params.get("day", ""), today)
        found = context.database.read(board, day.strftime("%Y%m%d"), context.directory).result()
        asking = context.database.read(devices, context.directory).result()
        sections = [_section(one, day) for one in found.stations]
        viewing_of(request).many(sum(len(one.lines) for one in sections))
        view = BoardPage(
            day=day.isoformat(),
            before=_moved(day, -1),
            after=_moved(day, 1),
            is_today=day == today,
            errors=errors,
            devices=[listed(one) for one in asking],
            board=found,
            sections=sections,
            most=MOST_OF_ONE,
        )
        return shell.render(request, "worklist", view)

    return routes


def listed(device: AskingDevice) -> ListedDevice:
    """A device in words."""
    return ListedDevice(
        device=device,
        path=words.path_of(device.name),
        state=STATES[device.state] if device.state != ACTIVE else None,
        end=words.end_of(device.last.status) if device.last is not None else None,
    )


def line_of(exam: ExamLine, step: ExamStep) -> PlannedLine:
    """A step in words."""
    held = [("warn", exam_words.HELD)] if step.held else []
    return PlannedLine(
        exam=exam,
        step=step,
        time=exam_words.clock_of(step.start_at),
        name=exam_words.person(exam.name),
        born=exam_words.day_of(str(exam.demographics.get("PatientBirthDate") or "")),
        states=[*held, exam_words.STATES[step.status]],
    )


def _day(text: str, today: date) -> tuple[date, FieldErrors]:
    """The day that is asked for; without one, or with none that can be read, today."""
    try:
        return (date.fromisoformat(text) if text else today), {}
    except ValueError:
        return today, {"day": Sentence("Type a date like 2026-12-31.")}


def _moved(day: date, days: int) -> str:
    try:
        return (day + timedelta(days)).isoformat()
    except OverflowError:
        return ""


def _section(station: BoardStation, day: date) -> StationSection:
    query = urlencode({"station": station.station, "day": day.isoformat()})
    return StationSection(station=station, lines=[_line(one) for one in station.steps], rest=f"/exams?{query}")


def _line(one: BoardStep) -> PlannedLine:
    return line_of(one.exam, one.step)
