"""Defines what an order message asks for, in DICOM terms, free of HL7 syntax; and the plan for it.

For `Document` see `broker.model.order`. In a change an absent keyword means "as before", an empty value (`""` or `[]`)
means "delete".
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol, Self

from broker.hl7.findings import Finding
from broker.model.authority import AuthorityUse
from broker.model.order import Document, EntityId, Order, Patient, Procedure, Step, StepStatus, Written
from broker.orders.core.authorities import Settle, from_item
from broker.orders.core.authorities import names as named
from broker.orders.core.identifiers import DEFAULT, Identifiers

__all__ = [
    "Change", "Conversion", "Document", "EntityId", "Order", "OrderChange", "OrderKeys", "Patient", "PatientChange",
    "Plan", "Procedure", "ProcedureChange", "Span", "StartMissing", "Step", "StepChange", "StepNames", "Written",
    "merged",
]  # fmt: skip

MAX_STEPS = 256  # of one order
_ISSUER = "IssuerOfPatientID"

StepNames = frozenset[str]  # Scheduled Procedure Step IDs; none means all


class Change(Protocol):
    """One thing that a message asks for; each kind has its story (`orders.stories.intake`)."""

    def names(self) -> tuple[str, ...]:
        """Texts that name what it touches, for locks."""
        ...

    def settled(self, settle: Settle) -> Self:
        """The same with every identifier as `settle` gives it."""
        ...


@dataclass(frozen=True, slots=True)
class PatientChange:
    """A patient under an identifier; `attributes` include PatientID and IssuerOfPatientID.

    `universal` is the universal ID of the authority where it is named.

    `defaults`, here and below, are attributes of one that is not stored yet, under those of the message.
    """

    patient_id: str
    issuer: str
    attributes: Document
    defaults: Document = field(default_factory=dict)
    universal: str = ""

    @property
    def identifier(self) -> EntityId:
        """Its identifier."""
        return EntityId(self.patient_id, self.issuer, self.universal)

    def settled(self, settle: Settle, location: str = "PID^1^3") -> PatientChange:
        """The same under the key of its authority. The worklist shows a namespace rather than a universal ID."""
        issuer = settle(AuthorityUse.PATIENT, self.identifier, location).issuer
        if issuer == self.issuer:
            return self
        attributes = self.attributes
        if attributes.get(_ISSUER) == self.issuer and not named(self.identifier)[0]:
            attributes = {**attributes, _ISSUER: issuer}
        return replace(self, issuer=issuer, attributes=attributes)


@dataclass(frozen=True, slots=True)
class StepChange:
    """A Scheduled Procedure Step; `step_id` and `stations` may be empty.

    `start_location` and `modality_location` are where a missing start or modality would stand in the message. A step
    that is told `apart` from others is the one with its identifier, or a new one. It moves forward to `status`.
    """

    step_id: str
    stations: tuple[str, ...]
    attributes: Document
    start_location: str = "ORC^1^7"
    modality_location: str = "OBR^1^24"
    step_location: str = "OBR^1^20"
    defaults: Document = field(default_factory=dict)
    apart: bool = False
    status: StepStatus | None = None


@dataclass(frozen=True, slots=True)
class ProcedureChange:
    """A Requested Procedure with its steps; both identifiers may be empty.

    One that is told `apart` from others is the one with its identifier or its study, or a new one.
    """

    requested_procedure_id: str
    study_instance_uid: str
    attributes: Document
    steps: tuple[StepChange, ...]
    uid_location: str = "ZDS^1^1"
    id_location: str = "OBR^1^19"
    defaults: Document = field(default_factory=dict)
    apart: bool = False


class StartMissing(StrEnum):
    """Says what becomes of an order without a start: it begins now, waits for a start, or is refused."""

    RECEIVED = "received"
    UNSCHEDULED = "unscheduled"
    REFUSE = "refuse"


class AccessionPolicy(StrEnum):
    """Says what becomes of an order whose accession number is that of another patient's order."""

    WARN = "warn"
    REFUSE = "refuse"


