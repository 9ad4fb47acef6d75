"""Defines what a story knows besides the change (when, in whose name, for whom), and an entry of the audit trail."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from broker.model.order import Document
from broker.orders.core.authorities import AuthorityMemory
from broker.site.nodes import Node


@dataclass(frozen=True, slots=True)
class StoryContext:
    """What a story needs besides the change: a random token, the aware time of receipt on the site's clock.

    `subscribers` are the nodes that may want to hear of changes of status. `without_results` are the stations whose
    steps no result ends. `authorities` remembers what a process need not read again.
    """

    token: UUID
    at: datetime
    default_station: str
    actor: str = ""  # who asks, for the records: `hl7:MSH-3|MSH-4`, `api:…`
    sender: tuple[str, str] | None = None  # application and facility of the message, if one asks
    subscribers: tuple[Node, ...] = ()
    without_results: frozenset[str] = frozenset()
    authorities: AuthorityMemory = field(default_factory=AuthorityMemory, compare=False)
    address: str = ""  # from where who asks does so: IP address, `local` for this machine
    reason: str = ""  # why, in the words of a person, for the audit trail

    @property
    def received(self) -> str:
        """Wall clock of the site, `YYYYMMDDHHMMSS`."""
        return self.at.strftime("%Y%m%d%H%M%S")


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What was done to which row, for the audit trail; `detail` is completed with the message."""

    action: str  # `order.created`
    kind: str  # `order`, `patient`
    row: int
    detail: Document
