"""Finds the objects of a study one by one, in the order of their rows, for who acts on all of them or looks at some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from broker.model.lane import JobKind, parts_of
from broker.store.db.pace import padded
from broker.store.images.instances import InstanceState
from broker.store.schema import tables
from broker.store.studies.counting import DeliveryState, state_of

_t, _job = tables.instance, tables.job


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


@dataclass(frozen=True, slots=True)
class ObjectDelivery:
    """What became of sending an object to a node. `error`: the code that stands with it."""

    node: str
    state: DeliveryState
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStand:
    """A received version of an object, with its deliveries. `reason`: code of why it is in its state."""

    id: int
    sop_instance_uid: str
    series_instance_uid: str
    version: int
    state: InstanceState
    reason: str
    device: str
    received_at: float
    size: int
    deliveries: Sequence[ObjectDelivery]


def stands(connection: Connection, study: str, series: str, after: int, limit: int) -> list[ObjectStand]:
    """How objects of a study (UID) are, behind a row; of one series, if that is named."""
    columns = (_t.c.id, _t.c.sop_instance_uid, _t.c.series_instance_uid, _t.c.version, _t.c.state, _t.c.reason)
    here = [_t.c.study_instance_uid == study, _t.c.id > after]
    here += [_t.c.series_instance_uid == series] if series else []
    more = (_t.c.calling_ae, _t.c.received_at, _t.c.data_length)
    found = connection.execute(select(*columns, *more).where(*here).order_by(_t.c.id).limit(limit)).all()
    deliveries = _deliveries(connection, [row[0] for row in found])
    return [
        ObjectStand(
            id=row[0],
            sop_instance_uid=row[1],
            series_instance_uid=row[2],
            version=row[3],
            state=InstanceState(row[4]),
            reason=row[5],
            device=row[6],
            received_at=row[7],
            size=row[8],
            deliveries=deliveries.get(row[0], ()),
        )
        for row in found
    ]


def _deliveries(connection: Connection, rows: Sequence[int]) -> dict[int, list[ObjectDelivery]]:
    """The deliveries of objects by their rows. They are sorted here: an order would be led by all of a lane."""
    columns = (_job.c.subject, _job.c.lane, _job.c.state, _job.c.last_error)
    here = _job.c.subject.in_(padded(rows)), _job.c.kind.concat("") == JobKind.DELIVER
    told = connection.execute(select(*columns).where(*here)).all() if rows else []
    found: dict[int, list[ObjectDelivery]] = {}
    for subject, lane, state, error in sorted(told):
        found.setdefault(subject, []).append(ObjectDelivery(parts_of(lane)[1], state_of(state, error), error))
    return found
