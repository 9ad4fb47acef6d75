"""Reads single steps with their whole answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from broker.store.db import documents
from broker.store.db.pace import padded
from broker.store.schema import tables

_AT_ONCE = 256
_step, _procedure, _event = tables.scheduled_step, tables.requested_procedure, tables.step_event


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step: rows of itself and of its order, when it came and changed last (s since the epoch), its answer."""

    row: int
    order: int
    came_at: float
    changed_at: float
    answer: dict[str, Any]


def of_orders(connection: Connection, orders: Sequence[int], limit: int) -> list[StepRow]:
    """The steps of some orders (rows), in their sequence."""
    came = select(func.min(_event.c.at)).where(_event.c.step == _step.c.id).scalar_subquery()
    query = (
        select(_step.c.id, _procedure.c.request, came, _step.c.updated_at, _step.c.answer)
        .join_from(_step, _procedure)
        .where(_procedure.c.request.in_(orders))
        .order_by(_procedure.c.request, _procedure.c.id, _step.c.position, _step.c.id)
        .limit(limit)
    )
    return [
        StepRow(row, order, min(at or changed, changed), changed, documents.decode(answer))
        for row, order, at, changed, answer in connection.execute(query)
    ]


def order_of(connection: Connection, step: int) -> int | None:
    """Row of the order of a step (row)."""
    query = select(_procedure.c.request).join_from(_step, _procedure).where(_step.c.id == step)
    return connection.execute(query).scalar()


def orders_of(connection: Connection, steps: Iterable[int]) -> dict[int, int]:
    """Rows of the orders of steps (rows), by step."""
    found: dict[int, int] = {}
    rows = list(steps)
    for start in range(0, len(rows), _AT_ONCE):
        some = padded(rows[start : start + _AT_ONCE])
        query = select(_step.c.id, _procedure.c.request).join_from(_step, _procedure).where(_step.c.id.in_(some))
        found |= {row[0]: row[1] for row in connection.execute(query)}
    return found
