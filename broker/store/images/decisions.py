"""Finds how the objects of a study were decided on: in groups that met the same rules with the same result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from broker.model.lane import JobKind
from broker.store.db.pace import padded
from broker.store.images.held_objects import of_order, of_row
from broker.store.schema import tables

_t, _job = tables.instance, tables.job
MOST = 100  # groups
_ALL = 2**31 - 1  # objects


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionGroup:
    """Objects of a study with the same decision. `outcomes` as JSON; `one` is the row of one of them.

    Times of the first and the last reception in seconds since the epoch.
    """

    rules_version: int
    outcomes: str
    state: str
    reason: str
    calling_ae: str
    count: int
    one: int
    first_at: float
    last_at: float


def of_study(connection: Connection, study_instance_uid: str) -> list[DecisionGroup]:
    """The groups of a study, in the order in which their first objects came; at most MOST."""
    times = func.min(_t.c.received_at).label("first"), func.max(_t.c.received_at)
    same = (_t.c.rules_version, _t.c.trace, _t.c.state, _t.c.reason, _t.c.calling_ae)
    query = (
        select(*same, func.count(), func.min(_t.c.id), *times)
        .where(_t.c.study_instance_uid == study_instance_uid)
        .group_by(*same)
        .order_by("first")
        .limit(MOST)
    )
    return [
        DecisionGroup(
            rules_version=row[0],
            outcomes=row[1],
            state=row[2],
            reason=row[3],
            calling_ae=row[4],
            count=row[5],
            one=row[6],
            first_at=row[7],
            last_at=row[8],
        )
        for row in connection.execute(query)
    ]


def facts_of(connection: Connection, rows: Sequence[int]) -> dict[int, str]:
    """What the rules saw of some objects (JSON), by row."""
    found = connection.execute(select(_t.c.id, _t.c.facts).where(_t.c.id.in_(padded(rows))))
    return {row[0]: row[1] for row in found}


def deliveries(connection: Connection, study_instance_uid: str) -> list[tuple[str, str, int]]:
    """How many objects of a study have a delivery in each lane and state: lane, state, count."""
    # a limit, so that the study leads to its objects, and these to their deliveries: else all deliveries would lead
    objects = select(_t.c.id).where(_t.c.study_instance_uid == study_instance_uid).limit(_ALL).subquery()
    query = (
        select(_job.c.lane, _job.c.state, func.count())
        .select_from(objects)
        .join(_job, (_job.c.subject == objects.c.id) & (_job.c.kind == JobKind.DELIVER))
        .group_by(_job.c.lane, _job.c.state)
        .order_by(_job.c.lane, _job.c.state)
    )
    return [(row[0], row[1], row[2]) for row in connection.execute(query)]


def studies_of(connection: Connection, accession: str) -> list[str]:
    """The Study Instance UIDs of the orders with an accession number, at most MOST."""
    query = select(tables.requested_procedure.c.study_instance_uid).where(
        tables.requested_procedure.c.study_instance_uid.in_(of_order(accession))
    )
    return list(connection.execute(query.limit(MOST)).scalars())


def studies_of_row(connection: Connection, order: int) -> list[str]:
    """The Study Instance UIDs of an order (row), at most MOST."""
    return list(connection.execute(of_row(order).limit(MOST)).scalars())
