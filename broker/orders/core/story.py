"""What every story of intake has in common: it plans one change of a message, and writes what it planned.

Kinds of changes are plain values (`values.OrderChange` and its like). A message is applied as a whole: the changes are
planned and written in their order, each seeing what those before it wrote; one error undoes them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import Connection

from broker.hl7.findings import Finding
from broker.model.order import Document
from broker.orders.core.identifiers import Minter
from broker.site.nodes import Node


@dataclass(frozen=True, slots=True)
class Context:
    """What a story needs besides the change: a random token, the aware time of receipt on the site's clock.

    `subscribers` are the nodes that may want to hear of changes of status, `without_results` the stations whose steps
    no result ends.
    """

    token: UUID
    at: datetime
    default_station: str
    actor: str = ""  # who asks, for the records: `hl7:MSH-3|MSH-4`, `api:…`
    sender: tuple[str, str] | None = None  # application and facility of the message, if one asks
    subscribers: tuple[Node, ...] = ()
    without_results: frozenset[str] = frozenset()

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


class Planned(Protocol):
    """One planned change. With an error among the findings nothing of the message is written."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is to be told to the sender."""
        ...

    @property
    def accession(self) -> str:
        """Accession number, for the log; empty if none."""
        ...

    def write(self, connection: Connection, context: Context) -> tuple[AuditEntry, ...]:
        """Write it; what to record in the audit trail."""
        ...


Story = Callable[[Connection, Any, Context, Minter], Planned]
