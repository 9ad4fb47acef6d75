"""Rows of sessions. The secrets of their cookies are not here, only hashes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from broker.store.accounts.users import StoredUser
from broker.store.schema import tables

_t = tables.user_session
_user = tables.user_account
_COLUMNS = [column for column in _t.c if column.name != "digest"]
MOST = 1000  # that are listed


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSession:
    """A session without its secret; times in s since the epoch. `user` is a row, `user_name` its name."""

    row: int
    user: int
    user_name: str
    method: str
    address: str
    browser: str
    created_at: float
    seen_at: float
    expires_at: float
    ended_at: float | None

    def in_force(self, at: float, idle: float) -> bool:
        """Neither ended, nor too old, nor unused for `idle` seconds."""
        return self.ended_at is None and at < self.expires_at and at < self.seen_at + idle


def add(connection: Connection, values: dict[str, Any]) -> int:
    """Keep a new session; the row."""
    return int(connection.execute(insert(_t).values(values).returning(_t.c.id)).scalar_one())


def by_digest(connection: Connection, digest: bytes) -> tuple[StoredSession, StoredUser] | None:
    """The session whose secret has this SHA-256, and its user."""
    columns = [*(column.label(f"session_{column.name}") for column in _COLUMNS), *_user.c]
    query = select(*columns).join(_user, _user.c.id == _t.c.user).where(_t.c.digest == digest)
    row = connection.execute(query).first()
    if row is None:
        return None
    values = dict(row._mapping)
    session = {column.name: values.pop(f"session_{column.name}") for column in _COLUMNS}
    user = StoredUser(row=values.pop("id"), **values)
    return StoredSession(row=session.pop("id"), user_name=user.name, **session), user


def by_row(connection: Connection, row: int) -> StoredSession | None:
    """A session by row."""
    found = _sessions(connection, _t.c.id == row, 1)
    return found[0] if found else None


def find(connection: Connection, at: float, idle: float, user: int | None = None) -> list[StoredSession]:
    """The sessions in force, of one user or of all, the one used last first."""
    conditions = (_t.c.ended_at.is_(None), _t.c.expires_at > at, _t.c.seen_at > at - idle)
    here = conditions if user is None else (*conditions, _t.c.user == user)
    return _sessions(connection, here, MOST)


def end(connection: Connection, row: int, at: float) -> bool:
    """End a session; False if it has ended before."""
    chosen = (_t.c.id == row, _t.c.ended_at.is_(None), _t.c.expires_at > at)
    return connection.execute(update(_t).where(*chosen).values(ended_at=at)).rowcount == 1


def end_all(connection: Connection, user: int, at: float, but: int = 0) -> int:
    """End the sessions of a user, all `but` one (row); how many."""
    chosen = (_t.c.user == user, _t.c.ended_at.is_(None), _t.c.expires_at > at, _t.c.id != but)
    return connection.execute(update(_t).where(*chosen).values(ended_at=at)).rowcount


def note_use(connection: Connection, row: int, at: float) -> None:
    """Keep when a session was used last."""
    connection.execute(update(_t).where(_t.c.id == row).values(seen_at=at))


def forget(connection: Connection, before: float) -> None:
    """Delete sessions whose time was over before a moment."""
    connection.execute(delete(_t).where(_t.c.expires_at < before))


def addresses(connection: Connection, user: int, since: float) -> set[str]:
    """From where a user has signed in since a moment."""
    query = select(_t.c.address).distinct().where(_t.c.user == user, _t.c.created_at > since)
    return set(connection.execute(query).scalars())


def _sessions(connection: Connection, conditions: Any, most: int) -> list[StoredSession]:
    chosen = conditions if isinstance(conditions, tuple) else (conditions,)
    query = select(*_COLUMNS, _user.c.name.label("user_name")).join(_user, _user.c.id == _t.c.user).where(*chosen)
    rows = connection.execute(query.order_by(_t.c.seen_at.desc(), _t.c.id.desc()).limit(most)).mappings()
    return [StoredSession(row=row["id"], **{key: row[key] for key in row if key != "id"}) for row in rows]
