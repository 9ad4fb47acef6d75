"""Finds performed procedure steps that stay IN PROGRESS, and the scheduled steps they are linked to."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import Connection, select

from broker.model.performed import PerformedStatus
from broker.store.schema import tables

NOTED = "overdue"  # among the findings, and why a person must look
_mpps, _link = tables.mpps.c, tables.mpps_link.c
_step, _procedure = tables.scheduled_step.c, tables.requested_procedure.c


@dataclass(frozen=True, slots=True)
class Overdue:
    """An MPPS (row) of which nothing was heard since `updated_at` (s since the epoch)."""

    row: int
    station: str
    calling_ae: str
    updated_at: float
    noted: bool


def silent(connection: Connection, before: float, after: int, limit: int) -> list[Overdue]:
    """The next that are IN PROGRESS and were last heard of before a time, with rows above `after`."""
    query = (
        select(_mpps.id, _mpps.station, _mpps.calling_ae, _mpps.updated_at, _mpps.findings)
        .where(_mpps.status == PerformedStatus.IN_PROGRESS, _mpps.updated_at <= before, _mpps.id > after)
        .order_by(_mpps.id)
        .limit(limit)
    )
    return [Overdue(*row[:4], NOTED in json.loads(row[4])) for row in connection.execute(query)]


def steps_of(connection: Connection, row: int) -> dict[int, set[int]]:
    """The scheduled steps (rows) that an MPPS means, by their orders (rows)."""
    query = (
        select(_procedure.request, _step.id)
        .join_from(tables.mpps_link, tables.scheduled_step, _link.step == _step.id)
        .join(tables.requested_procedure, _procedure.id == _step.procedure)
        .where(_link.mpps == row)
        .order_by(_procedure.request)
    )
    steps: dict[int, set[int]] = {}
    for order, step in connection.execute(query):
        steps.setdefault(int(order), set()).add(int(step))
    return steps
