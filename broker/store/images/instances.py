"""Keeps the rows of received SOP Instances, with every version of an object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    delete,
    insert,
    literal,
    or_,
    select,
    text,
    tuple_,
    update,
)

from broker.model.lane import JobKind, JobState
from broker.store.db.pace import padded
from broker.store.db.prepared import Prepared
from broker.store.images.fresh_bytes import FreshBytes
from broker.store.schema import tables

_t, _content = tables.instance, tables.content
_HAS_FILE = text("path <> ''")  # bare, as the partial index says it
Place = tuple[float, int]  # when an object was received (s since the epoch), and its row: where a walk stands
NEVER = -1.0  # a time before all others
REROUTED = "rerouted"  # why a delivery was discarded: a person sent its object elsewhere
_VERSIONS = Prepared(
    any=select(_t.c.id, _t.c.version, _t.c.digest, _t.c.state, _t.c.path, _t.c.data_offset, _t.c.data_length)
    .where(_t.c.sop_instance_uid == bindparam("uid"))
    .order_by(_t.c.version.desc())
    .with_for_update()
)


class InstanceState(StrEnum):
    """Says what became of an object by the rules, and whether its bytes are still here."""

    ROUTED = "routed"  # deliveries were enqueued
    HELD = "held"  # a person must look
    DISCARDED = "discarded"  # by a rule or a person: kept for a while, sent nowhere
    PURGED = "purged"  # sent everywhere, or discarded for long: its bytes are deleted
    WAITING = "waiting"  # for its series or study to be complete


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInstance:
    """What reception knows of an object when it asks for a row. Times in seconds since the epoch."""

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str
    series_instance_uid: str
    calling_ae: str
    called_ae: str
    peer: str
    path: str
    data_offset: int
    data_length: int
    digest: bytes
    received_at: float
    state: InstanceState
    reason: str
    rules_version: int
    trace: str
    facts: str
    discarded_at: float = 0.0  # 0: it is not discarded
    content: bytes | None = None  # the data set itself, if it has no file


_COLUMNS = [field.name for field in fields(NewInstance) if field.name != "content"]
_ADD = Prepared(any=insert(_t).values({name: bindparam(name) for name in ("version", *_COLUMNS)}).returning(_t.c.id))
# the usual case, that nobody has seen the UID, in one statement
_ADD_FIRST = Prepared(
    any=insert(_t)
    .from_select(
        ["version", *_COLUMNS],
        select(literal(1), *(bindparam(name, type_=_t.c[name].type) for name in _COLUMNS)).where(
            ~select(_t.c.id).where(_t.c.sop_instance_uid == bindparam("sop_instance_uid")).exists()
        ),
    )
    .returning(_t.c.id)
)
_ADD_CONTENT = Prepared(any=insert(_content).values(instance=bindparam("instance"), data=bindparam("data")))


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownVersion:
    """A version of an object that is there already. Offset and length in bytes."""

    id: int
    version: int
    digest: bytes
    state: str
    path: str
    data_offset: int
    data_length: int


class EarlierVersion(NamedTuple):
    """A version of an object, and when it was received (UNIX seconds)."""

    digest: bytes
    state: str
    path: str
    received_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """What a sender needs: identity, encoding, and the data set or where it lies in its file (bytes).

    `digest` is the SHA-256 of the data set as it was received.
    """

    id: int
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    path: str
    data_offset: int
    data_length: int
    digest: bytes
    content: bytes | None
    study_instance_uid: str = ""
    calling_ae: str = ""
    fresh: FreshBytes | None = field(default=None, compare=False)  # of one just received: what its digest is of


def as_stored(new: NewInstance, key: int, fresh: FreshBytes | None = None) -> StoredObject:
    """An object that was just received, by its row; `fresh` are its bytes if they are at hand."""
    return StoredObject(
        id=key,
        sop_instance_uid=new.sop_instance_uid,
        sop_class_uid=new.sop_class_uid,
        transfer_syntax_uid=new.transfer_syntax_uid,
        path=new.path,
        data_offset=new.data_offset,
        data_length=new.data_length,
        digest=new.digest,
        content=new.content,
        study_instance_uid=new.study_instance_uid,
        calling_ae=new.calling_ae,
        fresh=fresh,
    )


@dataclass(frozen=True, slots=True)
class PurgeCandidate:
    """An object by its place; `delivered`: every destination has had it long enough, and nobody asks for it."""

    place: Place
    delivered: bool


def versions(connection: Connection, sop_instance_uid: str) -> list[KnownVersion]:
    """All versions of an object, newest first; on PostgreSQL a purge of them waits for this transaction."""
    rows = _VERSIONS.rows(connection, {"uid": sop_instance_uid})
    return [
        KnownVersion(
            id=row[0],
            version=row[1],
            digest=bytes(row[2]),
            state=row[3],
            path=row[4],
            data_offset=row[5],
            data_length=row[6],
        )
        for row in rows
    ]


def add_first(connection: Connection, new: NewInstance) -> int | None:
    """Insert the row of an object that has none yet; its id, None if there is one.

    Raises IntegrityError if another transaction was faster (PostgreSQL).
    """
    added = _ADD_FIRST.rows(connection, _values(new))
    if not added:
        return None
    key = int(added[0][0])
    _keep_content(connection, key, new)
    return key


def add(connection: Connection, new: NewInstance, version: int) -> int:
    """Insert a row; its id."""
    key = int(_ADD.rows(connection, {"version": version, **_values(new)})[0][0])
    _keep_content(connection, key, new)
    return key


def _values(new: NewInstance) -> dict[str, object]:
    return {name: getattr(new, name) for name in _COLUMNS}


def refile(connection: Connection, key: int, new: NewInstance) -> None:
    """The same bytes came again and take the place of a file that was lost or damaged."""
    connection.execute(update(_t).where(_t.c.id == key).values(path=new.path, data_offset=new.data_offset))
    connection.execute(delete(_content).where(_content.c.instance == key))
    _keep_content(connection, key, new)


def _keep_content(connection: Connection, key: int, new: NewInstance) -> None:
    if new.content is not None:
        _ADD_CONTENT.rows(connection, {"instance": key, "data": new.content})


def stored(connection: Connection, ids: list[int]) -> dict[int, StoredObject]:
    """Objects by id."""
    columns = [*(_t.c[name] for name in StoredObject.__slots__ if name in _t.c), _content.c.data.label("content")]
    query = select(*columns).join(_content, _content.c.instance == _t.c.id, isouter=True)
    rows = connection.execute(query.where(_t.c.id.in_(ids))).mappings()
    return {row["id"]: StoredObject(**row) for row in rows}


def known_paths(connection: Connection, paths: Sequence[str]) -> set[str]:
    """Those of some spool files that have a row."""
    rows = connection.execute(select(_t.c.path).where(_HAS_FILE, _t.c.path.in_(padded(paths))))
    return set(rows.scalars())


def purged_paths(connection: Connection, paths: Sequence[str]) -> set[str]:
    """Those of some spool files whose object was purged: they should be gone."""
    rows = select(_t.c.path).where(_HAS_FILE, _t.c.path.in_(padded(paths)), (_t.c.state + "") == InstanceState.PURGED)
    return set(connection.execute(rows).scalars())


def earlier(connection: Connection, sop_instance_uid: str) -> list[EarlierVersion]:
    """The versions of an object that were received, also those whose bytes are purged."""
    query = select(_t.c.digest, _t.c.state, _t.c.path, _t.c.received_at).where(
        _t.c.sop_instance_uid == sop_instance_uid
    )
    return [EarlierVersion(bytes(row[0]), row[1], row[2], row[3]) for row in connection.execute(query)]


def newest_files(connection: Connection, limit: int) -> list[str]:
    """Spool files of the objects that came last, by their names, which begin with the hour."""
    query = select(_t.c.path).where(_HAS_FILE, _t.c.state != InstanceState.PURGED).order_by(_t.c.path.desc())
    return list(connection.execute(query.limit(limit)).scalars())


def _all_done(before: float, given_up: float) -> ColumnElement[bool]:
    """Every delivery was done before a time, or ended as it goes elsewhere, or a person gave it up before another one.

    With LIMIT, so that PostgreSQL looks by the index and hashes no whole table.
    """
    j = tables.job
    elsewhere = and_(j.c.state == JobState.DISCARDED, j.c.last_error == REROUTED)
    since = case((j.c.state == JobState.DISCARDED, j.c.due_at), else_=j.c.done_at)  # as a discard writes it
    until = case((or_(j.c.state == JobState.DONE, elsewhere), before), else_=given_up)
    waiting = or_(j.c.state.not_in((JobState.DONE, JobState.DISCARDED)), since >= until)
    one = select(j.c.id).where(j.c.kind == JobKind.DELIVER, j.c.subject == _t.c.id, waiting).limit(1)
    return one.scalar_subquery().is_(None)


def _spared() -> ColumnElement[bool]:
    """A request for storage commitment that is not judged names the object."""
    named = tables.commitment_object
    one = select(named.c.position).where(named.c.instance == _t.c.id, text("commitment_object.instance <> 0")).limit(1)
    return one.scalar_subquery().is_not(None)


def may_go(before: float, given_up: float = NEVER) -> ColumnElement[bool]:
    """The bytes of an object are not needed any more; `before` and `given_up` are those of `purgeable`."""
    return and_(_all_done(before, given_up), ~_spared())


def purgeable(
    connection: Connection, before: float, place: Place, limit: int, given_up: float = NEVER
) -> list[PurgeCandidate]:
    """The next routed objects received before a time, behind a place in the order of reception and row.

    `given_up`: before this time a person must have discarded the deliveries that were not done.
    """
    here = tuple_(_t.c.received_at, _t.c.id) > tuple_(*place)
    query = (
        select(_t.c.received_at, _t.c.id, may_go(before, given_up))
        .where(_t.c.state == InstanceState.ROUTED, _t.c.received_at < before, here)
        .order_by(_t.c.received_at, _t.c.id)
        .limit(limit)
    )
    return [PurgeCandidate((row[0], row[1]), bool(row[2])) for row in connection.execute(query)]


def mark_purged(connection: Connection, ids: Sequence[int], before: float, given_up: float = NEVER) -> list[str]:
    """Record that the bytes of these objects go away; paths of those that still may, empty for one without a file.

    `before` and `given_up` are those of `purgeable`. Commit before deleting a file.
    """
    # the state as an expression: SQLite would walk all routed objects by their index
    # an object that comes again at this moment either waits for us here, or its new deliveries are seen below
    these = _t.c.id.in_(padded(ids))
    connection.execute(select(_t.c.id).where(these).order_by(_t.c.id).with_for_update()).all()
    gone = connection.execute(
        update(_t)
        .where(these, (_t.c.state + "") == InstanceState.ROUTED, _t.c.received_at < before, may_go(before, given_up))
        .values(state=InstanceState.PURGED)
        .returning(_t.c.id, _t.c.path)
    ).all()
    connection.execute(delete(_content).where(_content.c.instance.in_(padded([row.id for row in gone]))))
    return [row.path for row in gone]


def reroute(connection: Connection, key: int, new: NewInstance) -> bool:
    """An object that was held or discarded came again, and a rule sends it now, or lets it wait for its study.

    Or it is held, no longer discarded. True if its state has changed.
    """
    waiting = {
        InstanceState.ROUTED: (InstanceState.HELD, InstanceState.DISCARDED),
        InstanceState.WAITING: (InstanceState.HELD, InstanceState.DISCARDED),
        InstanceState.HELD: (InstanceState.DISCARDED,),
    }
    if (before := waiting.get(new.state)) is None:
        return False
    changed = connection.execute(
        update(_t)
        .where(_t.c.id == key, _t.c.state.in_(before))
        .values(
            state=new.state,
            reason=new.reason,
            discarded_at=new.discarded_at,
            rules_version=new.rules_version,
            trace=new.trace,
            facts=new.facts,
        )
    )
    return bool(changed.rowcount)
