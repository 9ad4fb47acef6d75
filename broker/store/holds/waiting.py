"""Finds all that waits for a person in one order: held objects and held jobs, the oldest first, page by page.

Each of both is led by the index of its states, so that the time grows with what is held.
"""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, select, tuple_

from broker.model.lane import JobKind
from broker.store.db.pace import padded
from broker.store.holds import held_jobs
from broker.store.holds.held_jobs import HeldFilter
from broker.store.images import held_objects
from broker.store.images.held_objects import ObjectFilter
from broker.store.schema import tables

_i, _t = tables.instance, tables.job
_FAR = 2**63 - 1
WaitingPlace = tuple[float, int, int]  # since when, 0 for an object and 1 for a job, its row
BEFORE_ALL: WaitingPlace = (-1.0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingThing:
    """An object that is held, or a job that is. `facts` (JSON) are those of the object, empty for none.

    `lane` is empty for an object. Time in seconds since the epoch, size in bytes, 0 where there is none.
    """

    row: int
    lane: str
    cause: str
    since: float
    failures: int
    study: str
    device: str
    size: int
    facts: str

    @property
    def number(self) -> str:
        """How people name it: an object begins with `o`."""
        return str(self.row) if self.lane else f"o{self.row}"

    def fact(self, name: str) -> str:
        """The values of a field as the rules saw them; empty for none."""
        return "\\".join(map(str, json.loads(self.facts).get(name, ()))) if self.facts else ""

    def unseen(self) -> WaitingThing:
        """The same without what belongs to a patient."""
        return replace(self, study="", device="", size=0, facts="")

    @property
    def place(self) -> WaitingPlace:
        """Where it stands in the list."""
        return self.since, int(bool(self.lane)), self.row

    @property
    def key(self) -> str:
        """Its place as a text, for `place_of`."""
        since, kind, row = self.place
        return f"{since!r}:{kind}:{row}"


def place_of(key: str) -> WaitingPlace | None:
    """The place that a text means, the first one for an empty text; None for a text that is none."""
    if not key:
        return BEFORE_ALL
    found = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,9})?):([01]):([0-9]{1,18})", key, re.ASCII)
    return (float(found[1]), int(found[2]), int(found[3])) if found else None


def find(
    connection: Connection, objects: ObjectFilter | None, jobs: HeldFilter | None, after: WaitingPlace, limit: int
) -> list[WaitingThing]:
    """What waits behind a place, the oldest first; None for none of that kind."""
    found = [
        *(_objects(connection, objects, after, limit) if objects is not None else ()),
        *(_jobs(connection, jobs, after, limit) if jobs is not None else ()),
    ]
    return heapq.nsmallest(limit, found, key=lambda one: one.place)


def count(connection: Connection, objects: ObjectFilter | None, jobs: HeldFilter | None, limit: int) -> int:
    """How much waits, at most `limit`."""
    found = held_objects.count(connection, objects, limit) if objects is not None else 0
    return min(limit, found + (held_jobs.count(connection, jobs, limit) if jobs is not None else 0))


def rows(
    connection: Connection, objects: ObjectFilter | None, jobs: HeldFilter | None, limit: int
) -> tuple[list[int], list[int]]:
    """The rows of jobs and those of objects that match, the oldest first, at most `limit` of each."""
    found = held_jobs.rows(connection, jobs, limit) if jobs is not None else []
    return found, held_objects.rows(connection, objects, limit) if objects is not None else []


def orders_of(connection: Connection, studies: Sequence[str]) -> dict[str, int]:
    """The order (row) that has a Study Instance UID, of those of some that have one."""
    procedure = tables.requested_procedure
    query = select(procedure.c.study_instance_uid, procedure.c.request)
    found = connection.execute(query.where(procedure.c.study_instance_uid.in_(padded(studies))))
    return {row[0]: row[1] for row in found}


def _objects(connection: Connection, wanted: ObjectFilter, after: WaitingPlace, limit: int) -> list[WaitingThing]:
    since, kind, row = after
    place = (since, _FAR if kind else row)  # at one moment objects come before jobs
    return [
        WaitingThing(
            row=one.id,
            lane="",
            cause=one.reason,
            since=one.received_at,
            failures=0,
            study=one.study_instance_uid,
            device=one.calling_ae,
            size=one.data_length,
            facts=one.facts,
        )
        for one in held_objects.find(connection, wanted, place, limit)
    ]


def _jobs(connection: Connection, wanted: HeldFilter, after: WaitingPlace, limit: int) -> list[WaitingThing]:
    since, kind, row = after
    columns = (_t.c.id, _t.c.lane, _t.c.last_error, _t.c.created_at, _t.c.failures)
    sent = (_i.c.study_instance_uid, _i.c.calling_ae, _i.c.data_length, _i.c.facts)
    query = (
        select(*columns, *sent)
        .select_from(_t)
        .outerjoin(_i, (_i.c.id == _t.c.subject) & (_t.c.kind == JobKind.DELIVER))
        .where(wanted.condition(), tuple_(_t.c.created_at, _t.c.id) > tuple_(since, row if kind else -1))
        .order_by(_t.c.created_at + 0, _t.c.id)
        .limit(limit)
    )
    return [
        WaitingThing(
            row=row[0],
            lane=row[1],
            cause=row[2],
            since=row[3],
            failures=row[4],
            study=row[5] or "",
            device=row[6] or "",
            size=row[7] or 0,
            facts=row[8] or "",
        )
        for row in connection.execute(query)
    ]
