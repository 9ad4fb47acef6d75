"""Journal of received HL7 messages: raw bytes and the answer given."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from broker.store import tables


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it came. `digest` is SHA-256 of `raw`, `received_at` seconds since the epoch."""

    raw: bytes
    digest: bytes
    listener: str
    peer: str
    sender: str  # MSH-3|MSH-4
    control_id: str
    message_type: str
    received_at: float


def record(
    connection: Connection, message: Received, *, accepted: bool, answer_code: str, answer: bytes, note: str = ""
) -> int:
    """Append a message with its answer; the row. An accepted one is unique by sender, control id and bytes."""
    values = {
        "received_at": message.received_at,
        "listener": message.listener,
        "peer": message.peer,
        "sender": message.sender,
        "control_id": message.control_id,
        "message_type": message.message_type,
        "digest": message.digest,
        "raw": message.raw,
        "accepted": accepted,
        "answer_code": answer_code,
        "answer": answer,
        "note": note,
    }
    statement = insert(tables.message).returning(tables.message.c.id)
    return int(connection.execute(statement, values).scalar_one())


def stored_answer(connection: Connection, message: Received) -> tuple[str, bytes] | None:
    """Code and bytes of the answer if the same sender had this control id with the same bytes accepted."""
    table = tables.message.c
    query = select(table.answer_code, table.answer).where(
        table.accepted,
        table.sender == message.sender,
        table.control_id == message.control_id,
        table.digest == message.digest,
    )
    found = connection.execute(query).first()
    return (found[0], bytes(found[1])) if found else None


def control_id_used(connection: Connection, message: Received) -> bool:
    """True if the sender had another message accepted under this control id."""
    table = tables.message.c
    query = select(table.id).where(
        table.accepted, table.sender == message.sender, table.control_id == message.control_id
    )
    return connection.execute(query.limit(1)).first() is not None
