"""Rows of tests of nodes: the last KEEP of each node."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from broker.model.lane import JobKind
from broker.store.schema import tables

KEEP = 20  # tests of a node
SAMPLE = 500  # objects that are looked at for the kinds that a destination has to take
_t, _job, _instance = tables.node_test, tables.job, tables.instance


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTest:
    """A test of a node. `at` in s since the epoch, `duration` in s, `steps` as JSON; `row` is 0 before it is stored."""

    node: str
    at: float
    actor: str
    good: bool
    duration: float
    steps: Sequence[dict[str, Any]]
    row: int = 0


def add(connection: Connection, test: StoredTest) -> None:
    """Keep a test; the oldest of the node goes."""
    row = {"node": test.node, "at": test.at, "actor": test.actor, "good": test.good, "duration": test.duration}
    connection.execute(insert(_t).values(**row, steps=json.dumps(test.steps)))
    newest = select(_t.c.id).where(_t.c.node == test.node).order_by(_t.c.id.desc()).limit(KEEP)
    kept = list(connection.execute(newest).scalars())
    connection.execute(delete(_t).where(_t.c.node == test.node, _t.c.id < kept[-1]))


def of(connection: Connection, node: str) -> list[StoredTest]:
    """The tests of a node, the newest first."""
    rows = connection.execute(select(_t).where(_t.c.node == node).order_by(_t.c.id.desc()))
    return [
        StoredTest(
            node=row.node,
            at=row.at,
            actor=row.actor,
            good=row.good,
            duration=row.duration,
            steps=json.loads(row.steps),
            row=row.id,
        )
        for row in rows
    ]


def kinds_for(connection: Connection, lane: str) -> list[tuple[str, str]]:
    """SOP classes and transfer syntaxes of the last objects for a lane, the most frequent first.

    Where the lane never had any: of the last objects that came.
    """
    subjects = (
        select(_job.c.subject)
        .where(_job.c.kind == JobKind.DELIVER, _job.c.lane == lane)
        .order_by(_job.c.subject.desc())
        .limit(SAMPLE)
    )
    ids = list(connection.execute(subjects).scalars())
    if not ids:
        ids = list(connection.execute(select(_instance.c.id).order_by(_instance.c.id.desc()).limit(SAMPLE)).scalars())
    counted: dict[tuple[str, str], int] = {}
    query = select(_instance.c.sop_class_uid, _instance.c.transfer_syntax_uid).where(_instance.c.id.in_(ids))
    for sop_class, syntax in connection.execute(query):
        counted[sop_class, syntax] = counted.get((sop_class, syntax), 0) + 1
    return sorted(counted, key=lambda pair: (-counted[pair], pair))
