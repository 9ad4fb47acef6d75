"""Keeps how far each object of a request is, and finds what is known of objects: versions, deliveries, bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from broker.model.lane import JobKind, JobState, parts_of
from broker.store.commitments.states import OPEN, CommitmentState
from broker.store.db.engine import is_sqlite
from broker.store.db.pace import padded
from broker.store.images.instances import InstanceState
from broker.store.images.soundness import StoredBytes
from broker.store.schema import tables

_t, _request = tables.commitment_object, tables.commitment
_SETTLE = (
    update(_t)
    .where(_t.c.commitment == bindparam("request"), _t.c.position == bindparam("place"), _t.c.reason == OPEN)
    .values(instance=bindparam("row"), reason=bindparam("result"))
)
_i, _job, _content, _committed = tables.instance, tables.job, tables.content, tables.committed


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """An object of a request that is not judged: its place in the list, and its newest version; 0 for none."""

    position: int
    instance: int


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """A received version of an object."""

    id: int
    sop_class_uid: str
    digest: bytes
    state: InstanceState


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSent:
    """A delivery of a version to a node. `done_at` in s since the epoch, 0 if it is not done."""

    job: int
    node: str
    state: JobState
    error: str
    done_at: float


def file(connection: Connection, request: int, count: int, first: int) -> None:
    """Make rows of `count` objects of a request from a place in its list on."""
    rows = [{"commitment": request, "position": first + n, "instance": 0, "reason": OPEN} for n in range(count)]
    connection.execute(insert(_t), rows)
    connection.execute(update(_request).where(_request.c.id == request).values(filed=first + count))


def page(connection: Connection, request: int, after: int, limit: int) -> list[ObjectRow]:
    """The next objects of a request behind a place in its list that are not judged."""
    here = _t.c.commitment == request, _t.c.position > after, _t.c.reason == OPEN
    query = select(_t.c.position, _t.c.instance).where(*here).order_by(_t.c.position).limit(limit)
    return [ObjectRow(*row) for row in connection.execute(query)]


def versions(connection: Connection, sop_instance_uids: Sequence[str]) -> dict[str, list[ObjectVersion]]:
    """All versions of objects by their UID, the newest first."""
    columns = (_i.c.sop_instance_uid, _i.c.id, _i.c.sop_class_uid, _i.c.digest, _i.c.state)
    query = select(*columns).where(_i.c.sop_instance_uid.in_(padded(sop_instance_uids)))
    found: dict[str, list[ObjectVersion]] = {}
    for row in connection.execute(query.order_by(_i.c.sop_instance_uid, _i.c.version.desc())):
        version = ObjectVersion(row[1], row[2], bytes(row[3]), InstanceState(row[4]))
        found.setdefault(row[0], []).append(version)
    return found


def deliveries(connection: Connection, instances: Sequence[int]) -> dict[int, list[ObjectSent]]:
    """The deliveries of versions (rows)."""
    columns = (_job.c.subject, _job.c.id, _job.c.lane, _job.c.state, _job.c.last_error, _job.c.done_at)
    here = _job.c.subject.in_(padded(instances)), _job.c.kind.concat("") == JobKind.DELIVER
    found: dict[int, list[ObjectSent]] = {}
    for row in connection.execute(select(*columns).where(*here)) if instances else ():
        one = ObjectSent(
            job=row[1], node=parts_of(row[2])[1], state=JobState(row[3]), error=row[4], done_at=row[5] or 0.0
        )
        found.setdefault(row[0], []).append(one)
    return found


def kept_bytes(connection: Connection, instances: Sequence[int]) -> dict[int, StoredBytes]:
    """Where the bytes of versions (rows) lie; not of one whose bytes were deleted after delivery."""
    ids = padded(instances)
    # apart from the rows: of a join with few of them PostgreSQL may read all small objects that there are
    small = connection.execute(select(_content.c.instance, _content.c.data).where(_content.c.instance.in_(ids)))
    content: dict[int, bytes] = {row[0]: bytes(row[1]) for row in small}
    columns = (_i.c.id, _i.c.path, _i.c.data_offset, _i.c.data_length, _i.c.digest)
    query = select(*columns).where(_i.c.id.in_(ids), _i.c.state != InstanceState.PURGED)
    rows = connection.execute(query).mappings()
    return {row["id"]: StoredBytes(**row, content=content.get(row["id"])) for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectChange:
    """What was found of an object: its newest version, its result, and the deliveries (jobs) that are committed."""

    position: int
    instance: int
    reason: int
    committed: Sequence[int] = ()


def settle(connection: Connection, request: int, changes: Sequence[ObjectChange], now: float) -> None:
    """Write down what was found of objects. One that is judged stays as it is."""
    if changes:
        connection.execute(
            _SETTLE,
            [{"request": request, "place": one.position, "row": one.instance, "result": one.reason} for one in changes],
        )
    proven = sorted({job for one in changes for job in one.committed})
    if not proven:
        return
    there = connection.execute(select(_job.c.id).where(_job.c.id.in_(padded(proven)))).scalars()
    rows = [{"job": job, "at": now} for job in there]
    if rows:
        dialect = sqlite if is_sqlite(connection) else postgresql
        added = dialect.insert(_committed)
        update_at = {"at": added.excluded.at}
        connection.execute(added.on_conflict_do_update(index_elements=[_committed.c.job], set_=update_at), rows)


def reasons(connection: Connection, request: int) -> list[int]:
    """The results of all objects of a request, in their order."""
    query = select(_t.c.reason).where(_t.c.commitment == request).order_by(_t.c.position)
    return list(connection.execute(query).scalars())


def left(connection: Connection, limit: int) -> list[tuple[int, int]]:
    """Objects of requests that are judged as a whole: their rows are needed no more."""
    one = select(_request.c.id).where(_request.c.state == CommitmentState.JUDGED, _request.c.filed > 0)
    request = connection.execute(one.order_by(_request.c.id).limit(1)).scalar()
    if request is None:
        return []
    query = select(_t.c.commitment, _t.c.position).where(_t.c.commitment == request).order_by(_t.c.position)
    return [(row[0], row[1]) for row in connection.execute(query.limit(limit))] or [(request, -1)]


def drop(connection: Connection, objects: Sequence[tuple[int, int]]) -> None:
    """Delete rows of objects (request, place in its list), as `left` told them."""
    request, last = objects[0][0], objects[-1][1]
    connection.execute(delete(_t).where(_t.c.commitment == request, _t.c.position <= last))
    rest = select(func.count()).select_from(_t).where(_t.c.commitment == request).scalar_subquery()
    connection.execute(update(_request).where(_request.c.id == request, rest == 0).values(filed=0))
