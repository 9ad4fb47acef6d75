"""Counts the rows of the whole database by state, for pages and metrics. Gives no identities."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from broker.store import jobs, knocks
from broker.store.images import instances
from broker.store.schema import tables


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneState:
    """One lane: jobs by state, and its breaker (`open_until` in seconds since the epoch)."""

    name: str
    jobs: dict[str, int]
    failures: int
    open_until: float
    last_error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Rows by state."""

    steps: dict[str, int]
    instances: dict[str, int]
    lanes: list[LaneState]
    messages: dict[str, int]
    knocking: int
    performed_waiting: int


def counts(connection: Connection, since: float) -> Counts:
    """Count everything the start page shows; messages received `since` (s since the epoch), by their answers."""
    step, message = tables.scheduled_step, tables.message
    by_lane: dict[str, dict[str, int]] = {}
    for (lane, state), number in jobs.counts(connection).items():
        by_lane.setdefault(lane, {})[state] = number
    breakers = jobs.breakers(connection)
    lanes = [
        _lane(name, by_lane.get(name, {}), breakers.get(name, (0, 0.0, "")))
        for name in sorted(by_lane.keys() | breakers.keys())
    ]
    steps = connection.execute(select(step.c.status, func.count()).group_by(step.c.status))
    answers = connection.execute(
        select(message.c.answer_code, func.count())
        .where(message.c.received_at >= since)  # the journal is long, and its rows are large
        .group_by(message.c.answer_code)
    )
    waiting = select(func.count()).select_from(tables.mpps).where(tables.mpps.c.attention > "")
    return Counts(
        steps={status: int(number) for status, number in steps},
        instances=instances.counts(connection),
        lanes=lanes,
        messages={code: int(number) for code, number in answers},
        knocking=knocks.count(connection),
        performed_waiting=int(connection.execute(waiting).scalar_one()),
    )


def _lane(name: str, jobs_by_state: dict[str, int], breaker: tuple[int, float, str]) -> LaneState:
    failures, open_until, last_error = breaker
    return LaneState(name=name, jobs=jobs_by_state, failures=failures, open_until=open_until, last_error=last_error)
