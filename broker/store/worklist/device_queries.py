"""Remembers the last worklist queries of each device, for a bounded number of devices."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from broker.store.schema import tables

_t, _knock = tables.device_query, tables.knock
MAX_DEVICES = 1000  # beyond, the one that has been silent longest is forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceQueries:
    """What is remembered of a device. Times in s since the epoch; `queries` are JSON objects, oldest first."""

    calling_ae: str
    address: str
    first_at: float
    last_at: float
    calls: int
    queries: list[dict[str, Any]]


def of(connection: Connection, calling_ae: str, address: str = "") -> list[DeviceQueries]:
    """What is remembered of the devices of an AE title, at all addresses or one; the last to ask first."""
    query = select(_t).where(_t.c.calling_ae == calling_ae)
    if address:
        query = query.where(_t.c.address == address)
    return [
        DeviceQueries(**{**row, "queries": json.loads(row["queries"])})
        for row in connection.execute(query.order_by(_t.c.last_at.desc()).limit(MAX_DEVICES)).mappings()
    ]


def recent(connection: Connection, limit: int) -> list[DeviceQueries]:
    """What is remembered of all devices; the last to ask first."""
    rows = connection.execute(select(_t).order_by(_t.c.last_at.desc()).limit(limit)).mappings()
    return [DeviceQueries(**{**row, "queries": json.loads(row["queries"])}) for row in rows]


def latest(connection: Connection, limit: int) -> list[str]:
    """AE titles of the devices that asked last."""
    query = select(_t.c.calling_ae).group_by(_t.c.calling_ae).order_by(func.max(_t.c.last_at).desc())
    return list(connection.execute(query.limit(limit)).scalars())


def of_knocking(connection: Connection) -> dict[tuple[str, str], DeviceQueries]:
    """What is remembered of devices that knock, by AE title and address."""
    here = (_knock.c.ae_title == _t.c.calling_ae) & (_knock.c.address == _t.c.address)
    rows = connection.execute(select(_t).join(_knock, here)).mappings()
    found = [DeviceQueries(**{**row, "queries": json.loads(row["queries"])}) for row in rows]
    return {(device.calling_ae, device.address): device for device in found}


def save(connection: Connection, device: DeviceQueries, *, new: bool) -> None:
    """Write what is remembered of a device; a `new` one may take the place of another."""
    values = {
        "last_at": device.last_at,
        "calls": device.calls,
        "queries": json.dumps(device.queries),
    }
    here = (_t.c.calling_ae == device.calling_ae, _t.c.address == device.address)
    if not new:
        connection.execute(update(_t).where(*here).values(**values))
        return
    if connection.execute(select(func.count()).select_from(_t)).scalar_one() >= MAX_DEVICES:
        silent = connection.execute(select(_t.c.calling_ae, _t.c.address).order_by(_t.c.last_at).limit(1)).one()
        connection.execute(delete(_t).where(_t.c.calling_ae == silent[0], _t.c.address == silent[1]))
    connection.execute(
        insert(_t).values(calling_ae=device.calling_ae, address=device.address, first_at=device.first_at, **values)
    )
