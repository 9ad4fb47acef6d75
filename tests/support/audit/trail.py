"""An audit trail and its way to a repository, without a broker around it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select

from broker.audit.feeding import AuditFeeder
from broker.delivery.audit_sender import AuditSender
from broker.model.lane import LaneKind
from broker.queue.retry_policy import RetryPolicy
from broker.site.nodes import Node
from broker.site.remotes import Repositories
from broker.site.repository import Repository
from broker.store.audit.adding import add_audit
from broker.store.db.database import Database
from broker.store.schema import tables
from support.queue.lanes import QUICK, Queue, dispatching

ARR = Node(
    name="arr", kind="syslog", host="127.0.0.1", port=1, roles=frozenset({"audit"}), repository=Repository()
)  # fmt: skip
LANE = "audit:arr"


class Trail:
    """An audit trail and its way to the repository."""

    def __init__(self, database: Database, node: Node, tls: Repositories | None = None) -> None:
        self.database, self.node = database, node
        self.feeder = AuditFeeder(database)
        self.feeder.feed(["arr"])
        contexts = tls or Repositories(None, Path())
        self.sender = AuditSender(database, lambda name: self._node(name), contexts, "BROKER", ZoneInfo("UTC"))
        self.queue = Queue(database)

    def _node(self, name: str) -> Node | None:
        return self.node if name == self.node.name else None

    def add(self, *numbers: int) -> None:
        def write(connection: Connection) -> None:
            for number in numbers:
                add_audit(connection, float(number), "cli:anna", "order.viewed", "order", number, {}, address="local")

        self.database.execute(write)

    def count(self) -> int:
        rows = select(func.count()).select_from(tables.audit)
        return int(self.database.read(lambda connection: connection.execute(rows).scalar_one()).result())

    @asynccontextmanager
    async def running(self, policy: RetryPolicy = QUICK) -> AsyncIterator[None]:
        """Send what the queue holds."""
        async with dispatching(self.database, {LaneKind.AUDIT: self.sender}, policy=policy):
            yield
        await self.sender.close()
