"""Makes the board of a day: what is planned, by station and time, beside the devices that ask."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from broker.model.exam import ExamLine, ExamStep
from broker.model.order import StepStatus
from broker.site.directory import Directory
from broker.store.exams import lines, planned
from broker.store.worklist import steps as worklist_steps
from broker.worklist.explain.devices import AskingDevice, devices

MOST_READ = 5_000  # steps of a day
MOST_STATIONS, MOST_OF_ONE, MOST_SHOWN = 60, 40, 400  # stations; steps of one station, and of all
_STATUSES = tuple(StepStatus)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardStep:
    """A step of the board with its exam."""

    exam: ExamLine
    step: ExamStep


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardStation:
    """A station with the first of its `total` steps by time. `device`: who has the station; None for nobody known."""

    station: str
    device: AskingDevice | None
    steps: Sequence[BoardStep]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DayBoard:
    """A day (`YYYYMMDD`). `whole`: all steps of the day were read; `hidden`: stations that have no room."""

    day: str
    stations: Sequence[BoardStation]
    total: int
    whole: bool
    hidden: int


def board(connection: Connection, day: str, directory: Directory) -> DayBoard:
    """The board of a day (`YYYYMMDD`): stations of devices by their names, then others by title."""
    found = planned.of_day(connection, day, _STATUSES, MOST_READ + 1)
    by_station: dict[str, list[int]] = {}
    for one in found[:MOST_READ]:
        for station in one.stations or ("",):
            by_station.setdefault(station, []).append(one.step)
    known = devices(connection, directory)
    owner = {title: device for device in reversed(known) for title in (*device.stations, device.ae_title)}
    titles = dict.fromkeys(title for device in known for title in _titles(device, by_station))
    titles |= dict.fromkeys(sorted(title for title in by_station if title not in titles))
    shown: dict[str, Sequence[int]] = {}
    room = MOST_SHOWN
    for title in list(titles)[:MOST_STATIONS]:
        shown[title] = by_station.get(title, [])[: min(MOST_OF_ONE, room)]
        room -= len(shown[title])
    steps = _loaded(connection, dict.fromkeys(step for some in shown.values() for step in some))
    return DayBoard(
        day=day,
        stations=[
            BoardStation(
                station=title,
                device=owner.get(title),
                steps=[steps[step] for step in some if step in steps],
                total=len(by_station.get(title, ())),
            )
            for title, some in shown.items()
        ],
        total=min(len(found), MOST_READ),
        whole=len(found) <= MOST_READ,
        hidden=max(0, len(titles) - MOST_STATIONS),
    )


def _titles(device: AskingDevice, by_station: dict[str, list[int]]) -> list[str]:
    """The stations of a device that have a section: its own, and others under which something is planned."""
    return [device.ae_title, *sorted(title for title in device.stations if title in by_station)]


def _loaded(connection: Connection, rows: Iterable[int]) -> dict[int, BoardStep]:
    """Steps (rows) with their exams."""
    orders = dict.fromkeys(worklist_steps.orders_of(connection, rows).values())
    return {
        step.row: BoardStep(exam=exam, step=step)
        for exam in lines.load(connection, list(orders))
        for step in exam.steps
    }
