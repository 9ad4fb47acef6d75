"""Keeps which namespaces and universal IDs name one authority, and for which of them rows are still to be joined.

What is stored by universal ID alone gets the namespace once that is learnt (`store.orders.joined_names`). That may be
hundreds of thousands of rows: until the last of them has it, the pair stands in the table `authority_join`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, insert, or_, select, text

from broker.model.authority import AuthorityUse, KnownAuthority
from broker.store.db.engine import is_sqlite
from broker.store.db.prepared import Prepared
from broker.store.schema import tables

_a, _join = tables.authority, tables.authority_join
_more = tables.authority.alias("more")
_KNOWN = Prepared(
    any=select(_a.c.use, _a.c.namespace, _a.c.universal_id, _a.c.first_seen).where(
        or_(
            _a.c.universal_id == bindparam("universal_id"),
            _a.c.namespace == bindparam("namespace"),
            _a.c.namespace.in_(select(_more.c.namespace).where(_more.c.universal_id == bindparam("universal_id"))),
        )
    )
)
_JOINS = Prepared(any=select(_join.c.use, _join.c.universal_id, _join.c.namespace, _join.c.at).order_by(_join.c.at))
_LOCKS = {shared: text(f"SELECT pg_advisory_xact_lock{shared}(:key)") for shared in ("", "_shared")}


@dataclass(frozen=True, slots=True)
class AuthorityJoin:
    """What a use has stored by universal ID alone is to get the namespace, since a time (s since the epoch)."""

    pair: KnownAuthority
    at: float


def known(connection: Connection, namespace: str, universal_id: str) -> list[tuple[KnownAuthority, float]]:
    """Pairs that have one of two names, or a namespace of that universal ID; each with when it was first seen."""
    rows = _KNOWN.rows(connection, {"namespace": namespace, "universal_id": universal_id})
    return [(KnownAuthority(AuthorityUse(row[0]), row[1], row[2]), row[3]) for row in rows]


def hold(connection: Connection, names: Iterable[str], *, learning: bool) -> None:
    """Nobody else learns anything of these names until the transaction ends; while `learning`, nobody uses them.

    SQLite has one writer and needs no locks.
    """
    if is_sqlite(connection):
        return
    for name in sorted(names):
        digest = hashlib.blake2b(f"authority|{name}".encode(), digest_size=8).digest()
        key = int.from_bytes(digest, "big", signed=True)
        connection.execute(_LOCKS["" if learning else "_shared"], {"key": key})


def learn(connection: Connection, pair: KnownAuthority, at: float, source: str) -> None:
    """Keep a pair that contradicts none of its use."""
    values = {"use": pair.use, "namespace": pair.namespace, "universal_id": pair.universal_id}
    connection.execute(insert(_a), {**values, "first_seen": at, "source": source})


def joins(connection: Connection) -> list[AuthorityJoin]:
    """All that is still to be joined, in the order of uses: patients before what is theirs."""
    found = [
        AuthorityJoin(KnownAuthority(AuthorityUse(row[0]), row[2], row[1]), row[3])
        for row in _JOINS.rows(connection, {})
    ]
    uses = list(AuthorityUse)
    return sorted(found, key=lambda join: uses.index(join.pair.use))


def begin_join(connection: Connection, pair: KnownAuthority, at: float) -> None:
    """What the use of a pair has stored by universal ID alone is to be joined, in place of what was to be before."""
    end_join(connection, pair)
    values = {"use": pair.use, "universal_id": pair.universal_id, "namespace": pair.namespace, "at": at}
    connection.execute(insert(_join), values)


def end_join(connection: Connection, pair: KnownAuthority, at: float | None = None) -> None:
    """Nothing is to be joined any more for the use and universal ID of a pair; with `at` only what began then."""
    same = [_join.c.use == pair.use, _join.c.universal_id == pair.universal_id]
    connection.execute(delete(_join).where(*same, *([] if at is None else [_join.c.at == at])))
