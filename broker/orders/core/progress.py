"""Decides what an order message that writes no values makes of a stored order: status, holding, filler number.

Also what a message that is older, or a cancel that came before its order, does to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.findings import Finding
from broker.model.order import KeptCancel, Order, Procedure, Step, Written
from broker.orders.core import lifecycle
from broker.orders.core.lifecycle import Action, Effect
from broker.orders.core.values import OrderAction, OrderChange, Plan, StepNames, merged

_ACTIONS = {
    Action.CANCEL: OrderAction.CANCELED,
    Action.DISCONTINUE: OrderAction.DISCONTINUED,
    Action.HOLD: OrderAction.HELD,
    Action.RELEASE: OrderAction.RELEASED,
}


def make(change: OrderChange, wanted: Action, stored: Order | None) -> Plan:
    """Plan a change that writes no values."""
    if wanted is Action.NOTHING or (wanted is Action.LINK and stored is None):
        text = "Order control is not acted on: recorded without effect"
        finding = Finding(change.control_location, ErrorCode.ACCEPTED, text, Severity.WARNING)
        return Plan(action=OrderAction.UNCHANGED, findings=(finding,), row=stored.row if stored else None)
    if stored is None:
        return _unknown(change, wanted)
    if wanted in {Action.ASK, Action.LINK}:
        return Plan(action=OrderAction.UNCHANGED, row=stored.row)
    if wanted is Action.NUMBER:
        return _number(change, stored)
    return _set_status(change, wanted, stored)


def late(change: OrderChange, stored: Order, text: str = "The order has ended: recorded without effect") -> Plan:
    """A change that came too late: recorded without effect."""
    finding = Finding(change.control_location, ErrorCode.ACCEPTED, text, Severity.WARNING)
    return Plan(action=OrderAction.LATE, findings=(finding,), row=stored.row, done=False)


def moved(order: Order, wanted: Action, names: StepNames) -> tuple[Order, bool]:
    """An order after a change of status of the steps named; whether one of them refuses it, then all stays."""
    targets = _targets(order, names)
    procedures: list[Procedure] = []
    for procedure in order.procedures:
        steps: list[Step] = []
        for step in procedure.steps:
            effect, status = lifecycle.apply(wanted, step.status)
            if step.step_id not in targets or effect is Effect.NONE:
                steps.append(step)
            elif effect is Effect.REFUSE:
                return order, True
            else:
                steps.append(replace(step, status=status, held=lifecycle.held(wanted, status, step.held)))
        procedures.append(replace(procedure, steps=tuple(steps)))
    return replace(order, procedures=tuple(procedures)), False


def _targets(order: Order, names: StepNames) -> StepNames:
    """The steps named; all if a name is not known, as senders put other things there."""
    known = frozenset(step.step_id for step in order.steps())
    return names if names and names <= known else known


def _unknown(change: OrderChange, wanted: Action) -> Plan:
    location = change.control_location.rsplit("^", 1)[0] + "^2"
    if wanted not in {Action.CANCEL, Action.DISCONTINUE} or not change.parks:
        return Plan(
            action=OrderAction.REFUSED,
            findings=(Finding(location, ErrorCode.UNKNOWN_KEY, "The order is not known"),),
            done=False,
        )
    text = "The order is not known yet: if it comes, it is stored as cancelled"
    return Plan(action=OrderAction.PARKED, findings=(Finding(location, ErrorCode.UNKNOWN_KEY, text, Severity.WARNING),))


def _number(change: OrderChange, stored: Order) -> Plan:
    attributes = merged(stored.attributes, change.request)
    order = replace(stored, filler=change.filler, attributes=attributes)
    if order == stored:
        return Plan(action=OrderAction.UNCHANGED, row=stored.row)
    return Plan(action=OrderAction.NUMBERED, order=order, row=stored.row)


def _set_status(change: OrderChange, wanted: Action, stored: Order) -> Plan:
    names = change.step_names()
    order, refused = moved(stored, wanted, names)
    if refused:
        text = "The examination has started: it is not cancelled"
        text = "The examination has started: it is not held" if wanted is Action.HOLD else text
        return Plan(
            action=OrderAction.REFUSED,
            findings=(Finding(change.control_location, ErrorCode.UNKNOWN_KEY, text),),
            row=stored.row,
            done=False,
        )
    if order != stored:
        return Plan(action=_ACTIONS.get(wanted, OrderAction.STATUS), order=order, row=stored.row)
    targets = _targets(stored, names)
    steps = [step for step in stored.steps() if step.step_id in targets]
    reached = all(lifecycle.reached(wanted, step.status, step.held) for step in steps)
    if all(step.status in lifecycle.OPEN for step in steps):
        text = "The examination has started: recorded without effect"
        return Plan(action=OrderAction.UNCHANGED, row=stored.row) if reached else late(change, stored, text)
    return replace(late(change, stored), done=reached)


def cancelled(change: OrderChange, created: Plan, cancels: Sequence[KeptCancel]) -> Plan:
    """A new order to which the cancels that came before it are applied."""
    assert created.order is not None
    order = created.order
    for cancel in cancels:
        wanted = lifecycle.action(cancel.control, cancel.order_status)
        order, _ = moved(order, wanted, frozenset(cancel.steps))
    if order == created.order:
        return created
    text = "The order was cancelled before it came: stored as cancelled"
    return replace(
        created,
        order=order,
        findings=(*created.findings, Finding(change.control_location, ErrorCode.UNKNOWN_KEY, text, Severity.WARNING)),
    )


def older(change: OrderChange, written: Written, sender: str) -> bool:
    """Whether the same sender asked for this before what was written last.

    By ORC-9 if both have it, else by MSH-7, and only if no reading of the two times (without seconds, in an hour
    that comes twice) lets them be equal. Times of other senders cannot be compared: their clocks differ.
    """
    if not sender or written.by != sender:
        return False
    if change.ordered and written.ordered_from:
        return change.ordered.end <= written.ordered_from
    return change.sent is not None and bool(written.sent_from) and change.sent.end <= written.sent_from
