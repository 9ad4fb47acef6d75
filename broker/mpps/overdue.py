"""Ends an MPPS that stays IN PROGRESS in place of its modality, or notes it for a person (PS3.4 F.7.2.2).

Its scheduled steps follow as after an N-SET: as done if images of them are there, else as discontinued. Other systems
are passed on only what the modality said. Subscribers are told of the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from broker.model.order import StepStatus
from broker.model.performed import PerformedStatus, PerformedStep
from broker.mpps import passing_on
from broker.mpps.attributes import STATUS
from broker.mpps.passing_on import MppsEvent
from broker.mpps.recording import advanced, locked, told
from broker.orders.core import lifecycle
from broker.orders.core.context import StoryContext
from broker.orders.stories import writing
from broker.site.nodes import Node
from broker.store.mpps import overdue, performed_steps
from broker.store.orders import closing, reading

CAUSE = "mpps-overdue"


def note(connection: Connection, mpps: int, before: float, context: StoryContext) -> bool:
    """Note that an MPPS (row), silent since before that time (s since the epoch), is overdue; False if it is not."""
    performed = _silent(connection, mpps, before)
    if performed is None or overdue.NOTED in performed.findings:
        return False
    attention = performed.attention or overdue.NOTED
    performed_steps.note(connection, mpps, (*performed.findings, overdue.NOTED), attention)
    writing.audit(connection, context, "mpps.overdue", "mpps", mpps, {})
    return True


def discontinue(
    connection: Connection, mpps: int, before: float, subscribers: Sequence[Node], context: StoryContext
) -> bool:
    """End such an MPPS as DISCONTINUED, and its scheduled steps; False if it has ended or was heard of meanwhile.

    `subscribers` are the nodes that are told events of MPPS.
    """
    performed = _silent(connection, mpps, before)
    if performed is None:
        return False
    changes = {
        STATUS: PerformedStatus.DISCONTINUED,
        "PerformedProcedureStepEndDate": context.received[:8],
        "PerformedProcedureStepEndTime": context.received[8:],
    }
    steps = [link.step for link in performed_steps.links(connection, mpps) if link.step is not None]
    updated = advanced(performed, {**performed.document, **changes}, [overdue.NOTED], context)
    done = _with_images(connection, mpps)
    updated = replace(
        updated, outcome=StepStatus.COMPLETED if done else StepStatus.DISCONTINUED, attention=performed.attention
    )
    performed_steps.save(connection, updated)
    told(connection, updated, steps, "overdue", context)
    at = context.at.timestamp()
    writing.audit(connection, context, "mpps.discontinued", "mpps", mpps, {"reason": CAUSE})
    passing_on.tell_change(connection, subscribers, mpps, updated.revision, MppsEvent.DISCONTINUED, at)
    return True


def _silent(connection: Connection, row: int, before: float) -> PerformedStep | None:
    """The MPPS, nobody else changing it, if it is still IN PROGRESS and silent."""
    known = performed_steps.load(connection, row)
    performed = locked(connection, known.sop_instance_uid) if known else None
    return (
        performed
        if performed is not None and performed.status == PerformedStatus.IN_PROGRESS and performed.updated_at <= before
        else None
    )


def _with_images(connection: Connection, mpps: int) -> bool:
    """Images of its step are there; of a study with several steps they do not say which is done."""
    done = False
    for order, steps in overdue.steps_of(connection, mpps).items():
        images = closing.traces(connection, order, lifecycle.WAITING).images
        for procedure in reading.load_order(connection, order).procedures:
            alone = len([step for step in procedure.steps if step.status != StepStatus.CANCELED]) == 1
            done |= alone and any(step.row in steps and step.row in images for step in procedure.steps)
    return done
