"""Defines what ADT messages ask for (patients, visits, arrivals, merges), and decides what needs no database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.findings import Finding
from broker.model.authority import AuthorityUse
from broker.model.order import Document, EntityId, Order, Patient
from broker.model.visit import VisitState
from broker.orders.core import authorities
from broker.orders.core.authorities import Settle
from broker.orders.core.identifiers import is_temporary
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

    def settled(self, settle: Settle) -> PatientUpdate:
        """The same under the key of its authority."""
        return replace(self, patient=self.patient.settled(settle))


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

    def settled(self, settle: Settle) -> Self:
        """The same under the keys of its authorities."""
        patient, number = _of_visit(settle, self.patient, self.number)
        return replace(self, patient=patient, number=number)


@dataclass(frozen=True, slots=True)
class PatientArrival:
    """The patient has arrived, for the visit of this number if it has one."""

    event: AdtEvent
    patient: EntityId
    number: EntityId

    def names(self) -> tuple[str, ...]:
        """Texts that name the patient, for locks."""
        return (patient_name(self.patient.number),)

    def settled(self, settle: Settle) -> Self:
        """The same under the keys of its authorities."""
        patient, number = _of_visit(settle, self.patient, self.number)
        return replace(self, patient=patient, number=number)


@dataclass(frozen=True, slots=True)
class Replacement:
    """An identifier `prior` that gives way to the one of `patient`; `location` is where the message says so.

    `others` are the patient by its further identifiers, `company` all prior identifiers that stand together. `certain`:
    authorities with different keys are different ones.
    """

    event: AdtEvent
    patient: PatientChange
    prior: EntityId
    location: str
    others: tuple[PatientChange, ...] = ()
    company: tuple[EntityId, ...] = ()
    certain: bool = False

    def names(self) -> tuple[str, ...]:
        """Texts that name all identifiers, for locks."""
        numbers = (self.patient.patient_id, self.prior.number, *(other.patient_id for other in self.others))
        return tuple(patient_name(number) for number in numbers)

    def settled(self, settle: Settle) -> Self:
        """The same under the keys of their authorities."""
        return replace(
            self,
            patient=self.patient.settled(settle),
            prior=settle(AuthorityUse.PATIENT, self.prior, self.location),
            others=tuple(other.settled(settle) for other in self.others),
            company=tuple(settle(AuthorityUse.PATIENT, prior, self.location) for prior in self.company),
            certain=True,
        )

    def same_authority(self, prior: EntityId) -> list[PatientChange]:
        """The patient by those of its identifiers that are of the authority of a prior one; without one, by all."""
        every = [self.patient, *self.others]
        if self.certain:
            return [one for one in every if compatible(one.issuer, prior.issuer) or one.issuer == prior.universal]
        return [one for one in every if authorities.may_be_one(one.identifier, prior)]

    def is_patient(self, prior: EntityId) -> bool:
        """True if a prior identifier is one that the patient has."""
        return any(
            one.patient_id == prior.number
            and (
                compatible(one.issuer, prior.issuer) if self.certain else authorities.surely_one(one.identifier, prior)
            )
            for one in (self.patient, *self.others)
        )

    def fitting(self) -> list[EntityId]:
        """Prior identifiers of the company that one of the patient's may replace: of its authorities, or temporary."""
        company = self.company or (self.prior,)
        return [prior for prior in company if self.same_authority(prior) or is_temporary(prior.number)]

    def replaces(self, prior: EntityId) -> bool:
        """True if a prior identifier gives way."""
        return prior in self.fitting() and not self.is_patient(prior)

    def refusal(self) -> str:
        """Why no prior identifier of the company can give way; empty if one can (HL7 2.5.1 §3.3.40)."""
        fitting = self.fitting()
        if not fitting:
            return "Prior identifier is of another authority"
        return "Prior identifier is that of the patient" if all(map(self.is_patient, fitting)) else ""


@dataclass(frozen=True, slots=True)
class Merge(Replacement):
    """Two patients are one (A40, A34): all that `prior` has goes to `patient`."""


@dataclass(frozen=True, slots=True)
class IdentifierChange(Replacement):
    """One patient under another identifier (A47), which may be of another authority."""

    def fitting(self) -> list[EntityId]:
        """The prior identifier that gives way: the first of the patient's authorities, else the first."""
        company = self.company or (self.prior,)
        return [*(prior for prior in company if self.same_authority(prior)), *company][:1]


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

    def settled(self, settle: Settle) -> VisitMove:
        """The same under the keys of its authorities."""
        patient, number = _of_visit(settle, self.patient, self.number)
        return replace(
            self,
            patient=patient,
            number=number,
            prior=settle(AuthorityUse.PATIENT, self.prior, "MRG^1^1"),
            prior_number=settle(AuthorityUse.VISIT, self.prior_number, "MRG^1^5"),
        )


def _of_visit(settle: Settle, patient: EntityId, number: EntityId) -> tuple[EntityId, EntityId]:
    return settle(AuthorityUse.PATIENT, patient, "PID^1^3"), settle(AuthorityUse.VISIT, number, "PV1^1^19")


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
