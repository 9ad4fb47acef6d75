"""Settles which order is meant where several have one number.

Two orders get one number when the broker learns that two names are one authority (`orders.stories.identity`). If they
can be one exam, one of them stays in force and the other is joined into it: its steps are cancelled as far as they have
not begun, its appointments go over. The exam stands once in the worklist, and whoever names a number of either means
it (`store.orders.by_number`). Else both stay, and a message means the one of its patient and exam, or it is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from broker.hl7.codes import ErrorCode
from broker.hl7.findings import Finding
from broker.model.appointment import AppointmentState
from broker.model.order import EntityId, Order, OrderLinkKind, StepStatus
from broker.orders.core import lifecycle, patients, progress
from broker.orders.core.context import AuditEntry, StoryContext
from broker.orders.core.lifecycle import Action
from broker.orders.core.values import OrderChange
from broker.orders.lookup import several
from broker.orders.stories import writing
from broker.store.orders import by_number, joined_names, reading, saving, waiting

_ONE = "Two orders have one number under the two names of its authority: the one that was changed last is in force"
_BEGUN = "Two orders have one number under the two names of its authority: the one whose examination began is in force"
_APART = "Two orders have one number under the two names of its authority: they are kept apart"
_CANCELLED = "A cancel came before under the other name of the authority of an order number: the order is cancelled"
_STARTED = "A cancel came before under the other name of the authority of an order number: the examination has started"
CAUSE = "order:same-number"


def unite(connection: Connection, row: int, other: int, context: StoryContext) -> tuple[str, Sequence[AuditEntry]]:
    """Settle which of two orders (rows) with one number is in force; what to say of it, and the audit entries.

    Nothing is said of those that are linked already: joined orders, a replaced one, a child.
    """
    row, other = by_number.in_force(connection, row), by_number.in_force(connection, other)
    if row == other or by_number.secondary(connection, [row, other]):
        return "", ()
    orders = [reading.load_order(connection, number) for number in (row, other)]
    reading.lock(connection, [patients.patient_name(order.patient.patient_id) for order in orders])
    orders = [reading.load_order(connection, number) for number in (row, other)]
    if not several.one_exam(*orders):
        return _APART, [AuditEntry("order.same-number", "order", row, {"order": other})]
    last, first = sorted(orders, key=lambda order: _weight(connection, order), reverse=True)
    assert last.row is not None
    assert first.row is not None
    quiet = replace(context, subscribers=())  # the number that the RIS knows is not cancelled
    kept = replace(last, placer=_number(last.placer, first.placer), filler=_number(last.filler, first.filler))
    if kept != last:
        writing.write(connection, kept, last, CAUSE, quiet)
    ended, _ = progress.moved(first, Action.CANCEL, frozenset())
    if ended != first:
        writing.write(connection, ended, first, CAUSE, quiet)
    saving.link(connection, last.row, OrderLinkKind.JOINED, first.row)
    _take_over(connection, first, last, context)
    detail = {"order": first.row, "kept": {"placer": kept.placer.number, "filler": kept.filler.number}}
    return _BEGUN if _begun(last) else _ONE, [AuditEntry("order.same-number", "order", last.row, detail)]


def cancel(connection: Connection, row: int, context: StoryContext) -> tuple[str, Sequence[AuditEntry]]:
    """Apply the cancels that are kept for an order (row); what to say of it, and the audit entries."""
    reading.lock(connection, reading.lock_names(connection, row))
    stored = reading.load_order(connection, row)
    patient = stored.patient.patient_id
    cancels = waiting.cancels(connection, stored.filler, stored.placer, stored.accession, patient)
    order, started = stored, False
    for kept in cancels.values():
        wanted = lifecycle.action(kept.control, kept.order_status)
        order, refused = progress.moved(order, wanted, frozenset(kept.steps))
        started = started or refused
    waiting.drop_cancels(connection, cancels)
    controls = [kept.control for kept in cancels.values()]
    if order == stored:
        detail = {"control": controls[0], "why": "started"} if started else {}
        return (_STARTED, [AuditEntry("order.not-canceled", "order", row, detail)]) if started else ("", ())
    writing.write(connection, order, stored, f"overtaken:{controls[0]}", context)
    return _CANCELLED, [AuditEntry("order.canceled", "order", row, {"control": controls[0], "why": "authority"})]


def _take_over(connection: Connection, joined: Order, order: Order, context: StoryContext) -> None:
    """Make the appointments of a joined order those of the order in force; a step that has one keeps it."""
    assert joined.row is not None
    assert order.row is not None
    stands, at = by_number.counterparts(joined, order), context.at.timestamp()
    mine = [one for one in waiting.appointments_of(connection, order.row) if one.state == AppointmentState.BOOKED]
    taken = frozenset(step for one in mine for step in one.steps)
    for one in waiting.appointments_of(connection, joined.row):
        steps = frozenset(stands[step] for step in one.steps if step in stands) - taken
        waiting.save_appointment(connection, replace(one, request=order.row, steps=steps), at)


def _weight(connection: Connection, order: Order) -> tuple[bool, float, int]:
    row = order.row or 0
    return _begun(order), joined_names.order_written_at(connection, row), row


def _begun(order: Order) -> bool:
    """An examination of it is or was at work."""
    return any(step.status in (StepStatus.STARTED, StepStatus.COMPLETED) for step in order.steps())


def _number(own: EntityId, other: EntityId) -> EntityId:
    return own if own.number else other


def undecided(change: OrderChange) -> Finding:
    """The refusal of a change that may mean several orders."""
    field = "3" if change.filler.number else "2"
    location = f"{change.control_location.rpartition('^')[0]}^{field}"
    return Finding(location, ErrorCode.DUPLICATE_KEY, f"{several.HAVE_IT}: which one is meant is not told")
