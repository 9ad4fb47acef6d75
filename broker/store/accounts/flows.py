"""Rows of sign-ins that have begun and wait for their second part. Their secrets are not here, only hashes of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from broker.store.schema import tables

_t = tables.sign_in_flow


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFlow:
    """A sign-in that has begun at `began_at` by a method. `user` (row) has proved the first factor; None if nobody has.

    `next_path`: the page that was asked for. `wrong`: wrong codes so far.
    """

    kind: str
    method: str
    user: int | None
    next_path: str
    began_at: float
    wrong: int


def add(connection: Connection, digest: bytes, flow: StoredFlow, expires_at: float, most: int) -> None:
    """Keep a flow by the SHA-256 of its secret. The oldest of its kind go: no more than `most` stay."""
    forget(connection, flow.began_at)
    kept = select(_t.c.digest).where(_t.c.kind == flow.kind).order_by(_t.c.began_at.desc())
    surplus = connection.execute(kept.offset(most - 1)).scalars().all()
    for old in surplus:
        connection.execute(delete(_t).where(_t.c.digest == old))
    connection.execute(insert(_t).values(digest=digest, expires_at=expires_at, **asdict(flow)))


def look(connection: Connection, digest: bytes, kind: str, at: float, *, lock: bool = False) -> StoredFlow | None:
    """A flow whose time is not over. With `lock` nobody else uses it until the end of the transaction."""
    query = select(_t).where(_t.c.digest == digest, _t.c.kind == kind, _t.c.expires_at > at)
    row = connection.execute(query.with_for_update() if lock else query).first()
    return None if row is None else _flow(row)


def take(connection: Connection, digest: bytes, kind: str, at: float) -> StoredFlow | None:
    """Use up a flow; None if there is none, or if somebody else was faster."""
    chosen = (_t.c.digest == digest, _t.c.kind == kind)
    row = connection.execute(delete(_t).where(*chosen).returning(*_t.c)).first()
    return None if row is None or row.expires_at <= at else _flow(row)


def count_wrong(connection: Connection, digest: bytes) -> None:
    """Count a wrong code."""
    connection.execute(update(_t).where(_t.c.digest == digest).values(wrong=_t.c.wrong + 1))


def forget(connection: Connection, at: float) -> None:
    """Delete the flows whose time is over."""
    connection.execute(delete(_t).where(_t.c.expires_at <= at))


def _flow(row: Any) -> StoredFlow:
    return StoredFlow(**{field.name: getattr(row, field.name) for field in fields(StoredFlow)})
