"""Tells a RIS again what it was told of an order, as a person wishes, and shows the jobs that tell it."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

from sqlalchemy import Connection

from broker.hl7.acknowledgement import control_id
from broker.model.lane import Lane, LaneKind
from broker.store.audit.adding import add_audit
from broker.store.journal import sent
from broker.store.journal.sent import FeedbackJob


def jobs_of(connection: Connection, order: int, nodes: Sequence[str]) -> list[FeedbackJob]:
    """Jobs that tell some nodes of an order (row), the newest first."""
    return sent.jobs_of(connection, order, [Lane(LaneKind.FEEDBACK, node).name for node in nodes])


def send_again(connection: Connection, job: int, reason: str, actor: str, at: float, address: str) -> int | None:
    """Begin a job (row) again that has ended or is held; the row of its order, None if it cannot be begun.

    The message is built anew from the order as it is then. It has a new control id: by the old one the RIS would take
    it for a repeat.
    """
    found = sent.load_job(connection, job)
    if found is None or not sent.begin_again(connection, job, found.detail | {"control_id": control_id(uuid4())}, at):
        return None
    order = int(found.detail["order"])
    detail = {"job": job, "reason": reason, "node": found.node, "event": found.event}
    add_audit(connection, at, actor, "order.told-again", "order", order, detail, address=address)
    return order
