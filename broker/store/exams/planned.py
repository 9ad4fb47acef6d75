"""Finds the scheduled steps of a day with their stations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from broker.store.db.pace import padded
from broker.store.exams.leads import begins
from broker.store.schema import tables

_AT_ONCE = 512
_step, _station = tables.scheduled_step, tables.step_station


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """A step (row) of a day and its stations."""

    step: int
    stations: tuple[str, ...]


def of_day(connection: Connection, day: str, statuses: Sequence[str], limit: int) -> list[PlannedStep]:
    """The first steps of a day (`YYYYMMDD`) by time. `statuses`: all there are."""
    places: list[tuple[str, int]] = []
    for status in statuses:  # each in the order of the index, so that no more is read than is wanted
        query = select(_step.c.start_at, _step.c.id).where(_step.c.status == status, begins(_step.c.start_at, day))
        ordered = query.order_by(_step.c.start_at, _step.c.id).limit(limit)
        places += [(row[0], row[1]) for row in connection.execute(ordered)]
    steps = [step for _, step in sorted(places)[:limit]]
    stations: dict[int, list[str]] = {}
    for start in range(0, len(steps), _AT_ONCE):
        some = padded(steps[start : start + _AT_ONCE])
        titles = select(_station.c.step, _station.c.ae_title).where(_station.c.step.in_(some))
        for step, title in connection.execute(titles):
            stations.setdefault(step, []).append(title)
    return [PlannedStep(step=step, stations=tuple(sorted(stations.get(step, ())))) for step in steps]
