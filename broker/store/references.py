"""Counts what in the database still names a node: jobs, open steps, imported orders."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from broker.model.lane import UNFINISHED, JobState
from broker.store.schema import tables

_job, _step, _station, _item = tables.job, tables.scheduled_step, tables.step_station, tables.source_item
MOST = 10_000  # counted of each


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceCounts:
    """How many rows name a node, each MOST at most."""

    waiting: int
    held: int
    steps: int
    imported: int


def count(
    connection: Connection, node: str, lanes: Collection[str], stations: Collection[str], statuses: Collection[str]
) -> ReferenceCounts:
    """Jobs in these lanes, steps on these stations that are in one of these statuses, orders imported from the node."""
    held, waiting = JobState.HELD, [state for state in UNFINISHED if state != JobState.HELD]
    at_station = (
        select(_station.c.step)
        .join(_step, _step.c.id == _station.c.step)
        .where(_station.c.ae_title.in_(stations), _step.c.status.in_(statuses))
    )
    selections = (
        select(_job.c.id).where(_job.c.state.in_(waiting), _job.c.lane.in_(lanes)),
        select(_job.c.id).where(_job.c.state == held, _job.c.lane.in_(lanes)),
        at_station,
        select(_item.c.key).where(_item.c.node == node),
    )
    numbers = [
        int(connection.execute(select(func.count()).select_from(one.limit(MOST).subquery())).scalar_one())
        for one in selections
    ]
    return ReferenceCounts(waiting=numbers[0], held=numbers[1], steps=numbers[2], imported=numbers[3])
