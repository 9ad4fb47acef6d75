"""Applies to an order, when it is written, what came before it: appointments and performed procedure steps."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from broker.model.appointment import Appointment, AppointmentState
from broker.model.order import Order
from broker.model.performed import Linking
from broker.orders.core import booking, plan
from broker.orders.core.appointments import AppointmentAction, slots_of
from broker.orders.core.booking import Wish
from broker.orders.core.context import AuditEntry, StoryContext
from broker.orders.core.values import PatientChange
from broker.orders.lookup import matching
from broker.orders.stories import performing, writing
from broker.store.mpps import performed_steps
from broker.store.orders import reading, waiting


def link_performed(
    connection: Connection, request: int, written: Order, before: Order | None, context: StoryContext
) -> tuple[AuditEntry, ...]:
    """Link what waits for an order (row) that has just been written, `before` being what was there.

    What to record in the audit trail.
    """
    known = {step.row for step in before.steps()} if before else set()
    keys = {
        (procedure.study_instance_uid, written.accession, procedure.requested_procedure_id)
        for procedure in written.procedures
        if any(step.row is None or step.row not in known for step in procedure.steps)
    }
    items = {item for key in keys for item in performed_steps.waiting(connection, *key)}
    entries: list[AuditEntry] = []
    for row in sorted({row for row, _ in items}):
        entries += _link(connection, request, row, {position for r, position in items if r == row}, context)
    return tuple(entries)


def _link(
    connection: Connection, request: int, row: int, positions: set[int], context: StoryContext
) -> list[AuditEntry]:
    """Link those items of an MPPS that mean a step of the order, for the same patient only."""
    performed = performed_steps.load(connection, row)
    patient = matching.patient_of(performed.document) if performed else None
    if performed is None or patient is None or performed.linking not in {Linking.UNSCHEDULED, Linking.PARTLY}:
        return []
    items = performed.document.get("ScheduledStepAttributesSequence", [])
    steps, doubts = [], set[str]()
    for position in sorted(positions):
        match = matching.find(connection, matching.keys_of(items[position]), patient)
        if match.order == request and match.step is not None:
            performed_steps.set_link(connection, row, position, match.step, f"late:{match.reason}")
            steps.append(match.step)
            doubts |= {*match.doubts}
    if not steps:
        return []
    # the sender of the order knows nothing of it: that it begins or ends was done by a modality, not by this message
    codes = performing.follow(connection, steps, row, "late-order", replace(context, sender=None))
    linking = matching.summary((link.step, link.reason) for link in performed_steps.links(connection, row))
    attention = performed.attention if performed.attention not in {Linking.UNSCHEDULED, Linking.PARTLY} else ""
    performed_steps.save(
        connection,
        replace(
            performed,
            linking=linking,
            attention=min(codes, default="") or attention or matching.waits(linking, doubts),
            revision=performed.revision + 1,
            updated_at=context.at.timestamp(),
            findings=tuple(dict.fromkeys((*performed.findings, *sorted(doubts), *sorted(codes)))),
        ),
    )
    return [AuditEntry("mpps.linked", "mpps", row, {"order": request, "steps": steps, "by": "late order"})]


def book_appointments(
    connection: Connection, request: int, written: Order, context: StoryContext
) -> tuple[AuditEntry, ...]:
    """Apply what waits for an order (row) that has just been written; what to record in the audit trail."""
    appointments = waiting.appointments(connection, written.filler, written.placer)
    if not appointments:
        return ()
    order = reading.load_order(connection, request)  # with the rows of what is new
    entries = []
    for appointment in appointments:
        if appointment.patient_id and not plan.same_patient(
            order.patient, PatientChange(appointment.patient_id, appointment.issuer, {})
        ):
            continue
        kept = replace(appointment, request=request)
        if appointment.state == AppointmentState.BOOKED:
            order, kept = _book(connection, order, kept, context)
        waiting.save_appointment(connection, kept, context.at.timestamp())
        action = "booked" if appointment.state == AppointmentState.BOOKED else "unchanged"
        entries.append(AuditEntry(f"appointment.{action}", "order", request, {"event": appointment.event}))
    return tuple(entries)


def _book(
    connection: Connection, order: Order, appointment: Appointment, context: StoryContext
) -> tuple[Order, Appointment]:
    wish = Wish(AppointmentAction.BOOK, appointment.event, slots_of(appointment.slots))
    result = booking.booked(order, wish, context.default_station)
    if result.order != order:
        writing.write(connection, result.order, order, f"appointment:{appointment.event}", context)
    return result.order, replace(appointment, steps=result.moved, slots=())
