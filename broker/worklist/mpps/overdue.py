"""The stories of an MPPS that stays IN PROGRESS: noted for a person, or ended in place of its modality (PS3.4 F.7.2.2).

Its scheduled steps that are at work end with it: as done if images of them are there or another MPPS has completed,
else as discontinued. What is passed on to other systems stays what the modality said; subscribers are told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from broker.orders import lifecycle, ordering
from broker.orders.lifecycle import Action
from broker.orders.story import Context
from broker.orders.values import Order, Procedure, Step
from broker.site.nodes import Node
from broker.store import closing, orders, orders_read
from broker.store import mpps_overdue as store
from broker.store.closing import Traces
from broker.worklist.mpps import notification
from broker.worklist.mpps.notification import Event

CAUSE = "mpps-overdue"
_IN_PROGRESS, _COMPLETED, _DISCONTINUED = "IN PROGRESS", "COMPLETED", "DISCONTINUED"


def note(connection: Connection, mpps: int, before: float, context: Context) -> bool:
    """Note that an MPPS (row), silent since before that time (s since the epoch), is overdue; False if it is not."""
    done = store.note(connection, mpps, before)
    if done:
        orders.add_audit(connection, context.at.timestamp(), context.actor, "mpps.overdue", "mpps", mpps, {})
    return done


def discontinue(
    connection: Connection, mpps: int, before: float, subscribers: Sequence[Node], context: Context
) -> bool:
    """End such an MPPS as DISCONTINUED, and its scheduled steps; False if it has ended or was heard of meanwhile.

    `subscribers` are the nodes that are told events of MPPS.
    """
    at = context.at.timestamp()
    meant = store.steps_of(connection, mpps)
    for order in meant:
        orders_read.lock(connection, orders_read.lock_names(connection, order))
    changes = {
        "PerformedProcedureStepStatus": _DISCONTINUED,
        "PerformedProcedureStepEndDate": context.received[:8], "PerformedProcedureStepEndTime": context.received[8:],
    }  # fmt: skip
    revision = store.end(connection, mpps, before, changes, _DISCONTINUED, at)
    if not revision:
        return False
    orders.add_audit(connection, at, context.actor, "mpps.discontinued", "mpps", mpps, {"reason": CAUSE})
    for order, steps in meant.items():
        stored = orders_read.load_order(connection, order)
        after = _ended(stored, steps, closing.traces(connection, order, lifecycle.WAITING))
        if after != stored:
            ordering.write(connection, after, stored, CAUSE, context)
    notification.of_change(connection, subscribers, mpps, revision, Event.DISCONTINUED, at)
    return True


def _ended(order: Order, steps: set[int], traces: Traces) -> Order:
    procedures: list[Procedure] = []
    for procedure in order.procedures:
        alone = len([step for step in procedure.steps if step.status != lifecycle.CANCELED]) == 1
        after = tuple(_after(step, traces, alone=alone) if step.row in steps else step for step in procedure.steps)
        procedures.append(replace(procedure, steps=after))
    return replace(order, procedures=tuple(procedures))


def _after(step: Step, traces: Traces, *, alone: bool) -> Step:
    """A step that is at work and not by another MPPS ends; of a study with several, images do not say which is done."""
    performed = traces.performed.get(step.row or 0, [])
    if step.status != lifecycle.STARTED or _IN_PROGRESS in performed:
        return step
    done = _COMPLETED in performed or (alone and bool(traces.images.get(step.row or 0)))
    return replace(step, status=lifecycle.apply(Action.COMPLETE if done else Action.STOP, step.status)[1])
