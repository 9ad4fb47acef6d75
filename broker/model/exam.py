"""Defines which exams a person looks for, what a list says of one, and why no device shows a step.

An exam is an order with its procedures.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from broker.model.order import Document

Place = tuple[str, int]  # start (`YYYYMMDDHHMMSS`, empty where the newest order comes first) and row of an order


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamSelection:
    """Which exams: all that is given must fit. `terms` are beginnings of what patients are found by (`patient_term`).

    `fresh`: patients (rows) that fit all `terms`, whose own are not written yet.
    `accession`: the beginning of an accession number; `number`: the whole number of the placer or filler, beside it.
    `patient_id`: the beginning of the one in the worklist, or a whole one, retired ones too. What is said of steps is
    said of one step.
    """

    terms: tuple[str, ...] = ()
    fresh: tuple[int, ...] = ()
    accession: str = ""
    number: str = ""
    patient_id: str = ""
    patient: int | None = None  # our own number
    station: str = ""
    day: str = ""  # YYYYMMDD
    statuses: tuple[str, ...] = ()
    modality: str = ""
    texts: tuple[str, ...] = ()  # words that the caller looks for in the texts


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamStep:
    """A step (row) in a list of exams; `start_at` is `YYYYMMDDHHMMSS`, empty for none."""

    row: int
    status: str
    held: bool
    start_at: str
    modality: str
    attributes: Document

    @property
    def stations(self) -> tuple[str, ...]:
        """Scheduled Station AE Titles."""
        return tuple(self.attributes.get("ScheduledStationAETitle", ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamLine:
    """An exam in a list: rows of its order and patient, what they are, and its steps."""

    order: int
    patient: int
    patient_id: str
    issuer: str
    demographics: Document
    accession: str
    placer: str
    filler: str
    attributes: Document
    procedures: tuple[Document, ...]  # attributes of each
    steps: tuple[ExamStep, ...]

    @property
    def name(self) -> str:
        """Patient's Name, empty for none."""
        return str(self.demographics.get("PatientName") or "")

    @property
    def descriptions(self) -> tuple[str, ...]:
        """What is to be done: the descriptions of the procedures."""
        texts = (text for one in self.procedures if (text := str(one.get("RequestedProcedureDescription") or "")))
        return tuple(dict.fromkeys(texts))

    @property
    def start_at(self) -> str:
        """When its first step is to start, empty for not yet planned."""
        return min((step.start_at for step in self.steps if step.start_at), default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamPage:
    """Exams of one page. `after`: where the next one begins, None behind the last exam.

    `total`: exams that match, as far as they were counted; `whole`: that is all.
    """

    lines: tuple[ExamLine, ...]
    after: Place | None
    total: int
    whole: bool


class UnseenReason(StrEnum):
    """Why no device that asks for its own exams of today or later shows a step that waits. A step has one of them."""

    HELD = "held"  # by the RIS: no device shows it until it is released
    UNSCHEDULED = "unscheduled"  # it has no start
    UNASSIGNED = "unassigned"  # no message gave it a station
    UNKNOWN_STATION = "unknown-station"  # no device that is let in has its station
    PAST = "past"  # its day is over


@dataclass(frozen=True, slots=True, kw_only=True)
class UnseenStep:
    """A step (row) that nobody sees, and its place in the list. `station` is empty where it is not the reason.

    `start_at` is `YYYYMMDDHHMMSS`, empty for none.
    """

    reason: UnseenReason
    station: str
    start_at: str
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnseenGround:
    """What decides whether a step is seen. `today` is the beginning of the day of the site, as starts are written.

    `statuses`: of steps that wait. `default`: the station of steps that no message gave one. `known`: stations of
    devices that are let in.
    """

    today: str
    statuses: tuple[str, ...]
    default: str
    known: frozenset[str]
