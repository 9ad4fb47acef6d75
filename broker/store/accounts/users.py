"""Rows of users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, insert, or_, select, update

from broker.store.schema import tables

_t = tables.user_account
MOST = 10_000  # that are listed


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredUser:
    """A user; times in s since the epoch. `password` is empty while there is none, `issuer` for a local account."""

    row: int
    name: str
    full_name: str
    role: str
    language: str
    password: str
    password_at: float | None
    issuer: str
    subject: str
    created_at: float
    created_by: str
    disabled_at: float | None
    last_sign_in_at: float | None


def add(connection: Connection, values: dict[str, Any]) -> int:
    """Keep a new user; the row. Raises IntegrityError if there is one of this name, or of this subject."""
    return int(connection.execute(insert(_t).values(values).returning(_t.c.id)).scalar_one())


def by_row(connection: Connection, row: int, *, lock: bool = False) -> StoredUser | None:
    """A user by row. With `lock` nobody else changes it until the end of the transaction."""
    query = select(_t).where(_t.c.id == row)
    return _first(connection, query.with_for_update() if lock else query)


def by_name(connection: Connection, name: str) -> StoredUser | None:
    """A user by name in lower case."""
    return _first(connection, select(_t).where(_t.c.name == name))


def by_subject(connection: Connection, issuer: str, subject: str) -> StoredUser | None:
    """The user whom an issuer of OpenID Connect knows as `subject`."""
    return _first(connection, select(_t).where(_t.c.issuer == issuer, _t.c.subject == subject))


def find(connection: Connection) -> list[StoredUser]:
    """All users by name, also those who are disabled."""
    return [_user(row) for row in connection.execute(select(_t).order_by(_t.c.name).limit(MOST))]


def change(connection: Connection, row: int, values: dict[str, Any]) -> None:
    """Write columns of a user."""
    connection.execute(update(_t).where(_t.c.id == row).values(values))


def able(connection: Connection, role: str) -> set[int]:
    """The users (rows) of a role who can sign in: neither disabled nor without a password.

    Others who look, to change that, wait until this transaction ends.
    """
    known = or_(_t.c.password != "", _t.c.issuer != "")
    enabled = select(_t.c.id).where(_t.c.role == role, _t.c.disabled_at.is_(None), known).with_for_update()
    return set(connection.execute(enabled).scalars())


def any_enabled(connection: Connection, role: str) -> bool:
    """Whether a user of a role may sign in."""
    query = select(func.count()).where(_t.c.role == role, _t.c.disabled_at.is_(None))
    return bool(connection.execute(query).scalar_one())


def _first(connection: Connection, query: Any) -> StoredUser | None:
    row = connection.execute(query).first()
    return None if row is None else _user(row)


def _user(row: Row[Any]) -> StoredUser:
    values = dict(row._mapping)
    return StoredUser(row=values.pop("id"), **values)
