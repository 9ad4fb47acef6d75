"""An order that comes after its examination: what was performed without it is linked as the order is written."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from broker.orders.core.story import AuditEntry, Context
from broker.orders.core.values import Order
from broker.orders.stories import match, performing
from broker.orders.stories.performing import Write
from broker.store.mpps import mpps


def settle(
    connection: Connection, request: int, written: Order, before: Order | None, write: Write, context: Context
) -> tuple[AuditEntry, ...]:
    """Link what waits for an order (row) that has just been written, `before` being what was there.

    What to record in the audit trail. `write` is `ordering.write`, whose module calls this.
    """
    known = {step.row for step in before.steps()} if before else set()
    keys = {
        (procedure.study_instance_uid, written.accession, procedure.requested_procedure_id)
        for procedure in written.procedures
        if any(step.row is None or step.row not in known for step in procedure.steps)
    }
    found = {item for key in keys for item in mpps.waiting(connection, *key)}
    entries: list[AuditEntry] = []
    for row in sorted({row for row, _ in found}):
        entries += _link(connection, request, row, {position for r, position in found if r == row}, write, context)
    return tuple(entries)


def _link(
    connection: Connection, request: int, row: int, positions: set[int], write: Write, context: Context
) -> list[AuditEntry]:
    """Link those items of an MPPS that mean a step of the order, for the same patient only."""
    one = mpps.load(connection, row)
    patient = match.patient_of(one.document) if one else None
    if one is None or patient is None or one.linking not in {match.UNSCHEDULED, match.PARTLY}:
        return []
    items = one.document.get("ScheduledStepAttributesSequence", [])
    steps = []
    for position in sorted(positions):
        made = match.find(connection, match.keys_of(items[position]), patient)
        if made.order == request and made.step is not None:
            mpps.set_link(connection, row, position, made.step, f"late:{made.reason}")
            steps.append(made.step)
    if not steps:
        return []
    # the sender of the order knows nothing of it: that it begins or ends was done by a modality, not by this message
    codes = performing.follow(connection, steps, row, "late-order", write, replace(context, sender=None))
    linking = match.summary((link.step, link.reason) for link in mpps.links(connection, row))
    attention = one.attention if one.attention not in {match.UNSCHEDULED, match.PARTLY} else ""
    mpps.save(
        connection,
        replace(
            one,
            linking=linking,
            attention=min(codes, default="") or attention or match.waits(linking),
            revision=one.revision + 1,
            updated_at=context.at.timestamp(),
            findings=tuple(dict.fromkeys((*one.findings, *sorted(codes)))),
        ),
    )
    return [AuditEntry("mpps.linked", "mpps", row, {"order": request, "steps": steps, "by": "late order"})]
