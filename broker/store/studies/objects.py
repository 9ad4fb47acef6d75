"""Finds the objects of a study one by one, in the order of their rows, for who acts on all of them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from broker.store.schema import tables

_t = tables.instance


@dataclass(frozen=True, slots=True)
class StudyObject:
    """A received version of an object, by its row."""

    id: int
    sop_instance_uid: str


def page(connection: Connection, study: str, after: int, until: float, limit: int) -> list[StudyObject]:
    """What was received of a study (UID) before a time (s since the epoch), behind a row."""
    here = _t.c.study_instance_uid == study, _t.c.id > after, _t.c.received_at + 0 < until
    query = select(_t.c.id, _t.c.sop_instance_uid).where(*here).order_by(_t.c.id).limit(limit)
    return [StudyObject(row[0], row[1]) for row in connection.execute(query)]
