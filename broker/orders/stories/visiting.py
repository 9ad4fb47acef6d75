"""Changes what the orders of a patient show of a visit, records arrivals, moves a visit to another patient."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from sqlalchemy import Connection

from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.findings import Finding
from broker.model.order import Document, EntityId, Order, Patient, StepStatus
from broker.model.visit import Visit, VisitState
from broker.orders.core import patients
from broker.orders.core.context import AuditEntry, StoryContext
from broker.orders.core.identifiers import Minter
from broker.orders.core.patients import AdtEvent, PatientArrival, VisitChange, VisitMove
from broker.orders.core.values import merged
from broker.orders.stories import writing
from broker.orders.stories.planned import Planned
from broker.orders.stories.registering import LATE, heard, is_late, open_orders
from broker.store.orders import patients as store
from broker.store.orders import reading

_NOTHING_TO_MOVE = Finding(
    "MRG^1^5", ErrorCode.ACCEPTED, "The visit is not known: there is nothing to move", Severity.WARNING
)


def story(connection: Connection, change: VisitChange, context: StoryContext, mint: Minter) -> Planned:
    """Plan the change of a visit."""
    patient = _patient(connection, change.patient)
    if patient is None:  # refused by the update before this
        return Planned()
    stored = store.find_visit(connection, patient.row or 0, change.number)
    if stored is not None and is_late(connection, "visit", stored.row, change.event):
        return Planned(findings=(LATE,), write=lambda *_: (_entry("late", stored.row, change.event),))
    return Planned(write=partial(_change, change, patient, stored))


def _patient(connection: Connection, identifier: EntityId) -> Patient | None:
    return reading.find_patient(connection, identifier.number, identifier.issuer)


def _entry(action: str, row: int | None, event: AdtEvent) -> AuditEntry:
    return AuditEntry(f"visit.{action}", "visit", row or 0, {"event": event.trigger})


def _change(
    change: VisitChange, patient: Patient, stored: Visit | None, connection: Connection, context: StoryContext
) -> tuple[AuditEntry, ...]:
    event, at, given = change.event, context.at.timestamp(), change.attributes
    visit = stored or Visit(row=None, patient=patient.row or 0, number=change.number)
    state = change.state or visit.state
    opens = state == VisitState.OPEN and (stored is None or visit.state != VisitState.OPEN)
    visit = replace(
        visit,
        location=given.get("CurrentPatientLocation", visit.location),
        patient_class=given.get("RouteOfAdmissions", visit.patient_class),
        state=state,
        opened_at=at if opens and event.trigger != "A13" else visit.opened_at,
        closed_at=0 if state == VisitState.OPEN else at if state != visit.state else visit.closed_at,
    )
    row = store.save_visit(connection, visit, at)
    heard(connection, "visit", row, event)
    concerned = patients.of_visit(open_orders(connection, patient.row or 0), change.number.number)
    entries = [_entry("changed" if stored else "created", row, event)]
    if state == VisitState.CANCELED:
        entries += [
            AuditEntry("order.visit-canceled", "order", order.row or 0, {"event": event.trigger}) for order in concerned
        ]
        return tuple(entries)
    for order in concerned:
        _write(connection, order, replace(order, attributes=_shown(order, given)), event, context)
    return tuple(entries)


def _shown(order: Order, given: Document) -> Document:
    """Attributes of an order after news of its visit: a referring physician that the order named stays."""
    keep = {"ReferringPhysicianName"} & order.attributes.keys()
    return merged(order.attributes, {keyword: value for keyword, value in given.items() if keyword not in keep})


def _write(connection: Connection, before: Order, after: Order, event: AdtEvent, context: StoryContext) -> bool:
    """Write an order that an event has changed; False if it has not."""
    if after != before:
        writing.write(connection, after, before, event.cause, context)
    return after != before


def arrival(connection: Connection, change: PatientArrival, context: StoryContext, mint: Minter) -> Planned:
    """Plan an arrival."""
    return Planned(write=partial(_arrive, change))


def _arrive(change: PatientArrival, connection: Connection, context: StoryContext) -> tuple[AuditEntry, ...]:
    """SCHEDULED steps of today become ARRIVED; what is further on stays."""
    patient = _patient(connection, change.patient)
    assert patient is not None
    orders = open_orders(connection, patient.row or 0)
    if change.number.number:
        orders = patients.of_visit(orders, change.number.number)
    entries = []
    for order in orders:
        if _write(connection, order, _arrived(order, context.received[:8]), change.event, context):
            entries.append(AuditEntry("order.arrived", "order", order.row or 0, {"event": change.event.trigger}))
    return tuple(entries)


def _arrived(order: Order, today: str) -> Order:
    procedures = []
    for procedure in order.procedures:
        steps = tuple(
            replace(step, status=StepStatus.ARRIVED)
            if step.status == StepStatus.SCHEDULED and step.start_at[:8] == today
            else step
            for step in procedure.steps
        )
        procedures.append(replace(procedure, steps=steps))
    return replace(order, procedures=tuple(procedures))


def move(connection: Connection, change: VisitMove, context: StoryContext, mint: Minter) -> Planned:
    """Plan the move of a visit with its orders, those that have ended too."""
    patient, prior = _patient(connection, change.patient), _patient(connection, change.prior)
    if patient is None:  # refused by the update before this
        return Planned()
    if prior is None or prior.row == patient.row:
        return Planned(findings=(_NOTHING_TO_MOVE,))
    rows = store.orders_of(connection, prior.row or 0)
    loaded = (reading.load_order(connection, row) for row in rows)
    moved = [order for order in loaded if order.attributes.get("AdmissionID") == change.prior_number.number]
    visit = store.find_visit(connection, prior.row or 0, change.prior_number)
    if visit is None and not moved:
        return Planned(findings=(_NOTHING_TO_MOVE,))
    return Planned(write=partial(_move, change, patient, moved, visit))


def _move(
    change: VisitMove,
    patient: Patient,
    moved: list[Order],
    visit: Visit | None,
    connection: Connection,
    context: StoryContext,
) -> tuple[AuditEntry, ...]:
    event, row, number = change.event, patient.row or 0, change.number if change.number.number else change.prior_number
    for order in moved:
        shown = _shown(order, change.attributes)
        _write(connection, order, replace(order, patient=patient, attributes=shown), event, context)
    entries = [AuditEntry("order.moved", "order", order.row or 0, {"event": event.trigger}) for order in moved]
    if visit is not None:
        kept = store.move_visit(connection, visit, row, number)
        entries.append(_entry("moved", kept, event))
    return tuple(entries)
