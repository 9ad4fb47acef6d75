"""Appointments: those whose order is still to come, and which steps of which order each has booked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, insert, or_, select, update

from broker.model.order import Document, EntityId
from broker.store.db.prepared import Prepared
from broker.store.schema import tables

BOOKED, OFF = "booked", "off"
_t = tables.appointment
_COLUMNS = (
    _t.c.id, _t.c.sender, _t.c.number, _t.c.request, _t.c.state, _t.c.event, _t.c.filler_number, _t.c.filler_issuer,
    _t.c.placer_number, _t.c.placer_issuer, _t.c.patient_id, _t.c.issuer, _t.c.start_at, _t.c.steps, _t.c.slots,
    _t.c.sent_from,
)  # fmt: skip
_WAITING = Prepared(
    any=select(*_COLUMNS)
    .where(
        _t.c.request.is_(None),
        or_(
            and_(_t.c.filler_number != "", _t.c.filler_number == bindparam("filler")),
            and_(_t.c.placer_number != "", _t.c.placer_number == bindparam("placer")),
        ),
    )
    .order_by(_t.c.id)
)


@dataclass(frozen=True, slots=True)
class Appointment:
    """An appointment of one order; `request` is the order's row, None while it is to come.

    `number` is that of its sender; `steps` are rows of the steps it has booked, `slots` what is to be booked when the
    order comes. `start_at` is the first start, wall clock `YYYYMMDDHHMMSS`; `sent_from` the earliest moment that the
    time of the last message can mean, seconds since the epoch, 0 for unknown.
    """

    row: int | None
    sender: str
    number: str
    request: int | None
    state: str  # booked | off
    event: str
    filler: EntityId
    placer: EntityId
    patient_id: str = ""
    issuer: str = ""
    start_at: str = ""
    steps: frozenset[int] = frozenset()
    slots: tuple[Document, ...] = ()
    sent_from: float = 0


def _appointment(row: Sequence[Any]) -> Appointment:
    return Appointment(
        row[0],
        row[1],
        row[2],
        row[3],
        row[4],
        row[5],
        EntityId(row[6], row[7]),
        EntityId(row[8], row[9]),
        row[10],
        row[11],
        row[12],
        frozenset(json.loads(row[13])),
        tuple(json.loads(row[14])),
        row[15],
    )


def of_order(connection: Connection, request: int) -> list[Appointment]:
    """All appointments of an order (row), oldest first."""
    return [
        _appointment(row)
        for row in connection.execute(select(*_COLUMNS).where(_t.c.request == request).order_by(_t.c.id))
    ]


def waiting(connection: Connection, filler: EntityId, placer: EntityId) -> list[Appointment]:
    """Appointments kept for an order with one of these numbers, oldest first; issuers count where both have one."""
    rows = _WAITING.rows(connection, {"filler": filler.number, "placer": placer.number})
    found = (_appointment(row) for row in rows)
    return [one for one in found if _fits(one.filler, filler) and _fits(one.placer, placer)]


def _fits(one: EntityId, other: EntityId) -> bool:
    if not (one.number and other.number):
        return True
    return one.number == other.number and (one.issuer == other.issuer or not one.issuer or not other.issuer)


def save(connection: Connection, one: Appointment, at: float) -> int:
    """Insert or update; the row. `at` in seconds since the epoch."""
    values = {
        "at": at,
        "sender": one.sender,
        "number": one.number,
        "request": one.request,
        "state": one.state,
        "event": one.event,
        "filler_number": one.filler.number,
        "filler_issuer": one.filler.issuer,
        "placer_number": one.placer.number,
        "placer_issuer": one.placer.issuer,
        "patient_id": one.patient_id,
        "issuer": one.issuer,
        "start_at": one.start_at,
        "steps": json.dumps(sorted(one.steps)),
        "slots": json.dumps(one.slots, ensure_ascii=False),
        "sent_from": one.sent_from,
    }
    if one.row is None:
        return int(connection.execute(insert(_t).returning(_t.c.id), values).scalar_one())
    connection.execute(update(_t).where(_t.c.id == one.row).values(values))
    return one.row


def expire(connection: Connection, before: float, start_before: str) -> int:
    """Forget appointments not heard of since `before` (seconds since the epoch): those whose order never came, and of
    the others those that began before a wall clock time `YYYYMMDDHHMMSS`. How many."""
    over = or_(_t.c.request.is_(None), _t.c.start_at < start_before)
    return int(connection.execute(delete(_t).where(_t.c.at < before, over)).rowcount)
