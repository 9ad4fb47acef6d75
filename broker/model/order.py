"""Orders as they are stored, free of tables: what `store.orders.saving` takes and gives.

A `Document` maps DICOM keywords to text, lists of text, integers, or lists of documents (sequences).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Document = dict[str, Any]


class StepStatus(StrEnum):
    """Status of a Scheduled Procedure Step (PS3.3 C.4.10), as it is stored and answered."""

    SCHEDULED = "SCHEDULED"
    ARRIVED = "ARRIVED"
    READY = "READY"
    STARTED = "STARTED"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"
    CANCELED = "CANCELED"


class OrderLinkKind(StrEnum):
    """What one order is to another. JOINED: both turned out to be one, and it is the one in force."""

    REPLACES = "replaces"
    JOINED = "joined"
    PARENT = "parent"


@dataclass(frozen=True, slots=True)
class EntityId:
    """An identifier and its issuer, both possibly empty.

    `issuer` is its namespace, without one its universal ID; `universal` is that ID where a message names it. Of a
    patient who is kept apart under a universal ID (`orders.stories.identity`) that is the issuer, and the other name
    stands in `universal`.
    """

    number: str = ""
    issuer: str = ""
    universal: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Patient:
    """A patient under one identifier and issuer; `row` None for a new one, `aliases` are retired identifiers."""

    row: int | None
    patient_id: str
    issuer: str
    attributes: Document
    aliases: tuple[EntityId, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """A Scheduled Procedure Step with the attributes of its sequence item."""

    row: int | None
    step_id: str
    position: int
    status: StepStatus
    attributes: Document
    held: bool = False  # by the RIS: in no worklist until it is released

    @property
    def stations(self) -> tuple[str, ...]:
        """Scheduled Station AE Titles."""
        return tuple(self.attributes.get("ScheduledStationAETitle", ()))

    @property
    def start_at(self) -> str:
        """Local wall clock `YYYYMMDDHHMMSS`, empty without a date."""
        date = self.attributes.get("ScheduledProcedureStepStartDate", "")
        time = self.attributes.get("ScheduledProcedureStepStartTime", "")
        return f"{date}{time:0<6}" if date else ""


@dataclass(frozen=True, slots=True)
class Procedure:
    """A Requested Procedure, owner of one Study Instance UID."""

    row: int | None
    requested_procedure_id: str
    study_instance_uid: str
    attributes: Document
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """When an order was last written: by whom, and the earliest moments that its ORC-9 and MSH-7 can mean.

    Seconds since the epoch, 0 for unknown.
    """

    by: str = ""
    ordered_from: float = 0
    sent_from: float = 0


@dataclass(frozen=True, slots=True)
class Order:
    """An Imaging Service Request with everything below it; `attributes` hold those of the visit too."""

    row: int | None
    patient: Patient
    placer: EntityId
    filler: EntityId
    accession: str
    attributes: Document
    procedures: tuple[Procedure, ...] = ()
    written: Written = field(default=Written(), compare=False)

    def steps(self) -> tuple[Step, ...]:
        """All steps of all procedures."""
        return tuple(step for procedure in self.procedures for step in procedure.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessionHolder:
    """An order (row) of a patient (row) that has an accession number; `issuer` is that number with its issuer."""

    order: int
    patient: int
    accession: str
    issuer: EntityId
    placer: EntityId
    filler: EntityId
    procedures: frozenset[str]  # Requested Procedure IDs


@dataclass(frozen=True, slots=True)
class StepIndex:
    """The columns of a step that are searched, and its whole answer."""

    patient_id: str
    patient_name: str  # folded
    answer: Document


@dataclass(frozen=True, slots=True)
class OpenAnswer:
    """The answer of a step whose patient has changed."""

    step: int
    answer: Document


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCancel:
    """A cancel that came before its order, by the keys it named.

    `steps` are the Scheduled Procedure Step IDs it named; none means the whole order.
    """

    control: str  # ORC-1
    order_status: str  # ORC-5
    placer: EntityId
    filler: EntityId
    accession: str
    patient_id: str
    issuer: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StepEvent:
    """One entry in the event log of a step (row); `at` in seconds since the epoch, `before` empty for a new step."""

    step: int
    at: float
    before: str
    after: str
    cause: str
    actor: str
