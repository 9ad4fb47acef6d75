"""Merges two patients, or gives one patient another identifier.

Orders, visits and the worklist answers of open steps change in the transaction of the message. Answers of steps that
have ended stay as they were. The retired identifier leads to the patient from now on, also if it was never heard of.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from sqlalchemy import Connection

from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.findings import Finding
from broker.model.order import Document, EntityId, Patient
from broker.orders.core import patients
from broker.orders.core.context import AuditEntry, StoryContext
from broker.orders.core.identifiers import Minter
from broker.orders.core.patients import IdentifierChange, Merge, Replacement
from broker.orders.core.values import PatientChange, merged
from broker.orders.stories import writing
from broker.orders.stories.planned import Planned
from broker.orders.stories.registering import heard, is_late, save, unnamed
from broker.store.orders import patients as store
from broker.store.orders import reading

_DONE = "This was done before: recorded without effect"


def story(connection: Connection, change: Merge, context: StoryContext, mint: Minter) -> Planned:
    """Plan a merge. Refused: a circle, a retired identifier that leads to somebody else."""
    survivor, retired, prior = _found(connection, change)
    asked, findings = patients.redirected(change.patient, survivor)
    if survivor is not None and retired is not None and survivor.row == retired.row:
        if not patients.is_retired(retired, prior):
            return _refused(change, "The patient was merged into the one to be retired")
        return Planned(findings=(*findings, Finding(change.location, ErrorCode.ACCEPTED, _DONE, Severity.WARNING)))
    if retired is not None and patients.is_retired(retired, prior):
        return _refused(change, "The prior identifier leads to another patient already")
    if survivor is None:
        findings += unnamed(asked, change.location)
    elif asked.attributes and is_late(connection, "patient", survivor.row, change.event):
        asked = replace(asked, attributes={})
    return Planned(findings=findings, write=partial(_merge, change, asked, survivor, retired, prior))


def _found(connection: Connection, change: Replacement) -> tuple[Patient | None, Patient | None, EntityId]:
    """The patient, the one of the prior identifier, and that identifier; as stored without authority if only so."""
    patient = reading.find_patient(connection, change.patient.patient_id, change.patient.issuer)
    for prior in (change.prior, EntityId(change.prior.number)):
        known = reading.find_patient(connection, prior.number, prior.issuer)
        if known is not None:
            return patient, known, prior
    return patient, None, change.prior


def _refused(change: Replacement, text: str) -> Planned:
    return Planned(findings=(Finding(change.location, ErrorCode.DUPLICATE_KEY, text),))


def _merge(
    change: Merge,
    asked: PatientChange,
    survivor: Patient | None,
    retired: Patient | None,
    prior: EntityId,
    connection: Connection,
    context: StoryContext,
) -> tuple[AuditEntry, ...]:
    at = context.at.timestamp()
    before = survivor or Patient(None, asked.patient_id, asked.issuer, {})
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
        store.absorb(connection, retired.row, row, at)
    for identifier in patients.without((prior, change.prior)):
        store.add_alias(connection, identifier, row, at)
    store.rekey(connection, prior, own)
    if asked.attributes:
        heard(connection, "patient", row, change.event)
    return (AuditEntry("patient.merged", "patient", row, detail),)


def _with_allergies(attributes: Document, retired: Patient) -> Document:
    """What is known of allergies under either identifier; nobody may lose one by a merge."""
    both = dict.fromkeys([*attributes.get("Allergies", []), *retired.attributes.get("Allergies", [])])
    return {**attributes, "Allergies": list(both)} if both else attributes


def change_identifier(connection: Connection, change: IdentifierChange, context: StoryContext, mint: Minter) -> Planned:
    """Plan a change of identifier. Refused: the new one is somebody else's, the prior one leads to somebody else."""
    owner, known, prior = _found(connection, change)
    new = EntityId(change.patient.patient_id, change.patient.issuer)
    if owner is not None and (known is None or owner.row != known.row):
        return _refused(change, "The new identifier belongs to another patient")
    if known is not None and patients.is_retired(known, prior):
        if owner is None:
            return _refused(change, "The prior identifier leads to another patient already")
        return Planned(findings=(Finding(change.location, ErrorCode.ACCEPTED, _DONE, Severity.WARNING),))
    findings = unnamed(change.patient, change.location) if known is None else ()
    asked = change.patient
    if known is not None and is_late(connection, "patient", known.row, change.event):
        asked = replace(asked, attributes={})
    return Planned(findings=findings, write=partial(_rename, change, asked, known, prior, new))


def _rename(
    change: IdentifierChange,
    asked: PatientChange,
    known: Patient | None,
    prior: EntityId,
    new: EntityId,
    connection: Connection,
    context: StoryContext,
) -> tuple[AuditEntry, ...]:
    at = context.at.timestamp()
    before = known or Patient(None, new.number, new.issuer, {})
    old = {
        keyword: value
        for keyword, value in before.attributes.items()
        if keyword not in {"PatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence"}
    }
    aliases = patients.without((*before.aliases, prior), new)
    after = Patient(before.row, new.number, new.issuer, merged(old, asked.attributes), aliases)
    row = save(connection, known, after, at).row or 0
    store.drop_alias(connection, new)
    for identifier in patients.without((prior, change.prior), new):
        store.add_alias(connection, identifier, row, at)
    store.rekey(connection, prior, new)
    if asked.attributes:
        heard(connection, "patient", row, change.event)
    return (AuditEntry("patient.identifier-changed", "patient", row, {"event": change.event.trigger}),)
