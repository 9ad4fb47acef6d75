"""Rows of the journal of HL7 messages, with the time at which they came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, insert

from broker.store.db.database import Database
from broker.store.schema import tables


def receive(database: Database, messages: Sequence[tuple[str, float]]) -> None:
    """Journal messages: who sent them, and when (s since the epoch)."""

    def add(connection: Connection) -> None:
        rows = [_message(sender, at, number) for number, (sender, at) in enumerate(messages)]
        connection.execute(insert(tables.message), rows)

    database.submit(add).result(60)


def _message(sender: str, at: float, number: int) -> dict[str, Any]:
    return {
        "received_at": at, "listener": "", "peer": "", "sender": sender, "control_id": f"{at}-{number}",
        "message_type": "", "digest": b"", "raw": b"", "accepted": True, "answer_code": "AA", "answer": b"", "note": "",
    }  # fmt: skip


def busy(sender: str, days: int, until: float) -> list[tuple[str, float]]:
    """A message every ten minutes, day and night."""
    return [(sender, until - 600 * number) for number in reversed(range(days * 144))]
