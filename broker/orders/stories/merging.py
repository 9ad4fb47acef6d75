"""Merges two patients, or gives one patient another identifier.

Orders, visits and the worklist answers of open steps change in the transaction of the message. Answers of steps that
have ended stay as they were. The retired identifier leads to the patient from now on, also if it was never heard of.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection

from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.findings import Finding
from broker.model.order import Document, EntityId, Patient
from broker.orders.core import patients
from broker.orders.core.context import AuditEntry, StoryContext
from broker.orders.core.identifiers import Minter, is_temporary
from broker.orders.core.patients import IdentifierChange, Merge, Replacement
from broker.orders.core.values import PatientChange, merged
from broker.orders.stories import writing
from broker.orders.stories.planned import Planned
from broker.orders.stories.registering import heard, is_late, save, unnamed
from broker.store.orders import patients as store
from broker.store.orders import reading

_OF_IDENTIFIER = frozenset(
    {"PatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "PatientAge"}
)  # what is said of the identifier, and what we say of an emergency patient
_DONE = "This was done before: recorded without effect"


def story(connection: Connection, change: Merge, context: StoryContext, mint: Minter) -> Planned:
    """Plan a merge. Refused: a circle, a retired identifier that leads to somebody else."""
    if reason := change.refusal():
        return _refused(change, reason)
    if not change.replaces(change.prior):
        return Planned()
    named, (change, survivor, retired) = change, _found(connection, change)
    asked, findings = patients.redirected(change.patient, survivor)
    if survivor is not None and retired is not None and survivor.row == retired.row:
        if not _leads(change.prior, retired):
            return _refused(change, "The patient was merged into the one to be retired")
        return Planned(findings=(*findings, Finding(change.location, ErrorCode.ACCEPTED, _DONE, Severity.WARNING)))
    if retired is not None and _leads(change.prior, retired):
        return _refused(change, "The prior identifier leads to another patient already")
    if survivor is None:
        findings += unnamed(asked, change.location, retired)
    elif asked.attributes and is_late(connection, "patient", survivor.row, change.event):
        asked = replace(asked, attributes={})
    if retired is None:
        findings += (_unknown(change),)
    return Planned(findings=findings, write=partial(_merge, change, asked, survivor, retired, named.prior))


def _unknown(change: Replacement) -> Finding:
    text = "The prior identifier is not known: nothing changes for it, from now on it leads to the patient"
    return Finding(change.location, ErrorCode.UNKNOWN_KEY, text, Severity.WARNING)


def _under(prior: EntityId, own: EntityId) -> EntityId:
    """A prior identifier as the message names it: without an authority it is of the patient's."""
    return prior if prior.issuer else replace(own, number=prior.number)


_R = TypeVar("_R", bound=Replacement)


def _found(connection: Connection, change: _R) -> tuple[_R, Patient | None, Patient | None]:
    """The change with the identifiers that it is about, the patient, and the patient of the prior identifier.

    The patient is meant by an identifier of the authority of the prior one. That one is as it is stored: without
    authority if only so; a temporary one is known by its number alone.
    """
    by = change.same_authority(change.prior) or [change.patient]
    patient = [(one, _stored(connection, one.identifier)) for one in by]
    asked, survivor = next((pair for pair in patient if pair[1] is not None), patient[0])
    number = change.prior.number
    priors = [_under(change.prior, one.identifier) for one in (asked, *by)] + [EntityId(number)]
    if is_temporary(number):
        priors += reading.identifiers_of(connection, number)
    retired = [(prior, _stored(connection, prior)) for prior in priors]
    prior, known = next((pair for pair in retired if pair[1] is not None), retired[0])
    if not change.prior.issuer and known is not None:
        asked, survivor = next((pair for pair in patient if pair[0].issuer == prior.issuer), (asked, survivor))
    return replace(change, patient=asked, prior=prior), survivor, known


def _leads(prior: EntityId, patient: Patient) -> bool:
    """True if a prior identifier, by which the patient was found, is a retired one and leads to the patient."""
    return prior.number != patient.patient_id or not patients.compatible(prior.issuer, patient.issuer)


def _stored(connection: Connection, identifier: EntityId) -> Patient | None:
    return reading.find_patient(connection, identifier.number, identifier.issuer)


