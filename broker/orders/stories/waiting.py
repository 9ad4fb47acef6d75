"""Appointments that came before their order: kept for it, and applied in the transaction that writes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import Connection

from broker.orders.core import booking, plan
from broker.orders.core.appointments import Asked, slots_of
from broker.orders.core.booking import Wish
from broker.orders.core.story import AuditEntry, Context
from broker.orders.core.values import Order, PatientChange
from broker.store.orders import appointments as store
from broker.store.orders import orders_read
from broker.store.orders.appointments import Appointment

Write = Callable[[Connection, Order, Order, str, Context], int]


def settle(
    connection: Connection, request: int, written: Order, write: Write, context: Context
) -> tuple[AuditEntry, ...]:
    """Apply what waits for an order (row) that has just been written; what to record in the audit trail.

    `write` is `ordering.write`, whose module calls this.
    """
    found = store.waiting(connection, written.filler, written.placer)
    if not found:
        return ()
    order = orders_read.load_order(connection, request)  # with the rows of what is new
    entries = []
    for one in found:
        if one.patient_id and not plan.same_patient(order.patient, PatientChange(one.patient_id, one.issuer, {})):
            continue
        kept = replace(one, request=request)
        if one.state == store.BOOKED:
            order, kept = _book(connection, order, kept, write, context)
        store.save(connection, kept, context.at.timestamp())
        action = "booked" if one.state == store.BOOKED else "unchanged"
        entries.append(AuditEntry(f"appointment.{action}", "order", request, {"event": one.event}))
    return tuple(entries)


def _book(
    connection: Connection, order: Order, one: Appointment, write: Write, context: Context
) -> tuple[Order, Appointment]:
    wish = Wish(Asked.BOOK, one.event, slots_of(one.slots))
    made = booking.booked(order, wish, context.default_station)
    if made.order != order:
        write(connection, made.order, order, f"appointment:{one.event}", context)
    return made.order, replace(one, steps=made.moved, slots=())
