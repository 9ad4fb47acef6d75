"""Marks refused messages as dealt with by a person, and undoes that; each in the audit trail with its reason."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from broker.store.audit.adding import add_audit
from broker.store.journal import dealt


def deal(connection: Connection, rows: Sequence[int], note: str, actor: str, at: float, address: str) -> int:
    """Say of refused messages (rows) how they were dealt with; how many waited for it."""
    done = [row for row in rows if dealt.mark(connection, row, at, actor, note)]
    for row in done:
        add_audit(connection, at, actor, "message.dealt", "message", row, {"reason": note}, address=address)
    return len(done)


def undo(connection: Connection, row: int, reason: str, actor: str, at: float, address: str) -> bool:
    """Let a message (row) wait for a person again; False if nobody has dealt with it."""
    done = dealt.unmark(connection, row)
    if done:
        add_audit(connection, at, actor, "message.undealt", "message", row, {"reason": reason}, address=address)
    return done