def _refused(change: Replacement, text: str) -> Planned:
    return Planned(findings=(Finding(change.location, ErrorCode.DUPLICATE_KEY, text),))


def _merge(
    change: Merge,
    asked: PatientChange,
    survivor: Patient | None,
    retired: Patient | None,
    named: EntityId,
    connection: Connection,
    context: StoryContext,
) -> tuple[AuditEntry, ...]:
    at, prior = context.at.timestamp(), change.prior
    before = survivor or Patient(None, asked.patient_id, asked.issuer, _demographics(retired))
    attributes = merged(before.attributes, asked.attributes)
    aliases = (*before.aliases, *(retired.aliases if retired else ()), prior)
    if retired is not None:
        attributes = _with_allergies(attributes, retired)
    own = EntityId(before.patient_id, before.issuer)
    after = replace(before, attributes=attributes, aliases=patients.without(aliases, own))
    after = save(connection, survivor, after, at)
    row = after.row or 0
    detail: Document = {"event": change.event.trigger}
    if retired is not None and retired.row is not None:
        writing.propagate(connection, retired, after, None, at)
        detail["retired"] = {"row": retired.row, "attributes": retired.attributes}
        detail["orders"] = store.orders_of(connection, retired.row)
        detail["visits"] = [visit.row for visit in store.visits(connection, retired.row)]
        detail["studies"] = store.studies_received(connection, retired.row)
        store.absorb(connection, retired.row, row)
    for identifier in patients.without((prior, _under(named, own))):
        store.add_alias(connection, identifier, row, at)
    store.rekey(connection, prior, own)
    if asked.attributes:
        heard(connection, "patient", row, change.event)
    return (AuditEntry("patient.merged", "patient", row, detail),)


def _demographics(patient: Patient | None) -> Document:
    """What a patient is made of who is known by another identifier only: all but that one, and an age once guessed."""
    attributes = patient.attributes if patient else {}
    return {keyword: value for keyword, value in attributes.items() if keyword not in _OF_IDENTIFIER}


def _with_allergies(attributes: Document, retired: Patient) -> Document:
    """What is known of allergies under either identifier; nobody may lose one by a merge."""
    both = dict.fromkeys([*attributes.get("Allergies", []), *retired.attributes.get("Allergies", [])])
    return {**attributes, "Allergies": list(both)} if both else attributes


def change_identifier(connection: Connection, change: IdentifierChange, context: StoryContext, mint: Minter) -> Planned:
    """Plan a change of identifier. Refused: the new one is somebody else's, the prior one leads to somebody else."""
    if reason := change.refusal():
        return _refused(change, reason)
    if not change.replaces(change.prior):
        return Planned()
    named, (change, owner, known) = change, _found(connection, change)
    if owner is not None and (known is None or owner.row != known.row):
        return _refused(change, "The new identifier belongs to another patient")
    if known is not None and _leads(change.prior, known):
        if owner is None:
            return _refused(change, "The prior identifier leads to another patient already")
        return Planned(findings=(Finding(change.location, ErrorCode.ACCEPTED, _DONE, Severity.WARNING),))
    findings = (*unnamed(change.patient, change.location), _unknown(change)) if known is None else ()
    asked = change.patient
    if known is not None and is_late(connection, "patient", known.row, change.event):
        asked = replace(asked, attributes={})
    return Planned(findings=findings, write=partial(_rename, change, asked, known, named.prior))


def _rename(
    change: IdentifierChange,
    asked: PatientChange,
    known: Patient | None,
    named: EntityId,
    connection: Connection,
    context: StoryContext,
) -> tuple[AuditEntry, ...]:
    at, prior, new = context.at.timestamp(), change.prior, change.patient.identifier
    before = known or Patient(None, new.number, new.issuer, {})
    aliases = patients.without((*before.aliases, prior), new)
    after = Patient(before.row, new.number, new.issuer, merged(_demographics(known), asked.attributes), aliases)
    row = save(connection, known, after, at).row or 0
    store.drop_alias(connection, new)
    for identifier in patients.without((prior, _under(named, new)), new):
        store.add_alias(connection, identifier, row, at)
    store.rekey(connection, prior, new)
    if asked.attributes:
        heard(connection, "patient", row, change.event)
    return (AuditEntry("patient.identifier-changed", "patient", row, {"event": change.event.trigger}),)
