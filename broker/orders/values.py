"""What an order message asks for, in DICOM terms and free of HL7 syntax.

A `Document` maps DICOM keywords to values: text, a list of text (several values), an integer (US), or a list of
documents (sequence). DA is `YYYYMMDD`, TM `HHMMSS`, PN `alphabetic=ideographic=phonetic`. In a change an absent
keyword means "as before", an empty value (`""` or `[]`) means "delete".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from broker.hl7.findings import Finding
from broker.store.orders_rows import Document, EntityId, Order, Patient, Procedure, Step

__all__ = [
    "Change", "Conversion", "Document", "EntityId", "Order", "OrderChange", "OrderKeys", "Patient", "PatientChange",
    "Plan", "Procedure", "ProcedureChange", "Span", "Step", "StepChange", "merged",
]  # fmt: skip


class Change(Protocol):
    """One thing that a message asks for; each kind has its story (`orders.intake`)."""

    def names(self) -> tuple[str, ...]:
        """Texts that name what it touches, for locks."""
        ...


@dataclass(frozen=True, slots=True)
class PatientChange:
    """A patient under an identifier; `attributes` include PatientID and IssuerOfPatientID."""

    patient_id: str
    issuer: str
    attributes: Document


@dataclass(frozen=True, slots=True)
class StepChange:
    """A Scheduled Procedure Step; `step_id` and `stations` may be empty.

    `start_location` and `modality_location` are where a missing start or modality would stand in the message.
    """

    step_id: str
    stations: tuple[str, ...]
    attributes: Document
    start_location: str = "ORC^1^7"
    modality_location: str = "OBR^1^24"


@dataclass(frozen=True, slots=True)
class ProcedureChange:
    """A Requested Procedure with its steps; both identifiers may be empty."""

    requested_procedure_id: str
    study_instance_uid: str
    attributes: Document
    steps: tuple[StepChange, ...]
    uid_location: str = "ZDS^1^1"


@dataclass(frozen=True, slots=True)
class Span:
    """What a time can mean: from `start` until before `end`, seconds since the epoch."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class OrderKeys:
    """Another order by its numbers, one of which may be empty."""

    placer: EntityId
    filler: EntityId

    def names(self) -> tuple[str, ...]:
        """Texts that name the order, for locks."""
        kinds = (("filler", self.filler), ("placer", self.placer))
        return tuple(f"{kind}|{key.number}|{key.issuer}" for kind, key in kinds if key.number)


@dataclass(frozen=True, slots=True)
class OrderChange:
    """What one message wants done to one order."""

    control: str  # ORC-1
    order_status: str  # ORC-5
    control_location: str
    placer: EntityId
    filler: EntityId
    accession: str
    patient: PatientChange
    visit: Document
    request: Document
    procedures: tuple[ProcedureChange, ...]

    def names(self) -> tuple[str, ...]:
        """Texts that name this order and its patient, for locks."""
        named = [
            f"filler|{self.filler.number}|{self.filler.issuer}" if self.filler.number else "",
            f"placer|{self.placer.number}|{self.placer.issuer}" if self.placer.number else "",
            f"accession|{self.accession}" if self.accession else "",
            f"patient|{self.patient.patient_id}",
        ]
        uids = [f"study|{p.study_instance_uid}" for p in self.procedures if p.study_instance_uid]
        return tuple(name for name in (*named, *uids) if name)


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a message asks for and everything found wrong with it; with an error it is not to be used."""

    changes: tuple[Change, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def usable(self) -> bool:
        """True if no finding is an error."""
        return not any(finding.is_error for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be written for one order change: nothing without `order`."""

    action: str  # created | updated | canceled | discontinued | status | unchanged | late | refused
    order: Order | None = None
    findings: tuple[Finding, ...] = ()
    row: int | None = None  # the stored order, also when nothing is written


def merged(old: Document, change: Document) -> Document:
    """Attributes after a change: given ones replace, empty ones delete, absent ones stay."""
    result = {keyword: value for keyword, value in old.items() if keyword not in change}
    result.update({keyword: value for keyword, value in change.items() if value not in ("", [])})
    return result
