"""Rows of received SOP Instances."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select, update

from broker.store import tables

_t = tables.instance


@dataclass(frozen=True, slots=True)
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
    state: str
    reason: str
    rules_version: int
    trace: str
    facts: str


@dataclass(frozen=True, slots=True)
class KnownVersion:
    """A version of an object that is there already."""

    id: int
    version: int
    digest: bytes
    state: str


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What a sender needs: identity, encoding, and where the data set lies in its file (bytes)."""

    id: int
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    path: str
    data_offset: int
    data_length: int


def versions(connection: Connection, sop_instance_uid: str) -> list[KnownVersion]:
    """All versions of an object, newest first."""
    rows = connection.execute(
        select(_t.c.id, _t.c.version, _t.c.digest, _t.c.state)
        .where(_t.c.sop_instance_uid == sop_instance_uid)
        .order_by(_t.c.version.desc())
    )
    return [KnownVersion(row.id, row.version, bytes(row.digest), row.state) for row in rows]


def add(connection: Connection, new: NewInstance, version: int) -> int:
    """Insert a row; its id."""
    values = {name: getattr(new, name) for name in NewInstance.__slots__}
    result = connection.execute(insert(_t).values(version=version, **values))
    key = result.inserted_primary_key
    assert key is not None
    return int(key[0])


def stored(connection: Connection, ids: list[int]) -> dict[int, StoredObject]:
    """Objects by id."""
    columns = [_t.c[name] for name in StoredObject.__slots__]
    rows = connection.execute(select(*columns).where(_t.c.id.in_(ids)))
    return {row.id: StoredObject(*row) for row in rows}


def known_paths(connection: Connection, folder: str) -> set[str]:
    """Names of all files below one spool folder that have a row."""
    rows = connection.execute(select(_t.c.path).where(_t.c.path.startswith(folder, autoescape=True)))
    return {row.path for row in rows}


def counts(connection: Connection) -> dict[str, int]:
    """Number of objects by state."""
    rows = connection.execute(select(_t.c.state, func.count()).group_by(_t.c.state))
    return {state: int(number) for state, number in rows}


def purgeable(connection: Connection, before: float, limit: int) -> list[tuple[int, str]]:
    """Ids and paths of routed objects received before `before` whose deliveries are all done."""
    j = tables.job
    open_jobs = select(j.c.id).where(j.c.kind == "deliver", j.c.subject == _t.c.id, j.c.state != "done").exists()
    rows = connection.execute(
        select(_t.c.id, _t.c.path)
        .where(_t.c.state == "routed", _t.c.received_at < before, ~open_jobs)
        .order_by(_t.c.received_at)
        .limit(limit)
    )
    return [(row.id, row.path) for row in rows]


def mark_purged(connection: Connection, ids: list[int]) -> None:
    """Record that the bytes of these objects go away; commit before deleting a file."""
    connection.execute(update(_t).where(_t.c.id.in_(ids)).values(state="purged"))


def reroute(connection: Connection, key: int, new: NewInstance) -> None:
    """An object that was held or discarded came again and now a rule sends it."""
    if new.state == "routed":
        connection.execute(
            update(_t)
            .where(_t.c.id == key, _t.c.state.in_(("held", "discarded")))
            .values(state="routed", reason="", rules_version=new.rules_version, trace=new.trace)
        )
