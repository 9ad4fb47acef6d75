"""Ends steps whose modality does not say that they are done; lets an ended step begin again for a person.

Both happen without a message: rules (`orders.core.closing`) end a step, and only a person, with a reason, reopens one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy import Connection

from broker.errors import BrokerError
from broker.model.order import Document, Order, Procedure, Step, StepStatus
from broker.orders.core import closing, lifecycle, worklist_item
from broker.orders.core.appointments import END, START
from broker.orders.core.closing import Cause, End, Seen
from broker.orders.core.context import StoryContext
from broker.orders.core.values import merged
from broker.orders.stories import writing
from broker.site.closings import ClosingRules, Closings
from broker.store.mpps.performed_steps import REOPENED
from broker.store.orders import closing as store
from broker.store.orders import reading, saving
from broker.store.orders.closing import Traces

DID_NOT_ARRIVE = "110507"  # Patient did not arrive (PS3.16 CID 9300)
_IN_PROGRESS = "IN PROGRESS"
MAX_REASON = 1000  # characters of the reason of a reopening
Ends = dict[int, End]


class NotReopened(BrokerError):
    """The step is not there, has not ended, or no reason is given; the text says which."""

    code = "not-reopened"


def plan(connection: Connection, order: int, closings: Closings, context: StoryContext) -> Ends:
    """What is to become of which steps of an order (row), by their rows. Reads only."""
    return _plan(connection, reading.load_order(connection, order), closings, context)


def end(connection: Connection, order: int, closings: Closings, context: StoryContext) -> Ends:
    """Do it, as things are once nobody else is at work on the order (row); what was done."""
    named = reading.lock_names(connection, order)
    if not named:
        return {}
    reading.lock(connection, named)
    stored = reading.load_order(connection, order)
    done = _plan(connection, stored, closings, context)
    for cause in Cause:  # of one cause together, so that the RIS hears once what the order is then
        ends = {row: decided for row, decided in done.items() if decided.cause is cause}
        if ends:
            after = _ended(stored, ends)
            writing.write(connection, after, stored, cause.value, context)
            _record(connection, order, stored, ends, context)
            stored = reading.load_order(connection, order)
    return done


def _plan(connection: Connection, order: Order, closings: Closings, context: StoryContext) -> Ends:
    assert order.row is not None
    traces = store.traces(connection, order.row, lifecycle.WAITING)
    ends: Ends = {}
    for procedure in order.procedures:
        rules = {step.row or 0: closings.of(step.stations) for step in procedure.steps}
        for step in procedure.steps:
            row = step.row or 0
            end = closing.decide(_seen(step, procedure, rules, traces), rules[row], context.at)
            if end is not None:
                ends[row] = end
    return ends


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
        status=step.status,
        status_at=traces.status_at.get(row, 0),
        start_at=step.start_at,
        held=step.held,
        images=sum(count for count, _ in sure.values()),
        last_image=max((last for _, last in sure.values()), default=0),
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


def _record(connection: Connection, order: int, before: Order, ends: Ends, context: StoryContext) -> None:
    """Audit trail; the event log too for what leaves the status as it was."""
    for step in before.steps():
        end = ends.get(step.row or 0)
        if end is None:
            continue
        detail: Document = {"step": step.row, "before": step.status, "start": step.start_at}
        if end.cause is Cause.NO_SHOW:
            detail["reason"] = DID_NOT_ARRIVE
        if end.action is None:
            writing.note(connection, step.row or 0, step.status, end.cause.value, context)
        writing.audit(connection, context, f"step.{end.cause}", "order", order, detail)


def reopen(connection: Connection, order: int, step: int, reason: str, context: StoryContext) -> None:
    """Make an ended step (row) of an order (row) SCHEDULED again.

    `context.actor` is the person. The reason stands in the audit trail only. Raises NotReopened.
    """
    reason = reason.strip()
    if not 0 < len(reason) <= MAX_REASON:
        raise NotReopened(f"a reason of 1 to {MAX_REASON} characters is needed")
    stored = _locked(connection, order)
    place = next(((p, s) for p in stored.procedures for s in p.steps if s.row == step), None)
    if place is None:
        raise NotReopened("the order has no such step")
    procedure, before = place
    if before.status not in lifecycle.ENDED:
        raise NotReopened("the step has not ended")
    _save(connection, stored, procedure, replace(before, status=StepStatus.SCHEDULED, held=False), context)
    writing.record(connection, order, [writing.Changed(step, before.status, StepStatus.SCHEDULED)], REOPENED, context)
    detail = {"step": step, "before": before.status, "reason": reason}
    writing.audit(connection, context, "order.reopened", "order", order, detail)


def _locked(connection: Connection, order: int) -> Order:
    """The order, after what is being done to it or its patient at the moment."""
    names = reading.lock_names(connection, order)
    if not names:
        raise NotReopened("there is no such order")
    reading.lock(connection, names)
    return reading.load_order(connection, order)


def _save(connection: Connection, order: Order, procedure: Procedure, step: Step, context: StoryContext) -> None:
    assert procedure.row is not None
    index = worklist_item.index(order.patient, worklist_item.build(order, procedure, step))
    at = context.at.timestamp()
    saving.save_step(connection, step, procedure, procedure.row, order.accession, index, at)
