"""An appointment that has booked steps of an order, or waits for its order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from broker.model.order import Document, EntityId


class AppointmentState(StrEnum):
    """Whether an appointment holds its steps."""

    BOOKED = "booked"
    OFF = "off"  # cancelled, or the patient did not come


@dataclass(frozen=True, slots=True, kw_only=True)
class Appointment:
    """An appointment of one order; `request` is the order's row, None while the order is to come.

    `number` is that of its sender. `steps` are rows of the steps it has booked, `slots` what is to be booked when the
    order comes. `start_at` is the first start, wall clock `YYYYMMDDHHMMSS`. `sent_from` is the earliest moment that the
    time of the last message can mean, in seconds since the epoch, 0 for unknown.
    """

    row: int | None
    sender: str
    number: str
    request: int | None
    state: AppointmentState
    event: str  # S12
    filler: EntityId
    placer: EntityId
    patient_id: str = ""
    issuer: str = ""
    start_at: str = ""
    steps: frozenset[int] = frozenset()
    slots: tuple[Document, ...] = ()
    sent_from: float = 0
