"""A hospital with one destination that takes objects one by one over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from broker.delivery.notices.trust import NoticeTls
from broker.delivery.object_sender import OneByOne
from broker.queue.retry_policy import RetryPolicy
from broker.site.nodes import parse_nodes
from broker.store.db.database import Database
from support.delivery.hospital import Hospital
from support.loops import run, until
from support.queue.lanes import PACS, QUICK, dispatching

Before = Callable[[], Awaitable[object]]


class CarrierLane:
    """The lane of node `pacs`. `carrier` makes what sends, of the trust in certificates and the folder of the site."""

    def __init__(self, database: Database, folder: Path, carrier: Callable[[NoticeTls, Path], Any]) -> None:
        self.hospital, self.folder, self._carrier = Hospital(database, folder), folder, carrier

    def lead_to(self, table: dict[str, Any], patience: float) -> None:
        """Let the node be this one. `patience` in seconds."""
        self.hospital.nodes = {"pacs": replace(parse_nodes([table])[0], answer_timeout=patience)}

    def settles(self, *states: str, policy: RetryPolicy = QUICK, before: Before | None = None) -> None:
        """The jobs come to these states, after what happens `before` while they are sent."""

        async def work() -> None:
            carrier, hospital = self._carrier(NoticeTls(self.folder), self.folder), self.hospital
            sender = OneByOne(hospital.database, hospital.spool, lambda name: hospital.nodes.get(name), carrier)
            async with dispatching(hospital.database, sender, policy=policy):
                if before is not None:
                    await before()
                await until(lambda: hospital.states() == [*states], f"{states}", 20)
            await carrier.close()

        run(work())

    async def broken(self, code: str) -> None:
        """The lane is down for this reason."""
        await until(lambda: self.hospital.queue.breaker(PACS)[2] == code, f"{code}", 10)

    @property
    def errors(self) -> list[str]:
        """Why the jobs are not done."""
        return self.hospital.queue.errors()
