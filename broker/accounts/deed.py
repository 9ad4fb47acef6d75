"""Says who changes an account, when, from where and why; and puts it into the audit trail."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from broker.model.order import Document
from broker.store.audit.adding import add_audit


@dataclass(frozen=True, slots=True)
class Deed:
    """Who does something at `at` (s since the epoch), from which address, and why, as far as somebody said so."""

    actor: str
    at: float
    address: str = ""
    reason: str = ""

    def note(self, connection: Connection, action: str, user: int, detail: Document) -> None:
        """Add an audit row about a user (row)."""
        because = {"reason": self.reason} if self.reason else {}
        add_audit(connection, self.at, self.actor, action, "user", user, detail | because, address=self.address)
