"""Lists exams that nobody will see: no device that asks for its own exams of today or later shows them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from broker.model.exam import ExamLine, ExamStep, UnseenGround, UnseenReason, UnseenStep
from broker.model.wording import Sentence
from broker.orders.core import lifecycle
from broker.settings import Settings
from broker.site.directory import Directory
from broker.site.tables.roles import ACTIVE
from broker.store.exams import lines
from broker.store.worklist import steps as worklist_steps
from broker.store.worklist import unseen
from broker.worklist.explain.devices import devices

COUNTED = 1_000
WHY: Mapping[UnseenReason, Sentence] = {
    UnseenReason.HELD: Sentence("The RIS holds it: no device shows it until it is released."),
    UnseenReason.UNSCHEDULED: Sentence("It has no day and time yet."),
    UnseenReason.UNASSIGNED: Sentence("No station was given to it."),
    UnseenReason.UNKNOWN_STATION: Sentence("No device that is let in has its station."),
    UnseenReason.PAST: Sentence("Its day is over, and nobody has said that it was done."),
}
NEXT: Mapping[UnseenReason, Sentence] = {
    UnseenReason.HELD: Sentence("Have the RIS release it, or call it off."),
    UnseenReason.UNSCHEDULED: Sentence("Give it a day and a time."),
    UnseenReason.UNASSIGNED: Sentence("Move it to a station."),
    UnseenReason.UNKNOWN_STATION: Sentence("Move it to another station, or add the device as a node."),
    UnseenReason.PAST: Sentence("Move it to another day, or call it off."),
}
_CODES = {reason: str(place) for place, reason in enumerate(UnseenReason)}
PLACE = r"[0-4]\.(?:[0-9a-f]{2}){0,64}\.\d{0,14}\.\d{1,18}"
_PLACE = re.compile(r"([0-4])\.((?:[0-9a-f]{2}){0,64})\.(\d{0,14})\.(\d{1,18})")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnseenExam:
    """A step that nobody sees, with its exam."""

    place: UnseenStep
    exam: ExamLine
    step: ExamStep


@dataclass(frozen=True, slots=True, kw_only=True)
class UnseenPage:
    """A page of the list. `after`: its text begins the next page, empty behind the last step.

    `counts`: steps of each reason, up to COUNTED + 1. `seeing_all`: devices whose last query named no station; they may
    show exams of other stations all the same.
    """

    exams: Sequence[UnseenExam]
    after: str
    counts: Mapping[UnseenReason, int]
    seeing_all: Sequence[str]


def place_text(step: UnseenStep) -> str:
    """The place of a step as it stands in addresses and answers."""
    return f"{_CODES[step.reason]}.{step.station.encode().hex()}.{step.start_at}.{step.step}"


def place_of(text: str) -> UnseenStep | None:
    """The place of a text; None for a text that is none."""
    match = _PLACE.fullmatch(text)
    if match is None:
        return None
    station = bytes.fromhex(match[2]).decode("utf-8", "replace").replace("\0", "")
    reason = list(UnseenReason)[int(match[1])]
    return UnseenStep(reason=reason, station=station, start_at=match[3], step=int(match[4]))


def page(
    connection: Connection,
    reason: UnseenReason | None,
    after: UnseenStep | None,
    limit: int,
    directory: Directory,
    settings: Settings,
) -> UnseenPage:
    """At most `limit` steps behind a place that nobody sees, of one reason or of all."""
    asking = devices(connection, directory)
    known = {title for device in asking if device.node and device.state == ACTIVE for title in device.stations}
    known |= {node.ae_title for node in directory.nodes if node.kind == "dicom" and node.active}
    if settings.dicom.accept == "any":
        known |= {device.ae_title for device in asking if not device.node}
    ground = UnseenGround(
        today=datetime.now(settings.zone()).strftime("%Y%m%d000000"),
        statuses=lifecycle.WAITING,
        default=settings.worklist.default_station,
        known=frozenset(known),
    )
    places = unseen.page(connection, ground, reason, after, limit + 1)
    shown = places[:limit]
    orders = worklist_steps.orders_of(connection, [one.step for one in shown])
    exams = {line.order: line for line in lines.load(connection, list(dict.fromkeys(orders.values())))}
    return UnseenPage(
        exams=[made for one in shown if (made := _exam(exams, orders, one)) is not None],
        after=place_text(shown[-1]) if len(places) > limit else "",
        counts={one: unseen.count(connection, ground, one, COUNTED + 1) for one in UnseenReason},
        seeing_all=[device.name for device in asking if device.asks_for_all],
    )


def _exam(exams: Mapping[int, ExamLine], orders: Mapping[int, int], place: UnseenStep) -> UnseenExam | None:
    exam = exams.get(orders.get(place.step, 0))
    step = next((one for one in exam.steps if one.row == place.step), None) if exam is not None else None
    return UnseenExam(place=place, exam=exam, step=step) if exam is not None and step is not None else None
