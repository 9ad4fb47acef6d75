"""Event log of Scheduled Procedure Steps: append only."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, insert, select

from broker.store.db.prepared import Prepared
from broker.store.schema import tables

_t = tables.step_event
_ADD = Prepared(any=insert(_t).values({c.name: bindparam(c.name) for c in _t.c if c.name != "id"}).returning(_t.c.id))


@dataclass(frozen=True, slots=True)
class StepEvent:
    """One change of status; `at` in seconds since the epoch, `before` empty for a new step."""

    step: int
    at: float
    before: str
    after: str
    cause: str
    actor: str


def add(connection: Connection, step: int, at: float, before: str, after: str, cause: str, actor: str) -> int:
    """Append an event of a step (row); the row of the event."""
    values = {"step": step, "at": at, "before": before, "after": after, "cause": cause, "actor": actor}
    return int(_ADD.rows(connection, values)[0][0])


def of_step(connection: Connection, step: int) -> list[StepEvent]:
    """Events of a step (row), oldest first."""
    query = select(_t.c.step, _t.c.at, _t.c.before, _t.c.after, _t.c.cause, _t.c.actor).where(_t.c.step == step)
    return [StepEvent(*row) for row in connection.execute(query.order_by(_t.c.id))]


def last_cause(connection: Connection, step: int) -> str:
    """Cause of the last change of status of a step (row), empty for none."""
    return next((event.cause for event in reversed(of_step(connection, step)) if event.before != event.after), "")
