"""Defines what a scheduling message (SIU) wants done to the steps of one order, in DICOM terms, free of HL7 syntax."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from broker.hl7.findings import Finding
from broker.model.order import Document
from broker.orders.core.attributes import STEP
from broker.orders.core.authorities import Settle
from broker.orders.core.values import OrderChange, OrderKeys, PatientChange, Span

START = ("ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime")
END = ("ScheduledProcedureStepEndDate", "ScheduledProcedureStepEndTime")
# what an appointment may change in a step of an order: all but what the step is, and when, which has rules of its own
MOVED = STEP.keys() - {*START, *END, "Modality", "ScheduledProcedureStepID", "ScheduledProcedureStepStatus"}


class AppointmentAction(StrEnum):
    """What is asked for."""

    BOOK = "book"  # time, station, room, performer
    UNBOOK = "unbook"
    NO_SHOW = "no-show"
    START = "start"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class Slot:
    """One service of an appointment: the codes it is known by, attributes for its step, whether it is taken away.

    In the attributes an absent keyword means "as before", an empty value "delete".
    """

    codes: frozenset[str]
    attributes: Document
    removed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AppointmentChange:
    """What one scheduling message wants done to one order.

    `number` is the appointment's own. With `guessed` the order's keys are appointment numbers, which old senders fill
    with order numbers: they may mean no order at all. `create` is the order to make if it is not known, and
    `create_findings` what is wrong with it: nothing that matters to a known one.
    """

    event: str  # S12
    asked: AppointmentAction
    number: str
    keys: OrderKeys
    patient: PatientChange | None
    slots: tuple[Slot, ...]
    sent: Span | None = None
    guessed: bool = False
    cancels: bool = False  # a cancelled appointment cancels its steps
    create: OrderChange | None = None
    create_findings: tuple[Finding, ...] = ()
    location: str = "SCH^1^26"

    @property
    def cause(self) -> str:
        """For the event log."""
        return f"appointment:{self.event}"

    def names(self) -> tuple[str, ...]:
        """Texts that name the order and its patient, for locks; the same as those of an order message."""
        patient = (f"patient|{self.patient.patient_id}",) if self.patient else ()
        return (*self.keys.names(), *patient, *(self.create.names() if self.create else ()))

    def settled(self, settle: Settle) -> AppointmentChange:
        """The same under the keys of its authorities."""
        fields = ("SCH^1^1", "SCH^1^2") if self.guessed else ("SCH^1^26", "SCH^1^27")
        keys = self.keys.settled(settle, *fields)
        patient = self.patient.settled(settle) if self.patient else None
        create = self.create
        if create is not None:
            create = replace(create, patient=patient or create.patient, placer=keys.placer, filler=keys.filler)
        return replace(self, keys=keys, patient=patient, create=create)


def slots_document(slots: Iterable[Slot]) -> list[Document]:
    """Slots as they are stored."""
    return [{"codes": sorted(slot.codes), "attributes": slot.attributes, "removed": slot.removed} for slot in slots]


def slots_of(document: Iterable[Document]) -> tuple[Slot, ...]:
    """Stored slots."""
    return tuple(Slot(frozenset(item["codes"]), item["attributes"], bool(item["removed"])) for item in document)
