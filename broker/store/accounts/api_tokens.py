"""Rows of API tokens. Their secrets are not here, only hashes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from broker.store.schema import tables

_t = tables.api_token
_COLUMNS = [column for column in _t.c if column.name != "digest"]
MOST = 1000  # that are listed


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredToken:
    """A token without its secret; times in s since the epoch."""

    row: int
    name: str
    role: str
    created_at: float
    created_by: str
    expires_at: float
    revoked_at: float | None
    last_used_at: float | None

    def in_force(self, at: float) -> bool:
        """Neither revoked nor over."""
        return self.revoked_at is None and at < self.expires_at


def add(connection: Connection, name: str, role: str, digest: bytes, at: float, actor: str, expires_at: float) -> int:
    """Keep a new token; its row. Raises IntegrityError if one of its name is in force."""
    values = {"created_at": at, "created_by": actor, "expires_at": expires_at}
    query = insert(_t).values(name=name, role=role, digest=digest, **values).returning(_t.c.id)
    return int(connection.execute(query).scalar_one())


def by_digest(connection: Connection, digest: bytes) -> StoredToken | None:
    """The token whose secret has this SHA-256."""
    row = connection.execute(select(*_COLUMNS).where(_t.c.digest == digest)).first()
    return None if row is None else _token(row)


def close_expired(connection: Connection, name: str, at: float) -> None:
    """A token whose time is over gives its name free."""
    over = (_t.c.name == name, _t.c.revoked_at.is_(None), _t.c.expires_at <= at)
    connection.execute(update(_t).where(*over).values(revoked_at=_t.c.expires_at))


def find(connection: Connection) -> list[StoredToken]:
    """All tokens, the latest first."""
    return [_token(row) for row in connection.execute(select(*_COLUMNS).order_by(_t.c.id.desc()).limit(MOST))]


def revoke(connection: Connection, row: int, at: float) -> bool:
    """End a token; False if none is in force."""
    chosen = (_t.c.id == row, _t.c.revoked_at.is_(None), _t.c.expires_at > at)
    return connection.execute(update(_t).where(*chosen).values(revoked_at=at)).rowcount == 1


def note_use(connection: Connection, row: int, at: float) -> None:
    """Keep when a token was used last."""
    connection.execute(update(_t).where(_t.c.id == row).values(last_used_at=at))


def _token(row: Row[Any]) -> StoredToken:
    values = dict(row._mapping)
    return StoredToken(row=values.pop("id"), **values)
