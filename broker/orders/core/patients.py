"""Defines what ADT messages ask for (patients, visits, arrivals, merges), and decides what needs no database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.findings import Finding
from broker.model.order import Document, EntityId, Order, Patient
from broker.model.visit import VisitState
from broker.orders.core.values import PatientChange


@dataclass(frozen=True, slots=True)
class AdtEvent:
    """An ADT event: its trigger, who sent it, and when it was recorded (see `convert.instant`)."""

    trigger: str
    sender: str
    at: str

    @property
    def cause(self) -> str:
        """As the event log of steps says it."""
        return f"adt:{self.trigger}"


@dataclass(frozen=True, slots=True)
class PatientUpdate:
    """Create a patient, or update the demographics."""

    event: AdtEvent
    patient: PatientChange
    location: str = "PID^1"

    def names(self) -> tuple[str, ...]:
        """Texts that name the patient, for locks."""
        return (patient_name(self.patient.patient_id),)


@dataclass(frozen=True, slots=True)
class VisitChange:
    """Change a visit and what its orders show of it; without `state` that stays as it is."""

    event: AdtEvent
    patient: EntityId
    number: EntityId
    state: VisitState | None
    attributes: Document

    def names(self) -> tuple[str, ...]:
        """Texts that name the patient, for locks."""
        return (patient_name(self.patient.number),)


@dataclass(frozen=True, slots=True)
class PatientArrival:
    """The patient has arrived, for the visit of this number if it has one."""

    event: AdtEvent
    patient: EntityId
    number: EntityId

    def names(self) -> tuple[str, ...]:
        """Texts that name the patient, for locks."""
        return (patient_name(self.patient.number),)


@dataclass(frozen=True, slots=True)
class Replacement:
    """An identifier `prior` that gives way to the one of `patient`; `location` is where the message says so."""

    event: AdtEvent
    patient: PatientChange
    prior: EntityId
    location: str

    def names(self) -> tuple[str, ...]:
        """Texts that name both identifiers, for locks."""
        return (patient_name(self.patient.patient_id), patient_name(self.prior.number))


@dataclass(frozen=True, slots=True)
class Merge(Replacement):
    """Two patients are one (A40, A34): all that `prior` has goes to `patient`."""


@dataclass(frozen=True, slots=True)
class IdentifierChange(Replacement):
    """One patient under another identifier (A47)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitMove:
    """A visit of the patient `prior` becomes one of `patient`, under `number` if that is given (A45).

    `attributes` are what its orders are to show of it.
    """

    event: AdtEvent
    patient: EntityId
    prior: EntityId
    prior_number: EntityId
    number: EntityId
    attributes: Document

    def names(self) -> tuple[str, ...]:
        """Texts that name both patients, for locks."""
        return (patient_name(self.patient.number), patient_name(self.prior.number))


def patient_name(patient_id: str) -> str:
    """The name of a patient for locks, as every change that concerns one has it."""
    return f"patient|{patient_id}"


def compatible(one: str, other: str) -> bool:
    """True if two issuers may be the same: an absent one says nothing."""
    return one == other or not one or not other


def older(at: str, than: str) -> bool:
    """True if an instant is certainly before another: clocks without seconds leave the minute open."""
    shared = min(len(at), len(than))
    return at[:shared] < than[:shared]


def is_retired(patient: Patient, identifier: EntityId) -> bool:
    """True if a patient was once known by an identifier and is no more."""
    if patient.patient_id == identifier.number and compatible(patient.issuer, identifier.issuer):
        return False
    return any(
        alias.number == identifier.number and compatible(alias.issuer, identifier.issuer) for alias in patient.aliases
    )


def redirected(asked: PatientChange, known: Patient | None) -> tuple[PatientChange, tuple[Finding, ...]]:
    """A change that names a retired identifier, as one of the patient it leads to, and a warning; others as they are.

    The demographics of the retired identifier (`UNKNOWN^EMERGENCY`) must not overwrite those of the patient.
    """
    if known is None or not is_retired(known, EntityId(asked.patient_id, asked.issuer)):
        return asked, ()
    text = "The patient identifier is retired: taken for the patient it leads to"
    return PatientChange(known.patient_id, known.issuer, {}), (
        Finding("PID^1^3", ErrorCode.ACCEPTED, text, Severity.WARNING),
    )


def without(identifiers: Sequence[EntityId], *others: EntityId) -> tuple[EntityId, ...]:
    """Identifiers, each once, but for others."""
    return tuple(identifier for identifier in dict.fromkeys(identifiers) if identifier not in others)


def of_visit(orders: Sequence[Order], number: str) -> list[Order]:
    """Orders of the visit of an admission number; if none names it, those that name no visit."""
    named = [order for order in orders if number and order.attributes.get("AdmissionID") == number]
    return named or [order for order in orders if not order.attributes.get("AdmissionID")]
