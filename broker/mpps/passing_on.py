"""Puts messages about performed procedure steps into the queue for those they are passed on to (IHE PPS Manager).

One job per node and message, lane `mpps:<node>`; those about one step are a group, which the queue serves in order.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from broker.site.nodes import Node
from broker.store import jobs

KIND = "mpps"  # of jobs; the subject is a row of mpps_message


def lane_of(node: str) -> str:
    """The queue lane of what is passed on to a node."""
    return f"{KIND}:{node}"


def enqueue(connection: Connection, nodes: Iterable[Node], message: int, mpps: int, at: float) -> None:
    """One job per node for a message (row) about an MPPS (row), in the transaction that keeps it."""
    group = f"mpps:{mpps}"
    jobs.enqueue(
        connection, [jobs.NewJob(KIND, lane_of(node.name), message, {}, group_key=group) for node in nodes], at
    )
