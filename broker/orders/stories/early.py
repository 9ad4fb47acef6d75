"""Applies to an order, as it is written, what came before it: appointments, and performed procedure steps."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from broker.model.appointment import Appointment, AppointmentState
from broker.model.order import Order
from broker.model.performed import Linking
from broker.orders.core import booking, plan
from broker.orders.core.appointments import Asked, slots_of
from broker.orders.core.booking import Wish
from broker.orders.core.story import AuditEntry, Context
from broker.orders.core.values import PatientChange
from broker.orders.stories import matching, performing, writing
from broker.store.mpps import performed_steps
from broker.store.orders import reading, waiting


def link_performed(
    connection: Connection, request: int, written: Order, before: Order | None, context: Context
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
    found = {item for key in keys for item in performed_steps.waiting(connection, *key)}
    entries: list[AuditEntry] = []
    for row in sorted({row for row, _ in found}):
        entries += _link(connection, request, row, {position for r, position in found if r == row}, context)
    return tuple(entries)


def _link(connection: Connection, request: int, row: int, positions: set[int], context: Context) -> list[AuditEntry]:
    """Link those items of an MPPS that mean a step of the order, for the same patient only."""
    one = performed_steps.load(connection, row)
    patient = matching.patient_of(one.document) if one else None
    if one is None or patient is None or one.linking not in {Linking.UNSCHEDULED, Linking.PARTLY}:
        return []
    items = one.document.get("ScheduledStepAttributesSequence", [])
    steps = []
    for position in sorted(positions):
        made = matching.find(connection, matching.keys_of(items[position]), patient)
        if made.order == request and made.step is not None:
            performed_steps.set_link(connection, row, position, made.step, f"late:{made.reason}")
            steps.append(made.step)
    if not steps:
        return []
    # the sender of the order knows nothing of it: that it begins or ends was done by a modality, not by this message
    codes = performing.follow(connection, steps, row, "late-order", replace(context, sender=None))
    linking = matching.summary((link.step, link.reason) for link in performed_steps.links(connection, row))
    attention = one.attention if one.attention not in {Linking.UNSCHEDULED, Linking.PARTLY} else ""
    performed_steps.save(
        connection,
        replace(
            one,
            linking=linking,
            attention=min(codes, default="") or attention or matching.waits(linking),
            revision=one.revision + 1,
            updated_at=context.at.timestamp(),
            findings=tuple(dict.fromkeys((*one.findings, *sorted(codes)))),
        ),
    )
    return [AuditEntry("mpps.linked", "mpps", row, {"order": request, "steps": steps, "by": "late order"})]


def book_appointments(connection: Connection, request: int, written: Order, context: Context) -> tuple[AuditEntry, ...]:
    """Apply what waits for an order (row) that has just been written; what to record in the audit trail."""
    found = waiting.appointments(connection, written.filler, written.placer)
    if not found:
        return ()
    order = reading.load_order(connection, request)  # with the rows of what is new
    entries = []
    for one in found:
        if one.patient_id and not plan.same_patient(order.patient, PatientChange(one.patient_id, one.issuer, {})):
            continue
        kept = replace(one, request=request)
        if one.state == AppointmentState.BOOKED:
            order, kept = _book(connection, order, kept, context)
        waiting.save_appointment(connection, kept, context.at.timestamp())
        action = "booked" if one.state == AppointmentState.BOOKED else "unchanged"
        entries.append(AuditEntry(f"appointment.{action}", "order", request, {"event": one.event}))
    return tuple(entries)


def _book(connection: Connection, order: Order, one: Appointment, context: Context) -> tuple[Order, Appointment]:
    wish = Wish(Asked.BOOK, one.event, slots_of(one.slots))
    made = booking.booked(order, wish, context.default_station)
    if made.order != order:
        writing.write(connection, made.order, order, f"appointment:{one.event}", context)
    return made.order, replace(one, steps=made.moved, slots=())
