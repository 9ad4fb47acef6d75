"""Finds jobs that wait, or are held, lane by lane and the oldest first, page by page; counts them up to a limit.

Each lane is a walk along an index behind a job, so that the millionth job costs as little as the first. A filter by
study or order is led by the objects instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Select, func, literal, or_, select, text, tuple_

from broker.model.lane import JobKind, JobState, Lane, LaneKind
from broker.store.holds.held_jobs import HeldFilter
from broker.store.schema import tables

_t, _i = tables.job, tables.instance
Waits = Literal["waiting", "held"]
# bare, as the partial indexes say it
_STATES = {"waiting": text("job.state = 'ready'"), "held": text("job.state = 'held'")}
_Place = tuple[str, float, int]  # lane, when it was made, row


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingJob:
    """A job that waits to be sent, or for a person. `facts` (JSON) are those of its object, empty for none.

    `error`: the code of its last try, empty for none. `priority`: the lower, the sooner. Times in seconds since the
    epoch, size in bytes.
    """

    id: int
    lane: str
    error: str
    held: bool
    created_at: float
    due_at: float
    attempts: int
    failures: int
    priority: int
    study: str
    device: str
    size: int
    facts: str

    def fact(self, name: str) -> str:
        """The values of a field as the rules saw them; empty for none."""
        return "\\".join(map(str, json.loads(self.facts).get(name, ()))) if self.facts else ""

    def unseen(self) -> WaitingJob:
        """The same without what belongs to a patient."""
        return replace(self, study="", device="", size=0, facts="")


def find(connection: Connection, wanted: HeldFilter, waits: Waits, after: int, limit: int) -> list[WaitingJob]:
    """Jobs behind another one (row; 0: from the first)."""
    columns = (_t.c.id, _t.c.lane, _t.c.last_error, _t.c.state, _t.c.created_at, _t.c.due_at, _t.c.attempts)
    sent = (_t.c.failures, _t.c.priority, _i.c.study_instance_uid, _i.c.calling_ae, _i.c.data_length, _i.c.facts)
    return [
        WaitingJob(
            id=row[0],
            lane=row[1],
            error=row[2],
            held=row[3] == JobState.HELD,
            created_at=row[4],
            due_at=row[5],
            attempts=row[6],
            failures=row[7],
            priority=row[8],
            study=row[9] or "",
            device=row[10] or "",
            size=row[11] or 0,
            facts=row[12] or "",
        )
        for row in _first(connection, _walk(connection, wanted, waits, after, select(*columns, *sent)), limit)
    ]


def rows(connection: Connection, wanted: HeldFilter, waits: Waits, after: int, limit: int) -> list[int]:
    """The rows of jobs behind another one, at most `limit`."""
    return [row[0] for row in _first(connection, _walk(connection, wanted, waits, after, select(_t.c.id)), limit)]


def count(connection: Connection, wanted: HeldFilter, waits: Waits, limit: int) -> int:
    """How many match, at most `limit`."""
    number = 0
    for query in _walk(connection, wanted, waits, 0, select(_t.c.id)):
        some = query.limit(limit - number).subquery()
        number += connection.execute(select(func.count()).select_from(some)).scalar_one()
        if number >= limit:
            break
    return number


def _walk(
    connection: Connection, wanted: HeldFilter, waits: Waits, after: int, what: Select[Any]
) -> Iterator[Select[Any]]:
    """One statement for each lane that may have jobs that match, in order; or one for all that send some objects."""
    place = _place(connection, after)
    joined = what.select_from(_t).outerjoin(_i, (_i.c.id == _t.c.subject) & (_t.c.kind == JobKind.DELIVER))
    query = joined.where(_STATES[waits], *wanted.narrowing())
    objects = wanted.objects()
    if objects is not None:
        lane, at = _t.c.lane.concat(""), _t.c.created_at + 0  # by no index: that of the objects leads
        query = query.where(_t.c.subject.in_(objects)).order_by(lane, at, _t.c.id)
        yield query if place is None else query.where(tuple_(lane, at, _t.c.id) > tuple_(*map(literal, place)))
        return
    for name in _lanes(connection, wanted, waits, place[0] if place is not None else ""):
        here = query.where(_t.c.lane == name).order_by(_t.c.created_at, _t.c.id)
        if place is not None and name == place[0]:
            since, row = place[1:]
            behind = or_(_t.c.created_at > since, (_t.c.created_at == since) & (_t.c.id > row))
            here = here.where(_t.c.created_at >= since, behind)
        yield here


def _lanes(connection: Connection, wanted: HeldFilter, waits: Waits, first: str) -> Iterator[str]:
    """Names of lanes with such jobs, from one on: those that the filter names, or all, in hops along the index."""
    if wanted.lane or wanted.node:
        names = {Lane(kind, wanted.node).name for kind in LaneKind} if wanted.node else {wanted.lane}
        found: Iterable[str] = sorted(name for name in names if name >= first and wanted.lane in ("", name))
    else:
        found = lanes_with(connection, _STATES[waits], first)
    yield from (name for name in found if wanted.kind is None or name.startswith(f"{wanted.kind}:"))


def held_lanes(connection: Connection, kind: LaneKind) -> list[str]:
    """Names of the lanes of a kind that have held jobs."""
    prefix = Lane(kind, "").name
    return [name for name in lanes_with(connection, _STATES["held"], prefix) if name.startswith(prefix)]


def lanes_with(connection: Connection, state: Any, first: str = "") -> Iterator[str]:
    """Names of lanes with jobs in a state, from one on: a million jobs of a lane cost one step."""
    query: Select[Any] = select(_t.c.lane).where(state).order_by(_t.c.lane).limit(1)
    here: ColumnElement[bool] = _t.c.lane >= first
    while (lane := connection.execute(query.where(here)).scalar()) is not None:
        yield lane
        here = _t.c.lane > lane


def _place(connection: Connection, after: int) -> _Place | None:
    """Where a job stands in the list; None for the beginning, or for a row that there is not."""
    query = select(_t.c.lane, _t.c.created_at, _t.c.id).where(_t.c.id == after)
    row = connection.execute(query).first() if after else None
    return (row[0], row[1], row[2]) if row is not None else None


def _first(connection: Connection, queries: Iterable[Select[Any]], limit: int) -> list[Any]:
    """The first rows of some statements."""
    found: list[Any] = []
    for query in queries:
        found += connection.execute(query.limit(limit - len(found)))
        if len(found) >= limit:
            break
    return found
