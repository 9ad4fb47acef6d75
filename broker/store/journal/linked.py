"""Leads from orders and patients to their messages and back. The audit trail names the message of each change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, or_, select, text

from broker.model.order import OrderLinkKind
from broker.store.db import documents
from broker.store.db.pace import padded
from broker.store.journal.holding import holds
from broker.store.schema import tables

MOST = 1000  # messages of an order or a patient; the newest
LOOKED = 5000  # rows of the audit trail that are looked at for them
REFUSED = 5000  # refused messages that are searched for a text
_audit, _message, _sent = tables.audit, tables.message, tables.sent_message
_request, _link, _patient = tables.service_request, tables.order_link, tables.patient
_NAMES_MESSAGE = _audit.c.detail.contains('"message":')


@dataclass(frozen=True, slots=True)
class LinkedMessages:
    """Rows of both journals, the newest first."""

    received: tuple[int, ...]
    sent: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageEffect:
    """What a message did: `action` to an object (`kind` and row), by `actor` at a time (s since the epoch).

    `accession` of an order. `patient` (row): whom it concerns.
    """

    at: float
    actor: str
    action: str
    kind: str
    object_id: int
    patient: int | None
    accession: str = ""


def of_orders(connection: Connection, orders: Sequence[int]) -> LinkedMessages:
    """Messages that changed these orders (rows), or those that were joined into them, or tell of them."""
    joined = select(_link.c.other).where(_link.c.request.in_(orders), _link.c.kind == OrderLinkKind.JOINED.value)
    rows = [*orders, *connection.execute(joined.limit(MOST)).scalars()]
    received: set[int] = set()
    for row in rows[:MOST]:
        whose = (_audit.c.object_kind == "order", _audit.c.object_id == row)
        received |= _named(connection, *whose)
    return LinkedMessages(_newest(received), _sent_of(connection, _sent.c.request.in_(padded(rows[:MOST]))))


def of_patients(connection: Connection, patients: Sequence[int]) -> LinkedMessages:
    """Messages that changed something of these patients (rows), or tell of their orders."""
    received: set[int] = set()
    for row in patients:
        received |= _named(connection, _audit.c.patient == row)
    orders = select(_request.c.id).where(_request.c.patient.in_(padded(patients)))
    rows = list(connection.execute(orders.order_by(_request.c.id.desc()).limit(MOST)).scalars())
    return LinkedMessages(_newest(received), _sent_of(connection, _sent.c.request.in_(padded(rows))) if rows else ())


def _named(connection: Connection, *whose: Any) -> set[int]:
    """Messages that the newest audit rows of an object name."""
    newest = select(_audit.c.detail).where(*whose).order_by(_audit.c.at.desc(), _audit.c.id.desc()).limit(LOOKED)
    details = connection.execute(newest).scalars()
    found = {documents.decode(detail).get("message") for detail in details if '"message":' in detail}
    return {number for number in found if isinstance(number, int)}


def _newest(rows: set[int]) -> tuple[int, ...]:
    return tuple(sorted(rows, reverse=True)[:MOST])


def _sent_of(connection: Connection, which: Any) -> tuple[int, ...]:
    query = select(_sent.c.id).where(which).order_by(_sent.c.at.desc()).limit(MOST)
    return tuple(connection.execute(query).scalars())


def orders_with(connection: Connection, number: str) -> tuple[int, ...]:
    """Orders (rows) whose accession, placer or filler number this is."""
    keys = (_request.c.accession, _request.c.placer_number, _request.c.filler_number)
    query = select(_request.c.id).where(or_(*(key == number for key in keys))).order_by(_request.c.id.desc())
    return tuple(connection.execute(query.limit(20)).scalars())


def refused_with(connection: Connection, words: bytes, limit: int) -> tuple[int, ...]:
    """The newest refused messages (rows) that hold some bytes, of those that are looked at."""
    t = _message.c
    newest = (
        select(t.id, t.raw, t.received_at).where(text("NOT accepted")).order_by(t.received_at.desc()).limit(REFUSED)
    )
    looked = newest.subquery()
    query = select(looked.c.id).where(holds(connection, looked.c.raw, words)).order_by(looked.c.received_at.desc())
    return tuple(connection.execute(query.limit(limit)).scalars())


def effects(connection: Connection, row: int, sender: str, at: float) -> list[MessageEffect]:
    """What a message (row) of a sender, received at a time, did when it came, and when it was run again."""
    again = (_audit.c.object_kind == "message", _audit.c.object_id == row, _audit.c.action == "message.applied")
    runs = connection.execute(select(_audit.c.at, _audit.c.actor).where(*again).limit(20)).all()
    found = []
    for moment, actor in [(at, f"hl7:{sender}"), *((run.at, run.actor) for run in runs)]:
        query = select(_audit).where(_audit.c.actor == actor, _audit.c.at == moment, _NAMES_MESSAGE)
        for one in connection.execute(query.order_by(_audit.c.id).limit(200)):
            if documents.decode(one.detail).get("message") == row:
                found.append(one)
    accessions = _accessions(connection, [one.object_id for one in found if one.object_kind == "order"])
    return [
        MessageEffect(
            at=one.at,
            actor=one.actor,
            action=one.action,
            kind=one.object_kind,
            object_id=one.object_id,
            patient=one.patient,
            accession=accessions.get(one.object_id, "") if one.object_kind == "order" else "",
        )
        for one in found
    ]


def _accessions(connection: Connection, orders: Sequence[int]) -> dict[int, str]:
    if not orders:
        return {}
    query = select(_request.c.id, _request.c.accession).where(_request.c.id.in_(padded(orders)))
    return {row.id: row.accession for row in connection.execute(query)}


def accession_of(connection: Connection, order: int) -> str:
    """The accession number of an order (row); empty if there is none."""
    return _accessions(connection, [order]).get(order, "")