class RepeatedNumber(StrEnum):
    """Says what becomes of a new order with a known number that is another exam: refused, or the exam from now on."""

    REFUSE = "refuse"
    CHANGE = "change"


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
        return tuple(f"{kind}|{key.number}" for kind, key in kinds if key.number)

    def settled(self, settle: Settle, placer: str = "ORC^1^2", filler: str = "ORC^1^3") -> OrderKeys:
        """The same under the keys of their authorities; `placer` and `filler` are where the message has them."""
        return OrderKeys(
            settle(AuthorityUse.PLACER, self.placer, placer), settle(AuthorityUse.FILLER, self.filler, filler)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderChange:
    """What one message wants done to one order.

    `parent` is the order that ORC-8 names, `replaces` are those whose place RO takes. `ordered` and `sent` are when
    ORC-9 and MSH-7 say it was asked for. With `parks` a cancel of an unknown order is kept for it, else refused.
    """

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
    parent: OrderKeys | None = None
    replaces: tuple[OrderKeys, ...] = ()
    ordered: Span | None = None
    sent: Span | None = None
    parks: bool = False
    accession_location: str = "OBR^1^18"
    placer_location: str = "ORC^1^2"
    filler_location: str = "ORC^1^3"
    defaults: Document = field(default_factory=dict)
    identifiers: Identifiers = DEFAULT
    start_missing: StartMissing = StartMissing.RECEIVED
    accession_issuer: str = ""  # the key of its authority
    accession_of_another_patient: AccessionPolicy = AccessionPolicy.WARN
    repeated_number: RepeatedNumber = RepeatedNumber.REFUSE
    row: int | None = None  # the stored order that is meant, by one who knows it otherwise than by its numbers

    def step_names(self) -> StepNames:
        """The steps it names."""
        return frozenset(step.step_id for procedure in self.procedures for step in procedure.steps if step.step_id)

    def names(self) -> tuple[str, ...]:
        """Texts that name this order and its patient, for locks."""
        named = [
            *OrderKeys(self.placer, self.filler).names(),
            f"accession|{self.accession}" if self.accession else "",
            f"patient|{self.patient.patient_id}",
        ]
        uids = [f"study|{p.study_instance_uid}" for p in self.procedures if p.study_instance_uid]
        return tuple(name for name in (*named, *uids) if name)

    def settled(self, settle: Settle) -> OrderChange:
        """The same under the keys of its authorities."""
        group = self.control_location.rpartition("^")[0]
        accession = from_item(self.accession, self.request.get("IssuerOfAccessionNumberSequence") or [])
        number = self.visit.get("AdmissionID", "")  # its orders name no visit, but they tell of its authority
        settle(AuthorityUse.VISIT, from_item(number, self.visit.get("IssuerOfAdmissionIDSequence") or []), "PV1^1^19")
        keys = OrderKeys(self.placer, self.filler).settled(settle, f"{group}^2", f"{group}^3")
        patient = self.patient.settled(settle)
        accession_issuer = settle(AuthorityUse.ACCESSION, accession, self.accession_location).issuer
        same = patient is self.patient and (keys.placer, keys.filler) == (self.placer, self.filler)
        if same and accession_issuer == self.accession_issuer and not self.parent and not self.replaces:
            return self
        return replace(
            self,
            patient=patient,
            placer=keys.placer,
            filler=keys.filler,
            accession_issuer=accession_issuer,
            parent=self.parent.settled(settle, f"{group}^8", f"{group}^8") if self.parent else None,
            replaces=tuple(other.settled(settle) for other in self.replaces),
        )


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a message asks for and everything found wrong with it; with an error it is not to be used."""

    changes: tuple[Change, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def usable(self) -> bool:
        """True if no finding is an error."""
        return not any(finding.is_error for finding in self.findings)


class OrderAction(StrEnum):
    """What an order change comes to, as the audit trail says it."""

    CREATED = "created"
    UPDATED = "updated"
    CANCELED = "canceled"
    DISCONTINUED = "discontinued"
    HELD = "held"
    RELEASED = "released"
    STATUS = "status"  # another change of status
    NUMBERED = "numbered"  # the order has got its filler number
    PARKED = "parked"  # a cancel that is kept for its order
    UNCHANGED = "unchanged"
    LATE = "late"  # recorded without effect
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be written for one order change: nothing without `order`."""

    action: OrderAction
    order: Order | None = None
    findings: tuple[Finding, ...] = ()
    row: int | None = None  # the stored order, also when nothing is written
    done: bool = True  # what was asked for is so now
    written: Written | None = None  # to be noted of an order that has these values already


def merged(old: Document, change: Document) -> Document:
    """Attributes after a change: given ones replace, empty ones delete, absent ones stay."""
    result = {keyword: value for keyword, value in old.items() if keyword not in change}
    result.update({keyword: value for keyword, value in change.items() if value not in ("", [])})
    return result
