"""Remembers unknown devices that asked for an association, for a person to admit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update

from broker.seats import share_of
from broker.store.schema import tables

_t = tables.knock
_COLUMNS = ("ae_title", "address", "first_at", "last_at", "count", "contexts", "called")
MAX_ROWS = 1000  # a scanner with ever new AE titles fills no disk
MAX_OF_ADDRESS = 50  # and keeps no device of another address off the list
MAX_CONTEXTS = 128  # SOP classes of a device that are remembered

KnockCall = tuple[str, str, float, int, Sequence[str], str]  # what `record` takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Knock:
    """A device that is not let in: how often it called and what it proposed (abstract syntaxes).

    `called`: the AE title that it called last, if that is not ours. Times in s since the epoch.
    """

    ae_title: str
    address: str
    first_at: float
    last_at: float
    count: int
    contexts: tuple[str, ...]
    called: str = ""


def record(
    connection: Connection,
    ae_title: str,
    address: str,
    now: float,
    calls: int = 1,
    contexts: Sequence[str] = (),
    called: str = "",
) -> int:
    """Count calls; how many other devices were forgotten for a new one. `called`: the wrong AE title of the last call.

    An address that has MAX_OF_ADDRESS loses its oldest one, else with MAX_ROWS in all the address that has most does.
    An IPv6 network of 64 bits counts as one address.
    """
    here = (_t.c.ae_title == ae_title, _t.c.address == address)
    before = connection.execute(select(_t.c.contexts).where(*here)).scalar()
    known = set(json.loads(before or "[]"))
    text = json.dumps(sorted(known | set(contexts[: max(0, MAX_CONTEXTS - len(known))])))
    if before is not None:
        values = {"last_at": now, "count": _t.c.count + calls, "contexts": text, "called": called}
        connection.execute(update(_t).where(*here).values(values))
        return 0
    share = share_of(address)
    dropped = _make_room(connection, share)
    row = {"ae_title": ae_title, "address": address, "first_at": now, "last_at": now, "count": calls}
    connection.execute(insert(_t).values(**row, contexts=text, called=called, share=share))
    return dropped


def record_all(connection: Connection, calls: Sequence[KnockCall]) -> int:
    """As `record`, for several."""
    return sum(record(connection, *call) for call in calls)


def _make_room(connection: Connection, share: str) -> int:
    """Forget the device that called longest ago, if one has to go; how many went."""
    here = connection.execute(select(func.count()).where(_t.c.share == share)).scalar_one()
    if here < MAX_OF_ADDRESS:
        if count(connection) < MAX_ROWS:
            return 0
        last = func.min(_t.c.last_at)  # of addresses with as many, that which called longest ago
        share = connection.execute(
            select(_t.c.share).group_by(_t.c.share).order_by(func.count().desc(), last).limit(1)
        ).scalar_one()
    order = (_t.c.last_at, _t.c.ae_title, _t.c.address)
    oldest = select(_t.c.ae_title, _t.c.address).where(_t.c.share == share).order_by(*order).limit(1)
    return forget(connection, *connection.execute(oldest).one())


def all_of(connection: Connection, ae_title: str = "") -> list[Knock]:
    """Unknown devices (of one AE title), the last to call first."""
    query = select(*(_t.c[name] for name in _COLUMNS)).order_by(_t.c.last_at.desc(), _t.c.ae_title, _t.c.address)
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
