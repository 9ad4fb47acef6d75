"""Puts messages about performed procedure steps into the queue for those they are passed on to (IHE PPS Manager).

One job per node and message, lane `mpps:<node>`; those about one step are a group, which the queue serves in order.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from broker.model.lane import JobKind, Lane, LaneKind
from broker.site.nodes import Node
from broker.store import jobs
from broker.store.jobs import NewJob


def enqueue(connection: Connection, nodes: Iterable[Node], message: int, mpps: int, at: float) -> None:
    """One job per node for a message (row) about an MPPS (row), in the transaction that keeps it."""
    group = f"mpps:{mpps}"
    lanes = [Lane(LaneKind.MPPS, node.name) for node in nodes]
    new = [NewJob(JobKind.MPPS, lane.name, message, {}, group_key=group) for lane in lanes]
    jobs.enqueue(connection, new, at)
