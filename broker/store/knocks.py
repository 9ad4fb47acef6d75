"""Remembers unknown devices that asked for an association, for a person to admit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update

from broker.store.schema import tables

_t = tables.knock
MAX_ROWS = 1000  # a scanner with ever new AE titles fills no disk
MAX_CONTEXTS = 128  # SOP classes of a device that are remembered


@dataclass(frozen=True, slots=True, kw_only=True)
class Knock:
    """An unknown device: how often it called and what it proposed (abstract syntaxes). Times in s since the epoch."""

    ae_title: str
    address: str
    first_at: float
    last_at: float
    count: int
    contexts: tuple[str, ...]


def record(
    connection: Connection, ae_title: str, address: str, now: float, calls: int = 1, contexts: Sequence[str] = ()
) -> None:
    """Count calls. Beyond MAX_ROWS devices new ones are not remembered."""
    here = (_t.c.ae_title == ae_title, _t.c.address == address)
    before = connection.execute(select(_t.c.contexts).where(*here)).scalar()
    known = set(json.loads(before or "[]"))
    text = json.dumps(sorted(known | set(contexts[: max(0, MAX_CONTEXTS - len(known))])))
    if before is not None:
        values = {"last_at": now, "count": _t.c.count + calls, "contexts": text}
        connection.execute(update(_t).where(*here).values(values))
    elif count(connection) < MAX_ROWS:
        connection.execute(
            insert(_t).values(ae_title=ae_title, address=address, first_at=now, last_at=now, count=calls, contexts=text)
        )


def all_of(connection: Connection, ae_title: str = "") -> list[Knock]:
    """Unknown devices (of one AE title), the last to call first."""
    query = select(_t).order_by(_t.c.last_at.desc(), _t.c.ae_title, _t.c.address)
    if ae_title:
        query = query.where(_t.c.ae_title == ae_title)
    return [
        Knock(**{**row, "contexts": tuple(json.loads(row["contexts"]))}) for row in connection.execute(query).mappings()
    ]


def forget(connection: Connection, ae_title: str, address: str = "") -> int:
    """Delete what is remembered of a device, at all addresses without one; how many rows."""
    query = delete(_t).where(_t.c.ae_title == ae_title)
    return connection.execute(query.where(_t.c.address == address) if address else query).rowcount


def count(connection: Connection) -> int:
    """How many unknown devices have knocked."""
    return int(connection.execute(select(func.count()).select_from(_t)).scalar_one())
