"""A visit of a patient."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from broker.model.order import EntityId


class VisitState(StrEnum):
    """State of a visit, as it is stored."""

    OPEN = "open"
    CLOSED = "closed"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A visit of a patient (row) under its admission number; times in seconds, 0 where nothing was said."""

    row: int | None
    patient: int
    number: EntityId
    location: str = ""
    patient_class: str = ""  # PV1-2
    state: VisitState = VisitState.OPEN
    opened_at: float = 0
    closed_at: float = 0
