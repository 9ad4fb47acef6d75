"""Remembers answers to requests with an idempotency key, so that the same request again has no second effect."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from broker.store.schema import tables

KEPT = 86_400.0  # seconds
_t = tables.idempotency


@dataclass(frozen=True, slots=True)
class Key:
    """The key of a caller, and the digest of what was asked under it."""

    actor: str
    key: str
    digest: bytes

    @property
    def name(self) -> str:
        """Its name, for locks."""
        return f"idempotency|{self.actor}|{self.key}"


@dataclass(frozen=True, slots=True)
class Known:
    """What was asked and what became of it: the order (row, 0 for none), and the document that was answered."""

    digest: bytes
    row: int
    action: str
    answer: Any


def find(connection: Connection, key: Key, at: float) -> Known | None:
    """What is known under a key, younger than `KEPT` at `at` (seconds since the epoch)."""
    query = select(_t.c.digest, _t.c.request, _t.c.action, _t.c.answer).where(
        _t.c.actor == key.actor, _t.c.key == key.key, _t.c.at > at - KEPT
    )
    row = connection.execute(query).one_or_none()
    return Known(bytes(row[0]), row[1] or 0, row[2], json.loads(row[3])) if row else None


def add(connection: Connection, key: Key, row: int, action: str, answer: Any, at: float) -> None:
    """Remember an outcome, in place of one that is too old. `row`: of the order, 0 for none."""
    connection.execute(delete(_t).where(_t.c.actor == key.actor, _t.c.key == key.key))
    text = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
    values = {"actor": key.actor, "key": key.key, "digest": key.digest, "request": row or None, "action": action}
    connection.execute(insert(_t), {**values, "answer": text, "at": at})
