"""The story of steps that end without their device saying so: look, decide (`orders.core.closing`), write it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy import Connection

from broker.model.order import Document, Order, Procedure, Step, StepStatus
from broker.orders.core import closing, lifecycle
from broker.orders.core.appointments import END, START
from broker.orders.core.closing import Cause, End, Seen
from broker.orders.core.story import Context
from broker.orders.core.values import merged
from broker.orders.stories import writing
from broker.site.closings import ClosingRules, Closings
from broker.store.orders import closing as store
from broker.store.orders import reading, saving
from broker.store.orders.closing import Traces

DID_NOT_ARRIVE = "110507"  # Patient did not arrive (PS3.16 CID 9300)
_IN_PROGRESS = "IN PROGRESS"
Ends = dict[int, End]


def plan(connection: Connection, order: int, closings: Closings, context: Context) -> Ends:
    """What is to become of which steps of an order (row), by their rows. Reads only."""
    return _plan(connection, reading.load_order(connection, order), closings, context)


def end(connection: Connection, order: int, closings: Closings, context: Context) -> Ends:
    """Do it, as things are once nobody else is at work on the order (row); what was done."""
    named = reading.lock_names(connection, order)
    if not named:
        return {}
    reading.lock(connection, named)
    stored = reading.load_order(connection, order)
    done = _plan(connection, stored, closings, context)
    for cause in Cause:  # of one cause together, so that the RIS hears once what the order is then
        ends = {row: found for row, found in done.items() if found.cause is cause}
        if ends:
            after = _ended(stored, ends)
            writing.write(connection, after, stored, cause.value, context)
            _record(connection, order, stored, ends, context)
            stored = reading.load_order(connection, order)
    return done


def _plan(connection: Connection, order: Order, closings: Closings, context: Context) -> Ends:
    assert order.row is not None
    traces = store.traces(connection, order.row, lifecycle.WAITING)
    found: Ends = {}
    for procedure in order.procedures:
        rules = {step.row or 0: closings.of(step.stations) for step in procedure.steps}
        for step in procedure.steps:
            row = step.row or 0
            made = closing.decide(_seen(step, procedure, rules, traces), rules[row], context.at)
            if made is not None:
                found[row] = made
    return found


def _seen(step: Step, procedure: Procedure, rules: Mapping[int, ClosingRules], traces: Traces) -> Seen:
    """What is known of a step. Images say only of a study what was done: they count if they can be of no other step."""
    row = step.row or 0
    own, images = rules[row], traces.images.get(row, {})
    others = [rules[s.row or 0] for s in procedure.steps if s.row != step.row and s.status != StepStatus.CANCELED]
    if others:
        images = {title: came for title, came in images.items() if title in own.titles}
    sure = {} if any(other.titles & own.titles or not other.titles for other in others) else images
    performed = traces.performed.get(row, [])
    return Seen(
        step.status,
        traces.status_at.get(row, 0),
        step.start_at,
        step.held,
        sum(count for count, _ in sure.values()),
        max((last for _, last in sure.values()), default=0),
        signs=bool(images or performed),
        at_work=_IN_PROGRESS in performed,
    )


def _ended(order: Order, ends: Ends) -> Order:
    procedures = []
    for procedure in order.procedures:
        steps = tuple(_after(step, ends[step.row]) if step.row in ends else step for step in procedure.steps)
        procedures.append(replace(procedure, steps=steps))
    return replace(order, procedures=tuple(procedures))


def _after(step: Step, end: End) -> Step:
    if end.action is None:  # as one whose appointment was cancelled: to be scheduled again, and in no worklist
        return replace(step, attributes=merged(step.attributes, dict.fromkeys((*START, *END), "")))
    status = lifecycle.apply(end.action, step.status)[1]
    return replace(step, status=status, held=lifecycle.held(end.action, status, step.held))


def _record(connection: Connection, order: int, before: Order, ends: Ends, context: Context) -> None:
    """Audit trail; the event log too for what leaves the status as it was."""
    for step in before.steps():
        found = ends.get(step.row or 0)
        if found is None:
            continue
        detail: Document = {"step": step.row, "before": step.status, "start": step.start_at}
        if found.cause is Cause.NO_SHOW:
            detail["reason"] = DID_NOT_ARRIVE
        if found.action is None:
            writing.note(connection, step.row or 0, step.status, found.cause.value, context)
        saving.add_audit(
            connection, context.at.timestamp(), context.actor, f"step.{found.cause}", "order", order, detail
        )
