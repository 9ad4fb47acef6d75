"""Rows of links that are used once to sign in. Their secrets are not here, only hashes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from broker.store.schema import tables

_t = tables.sign_in_link
_OPEN = _t.c.ended_at.is_(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLink:
    """A link that can still be used. `user` is a row, None for the link that makes the first admin."""

    row: int
    kind: str
    user: int | None
    created_by: str
    expires_at: float


def add(connection: Connection, values: dict[str, Any]) -> int:
    """Keep a new link; the row."""
    return int(connection.execute(insert(_t).values(values).returning(_t.c.id)).scalar_one())


def by_digest(connection: Connection, digest: bytes, at: float) -> StoredLink | None:
    """The link whose secret has this SHA-256, if it can be used at `at`."""
    row = connection.execute(select(_t).where(_t.c.digest == digest, _OPEN, _t.c.expires_at > at)).first()
    if row is None:
        return None
    return StoredLink(row=row.id, kind=row.kind, user=row.user, created_by=row.created_by, expires_at=row.expires_at)


def use(connection: Connection, row: int, at: float) -> bool:
    """End a link as it is used; False if somebody else was faster."""
    return connection.execute(update(_t).where(_t.c.id == row, _OPEN).values(ended_at=at)).rowcount == 1


def end(connection: Connection, kind: str, user: int | None, at: float) -> None:
    """End the open links of a kind, of one user or without one."""
    whose = _t.c.user.is_(None) if user is None else _t.c.user == user
    connection.execute(update(_t).where(_t.c.kind == kind, whose, _OPEN).values(ended_at=at))


def forget(connection: Connection, before: float) -> None:
    """Delete links whose time was over before a moment."""
    connection.execute(delete(_t).where(_t.c.expires_at < before))
