"""Rows of second factors: sealed secrets, and hashes of recovery codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from broker.store.schema import tables

_t, _code = tables.second_factor, tables.recovery_code


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFactor:
    """The second factor of a user; times in s since the epoch. Secrets are sealed.

    `secret` is in force since `since`, both None for none. `fresh` waits since `fresh_at` for its first code.
    `last_step`: of the last code that was used.
    """

    secret: bytes | None
    since: float | None
    fresh: bytes | None
    fresh_at: float
    last_step: int


def by_user(connection: Connection, user: int) -> StoredFactor | None:
    """What a user (row) has."""
    return _first(connection, select(_t).where(_t.c.user == user))


def lock(connection: Connection, user: int) -> StoredFactor | None:
    """What a user (row) has; nobody else changes it until the end of the transaction."""
    return _first(connection, select(_t).where(_t.c.user == user).with_for_update())


def having(connection: Connection) -> Sequence[int]:
    """The users (rows) whose factor is in force."""
    return list(connection.execute(select(_t.c.user).where(_t.c.since.is_not(None))).scalars())


def put_fresh(connection: Connection, user: int, sealed: bytes, at: float) -> None:
    """Keep a secret that waits for its first code, in place of the one that waited before."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    new = dialect.insert(_t).values(user=user, last_step=0, fresh=sealed, fresh_at=at)
    connection.execute(new.on_conflict_do_update(index_elements=[_t.c.user], set_={"fresh": sealed, "fresh_at": at}))


def put_in_force(connection: Connection, user: int, at: float, step: int) -> None:
    """The waiting secret counts from now on. `step` of the code that was typed."""
    values = {"secret": _t.c.fresh, "fresh": None, "fresh_at": 0.0, "since": at, "last_step": step}
    connection.execute(update(_t).where(_t.c.user == user).values(values))


def use_step(connection: Connection, user: int, step: int) -> None:
    """Note which code was used last."""
    connection.execute(update(_t).where(_t.c.user == user).values(last_step=step))


def drop(connection: Connection, user: int) -> bool:
    """Delete the factor of a user and its recovery codes; False if there is none."""
    connection.execute(delete(_code).where(_code.c.user == user))
    return connection.execute(delete(_t).where(_t.c.user == user)).rowcount == 1


def put_codes(connection: Connection, user: int, digests: Sequence[bytes]) -> None:
    """Keep recovery codes by their SHA-256, in place of those of before."""
    connection.execute(delete(_code).where(_code.c.user == user))
    connection.execute(insert(_code), [{"user": user, "digest": digest} for digest in digests])


def use_code(connection: Connection, user: int, digest: bytes, at: float) -> bool:
    """Use up a recovery code; False if the user has none with this SHA-256."""
    chosen = (_code.c.user == user, _code.c.digest == digest, _code.c.used_at.is_(None))
    return connection.execute(update(_code).where(*chosen).values(used_at=at)).rowcount == 1


def codes_left(connection: Connection, user: int) -> int:
    """Recovery codes that were not used."""
    query = select(func.count()).where(_code.c.user == user, _code.c.used_at.is_(None))
    return int(connection.execute(query).scalar_one())


def _first(connection: Connection, query: Any) -> StoredFactor | None:
    row = connection.execute(query).first()
    if row is None:
        return None
    return StoredFactor(
        secret=row.secret, since=row.since, fresh=row.fresh, fresh_at=row.fresh_at, last_step=row.last_step
    )
