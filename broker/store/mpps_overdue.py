"""Performed procedure steps that stay IN PROGRESS: found, noted, ended in place of their modality."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update

from broker.store import tables

NOTED = "overdue"  # among the findings
_IN_PROGRESS = "IN PROGRESS"
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
        .where(_mpps.status == _IN_PROGRESS, _mpps.updated_at <= before, _mpps.id > after)
        .order_by(_mpps.id)
        .limit(limit)
    )
    return [Overdue(*row[:4], NOTED in json.loads(row[4])) for row in connection.execute(query)]


def note(connection: Connection, row: int, before: float) -> bool:
    """Note as a finding that an MPPS is overdue; False if it has ended, was heard of or is noted meanwhile."""
    found = _locked(connection, row, before)
    if found is None or NOTED in json.loads(found[1]):
        return False
    findings = json.dumps([*json.loads(found[1]), NOTED])
    connection.execute(update(tables.mpps).where(_mpps.id == row).values(findings=findings))
    return True


def end(connection: Connection, row: int, before: float, changes: Mapping[str, Any], status: str, at: float) -> int:
    """End an MPPS `at` a time, with `changes` to its attributes; its revision, 0 if it has ended or was heard of."""
    found = _locked(connection, row, before)
    if found is None:
        return 0
    document = json.dumps({**json.loads(found[0]), **changes}, ensure_ascii=False, separators=(",", ":"))
    findings = [code for code in json.loads(found[1]) if code != NOTED]
    values = {
        "document": document, "findings": json.dumps([*findings, NOTED]), "revision": found[2] + 1, "status": status,
        "ended_at": at, "updated_at": at,
    }  # fmt: skip
    connection.execute(update(tables.mpps).where(_mpps.id == row).values(**values))
    return int(found[2]) + 1


def _locked(connection: Connection, row: int, before: float) -> Any:
    query = select(_mpps.document, _mpps.findings, _mpps.revision).with_for_update()
    condition = (_mpps.id == row, _mpps.status == _IN_PROGRESS, _mpps.updated_at <= before)
    return connection.execute(query.where(*condition)).first()


def steps_of(connection: Connection, row: int) -> dict[int, set[int]]:
    """The scheduled steps (rows) that an MPPS means, by their orders (rows)."""
    query = (
        select(_procedure.request, _step.id)
        .join_from(tables.mpps_link, tables.scheduled_step, _link.step == _step.id)
        .join(tables.requested_procedure, _procedure.id == _step.procedure)
        .where(_link.mpps == row)
        .order_by(_procedure.request)
    )
    found: dict[int, set[int]] = {}
    for order, step in connection.execute(query):
        found.setdefault(int(order), set()).add(int(step))
    return found
