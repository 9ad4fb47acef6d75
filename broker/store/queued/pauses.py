"""Pauses nodes, drains and resumes them: what is for a paused node waits, over restarts and in all processes.

`jobs.claim` and `lanes.due_lanes` go by the row. While a node drains, the jobs that were there when it began are sent;
`sweep` makes a pause of it when none of them is left to send. Times in s since the epoch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from broker.model.lane import JobState, Lane, LaneKind
from broker.store import jobs
from broker.store.db.engine import is_sqlite
from broker.store.schema import tables

_t, _pause = tables.job, tables.pause


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePause:
    """A node that a person has paused. `draining`: what was there before is still sent."""

    node: str
    draining: bool
    since: float
    actor: str
    reason: str


def find(connection: Connection) -> list[NodePause]:
    """All nodes that are paused or drain, by name."""
    rows = connection.execute(select(_pause).order_by(_pause.c.node))
    return [
        NodePause(node=row.node, draining=row.last_job > 0, since=row.since, actor=row.actor, reason=row.reason)
        for row in rows
    ]


def pause(connection: Connection, node: str, now: float, actor: str, reason: str, *, drain: bool = False) -> bool:
    """Send nothing more to a node; `drain`: after what is there now. False if it is so already.

    A node that is paused does not drain: it would send again what a person has stopped.
    """
    last = (connection.execute(select(func.max(_t.c.id))).scalar() or 0) if drain else 0
    if last and not _left(connection, node, last):
        last = 0
    before = connection.execute(select(_pause.c.last_job).where(_pause.c.node == node)).scalar()
    if before == 0 or (before is not None and drain):
        return False
    values = {"last_job": last, "since": now, "actor": actor, "reason": reason}
    dialect = sqlite if is_sqlite(connection) else postgresql
    statement = dialect.insert(_pause).values(node=node, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=[_pause.c.node], set_=values))
    return True


def resume(connection: Connection, node: str) -> bool:
    """Send again what is for a node; False if it was not paused."""
    return bool(connection.execute(delete(_pause).where(_pause.c.node == node)).rowcount)


def sweep(connection: Connection, now: float, *, longest: float = math.inf) -> int:
    """Give back the work of those who died (`jobs.free_leases`), and pause the nodes that are drained; how many."""
    freed = jobs.free_leases(connection, now, longest=longest)
    draining = select(_pause.c.node, _pause.c.last_job).where(_pause.c.last_job > 0)
    for node, last in connection.execute(draining).all():
        if not _left(connection, node, last):
            here = _pause.c.node == node, _pause.c.last_job == last
            connection.execute(_pause.update().where(*here).values(last_job=0))
    return freed


def _left(connection: Connection, node: str, last: int) -> bool:
    """Jobs up to a row are still to be sent to a node. A held one waits for a person, and is none."""
    for lane in (Lane(kind, node).name for kind in LaneKind):
        for state in (JobState.READY, JobState.LEASED):
            query = select(_t.c.id).where(_t.c.state == state, _t.c.lane == lane, _t.c.id + 0 <= last).limit(1)
            if connection.execute(query).first() is not None:
                return True
    return False
