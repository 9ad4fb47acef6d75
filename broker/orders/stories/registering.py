"""Creates a patient, or changes the demographics wherever they are shown."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from sqlalchemy import Connection

from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.findings import Finding
from broker.model.order import Order, Patient
from broker.orders.core import lifecycle, patients
from broker.orders.core.context import AuditEntry, StoryContext
from broker.orders.core.identifiers import Minter
from broker.orders.core.patients import AdtEvent, PatientUpdate
from broker.orders.core.values import PatientChange, merged
from broker.orders.lookup import patient_terms
from broker.orders.stories import writing
from broker.orders.stories.planned import Planned
from broker.store.orders import patients as store
from broker.store.orders import reading, saving

LATE = Finding(
    "EVN^1^2", ErrorCode.ACCEPTED, "The sender has sent newer data: recorded without effect", Severity.WARNING
)
_ALLERGIES = "Allergies"


def story(connection: Connection, change: PatientUpdate, context: StoryContext, mint: Minter) -> Planned:
    """Plan the update of a patient."""
    known = reading.find_patient(connection, change.patient.patient_id, change.patient.issuer)
    asked, findings = patients.redirected(change.patient, known)
    if known is None:
        findings += unnamed(asked, change.location)
    elif asked.attributes and is_late(connection, "patient", known.row, change.event):
        act = partial(_record_late, known.row or 0, change.event)
        return Planned(findings=(*findings, LATE), write=act)
    return Planned(findings=findings, write=partial(_update, change.event, asked, known))


def unnamed(asked: PatientChange, location: str, known: Patient | None = None) -> tuple[Finding, ...]:
    """What is wrong with a patient to be created, perhaps of one who is `known` by another identifier."""
    if asked.attributes.get("PatientName") or (known is not None and known.attributes.get("PatientName")):
        return ()
    return (Finding(location, ErrorCode.REQUIRED_FIELD_MISSING, "Patient name is missing"),)


def is_late(connection: Connection, kind: str, row: int | None, event: AdtEvent) -> bool:
    """True if the same sender's newest message that was applied to a patient or visit is certainly newer."""
    return row is not None and patients.older(event.at, store.last_heard(connection, kind, row, event.sender))


def heard(connection: Connection, kind: str, row: int, event: AdtEvent) -> None:
    """Remember that an event was applied, if it says when it was."""
    if event.at:
        store.hear(connection, kind, row, event.sender, event.at)


def save(
    connection: Connection, known: Patient | None, after: Patient, at: float, *, said: float | None = None
) -> Patient:
    """Write a patient and show the change in the open steps of all orders; `known` is what was there.

    `said`: when it was said, if not now (`at`), both in s since the epoch.
    """
    said = at if said is None else said
    if known is not None and after == known:
        saving.said_again(connection, known.row or 0, said)
        return known
    terms = patient_terms.news(known, after)
    after = replace(after, row=saving.save_patient(connection, after, said, terms))
    if known is not None:
        writing.propagate(connection, known, after, None, at)
    return after


def open_orders(connection: Connection, patient: int) -> list[Order]:
    """Orders of a patient (row) with open steps."""
    rows = store.orders_of(connection, patient, lifecycle.OPEN)
    return [reading.load_order(connection, row) for row in rows]


def _record_late(row: int, event: AdtEvent, connection: Connection, context: StoryContext) -> tuple[AuditEntry, ...]:
    return (AuditEntry("patient.late", "patient", row, {"event": event.trigger}),)


def _update(
    event: AdtEvent, asked: PatientChange, known: Patient | None, connection: Connection, context: StoryContext
) -> tuple[AuditEntry, ...]:
    before = known or Patient(None, asked.patient_id, asked.issuer, {})
    after = save(
        connection,
        known,
        replace(before, attributes=merged(before.attributes, asked.attributes)),
        context.at.timestamp(),
    )
    row = after.row or 0
    if _ALLERGIES in asked.attributes:
        _replace_allergies(connection, row, event, context)
    if asked.attributes:
        heard(connection, "patient", row, event)
    action = "created" if known is None else "unchanged" if after == known else "updated"
    return (AuditEntry(f"patient.{action}", "patient", row, {"event": event.trigger}),)


def _replace_allergies(connection: Connection, patient: int, event: AdtEvent, context: StoryContext) -> None:
    """The allergies of a message replace those that orders brought: these give way to the patient's."""
    for order in open_orders(connection, patient):
        if _ALLERGIES in order.attributes:
            rest = {keyword: value for keyword, value in order.attributes.items() if keyword != _ALLERGIES}
            writing.write(connection, replace(order, attributes=rest), order, event.cause, context)
