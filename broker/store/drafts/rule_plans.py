"""Rows of versions of the rules that come into force at a time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, insert, select, update

from broker.store.schema import tables

_t = tables.rule_plan


class PlanState(StrEnum):
    """What became of a plan."""

    PLANNED = "planned"
    DONE = "done"
    CANCELED = "canceled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPlan:
    """A plan before it is stored. Times in s since the epoch; `again`: the older version that it is, 0 for a draft."""

    due_at: float
    base: int
    document: Any
    author: str
    reason: str
    planned_by: str
    planned_at: float
    address: str = ""
    again: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePlan(NewPlan):
    """A stored plan. `version`: that it became; `failure`: why it did not."""

    id: int
    state: PlanState
    version: int = 0
    failure: str = ""


_COLUMNS = [_t.c[name] for name in (*NewPlan.__slots__, *RulePlan.__slots__)]


def _plan(row: Any) -> RulePlan:
    values = dict(row._mapping)
    return RulePlan(**values | {"document": json.loads(row.document), "state": PlanState(row.state)})


def add_plan(connection: Connection, plan: NewPlan) -> int:
    """Store a plan; its number."""
    values = {name: getattr(plan, name) for name in NewPlan.__slots__}
    values |= {"document": json.dumps(plan.document, sort_keys=True, ensure_ascii=False), "state": PlanState.PLANNED}
    return int(connection.execute(insert(_t).values(values).returning(_t.c.id)).scalar_one())


def plans(connection: Connection, limit: int) -> list[RulePlan]:
    """The newest plans, whatever became of them."""
    return [_plan(row) for row in connection.execute(select(*_COLUMNS).order_by(_t.c.id.desc()).limit(limit))]


def plan(connection: Connection, number: int) -> RulePlan | None:
    """One plan by its number."""
    row = connection.execute(select(*_COLUMNS).where(_t.c.id == number)).first()
    return None if row is None else _plan(row)


def waiting(connection: Connection, before: float | None = None) -> list[RulePlan]:
    """Plans that have not come into force yet, the earliest first; those that are due before a time."""
    query = select(*_COLUMNS).where(_t.c.state == PlanState.PLANNED).order_by(_t.c.due_at, _t.c.id)
    return [_plan(row) for row in connection.execute(query if before is None else query.where(_t.c.due_at <= before))]


def end_plan(connection: Connection, number: int, state: PlanState, *, version: int = 0, failure: str = "") -> bool:
    """Say what became of a plan; False if that is said already."""
    here = (_t.c.id == number, _t.c.state == PlanState.PLANNED)
    values = {"state": state, "version": version, "failure": failure[:500]}
    return bool(connection.execute(update(_t).where(*here).values(values)).rowcount)
