"""Imports from other worklist servers: each node on its own schedule, and by hand.

Runs in the first process only: two processes would ask each server twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from broker import telemetry
from broker.dicom.association.user import Remote
from broker.errors import Unavailable
from broker.settings import Settings
from broker.site.nodes import Node
from broker.site.source import DEFAULT
from broker.store.db.database import Database
from broker.store.orders import sourced
from broker.worklist.source.source_import import Account, SourceImport

LONGEST_PAUSE = 3600.0  # seconds between two tries of a server that fails
BY_HAND = 100.0  # seconds; whoever waits for the answer waits no longer
KEEP_DAYS = 30  # items that began before are forgotten; their orders stay


class SourceSchedule:
    """Imports from every node with role worklist; never twice at the same time from one node."""

    def __init__(
        self, database: Database, settings: Settings, nodes: Sequence[Node], remotes: Callable[[Node], Remote]
    ) -> None:
        """`nodes` of the whole site; `remotes` says how we connect to one."""
        self._database = database
        self._settings = settings
        self._subscribers = tuple(node for node in nodes if node.told)
        self._remotes = remotes
        self._nodes = {node.name: node for node in nodes if "worklist" in node.roles}
        self._locks = {name: asyncio.Lock() for name in self._nodes}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin the schedules in the running event loop."""
        self._tasks = [asyncio.create_task(self._schedule(node)) for node in self._nodes.values()]

    async def stop(self) -> None:
        """End the schedules. Each item handed to the database is either committed or not."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def run(self, name: str, *, dry: bool) -> Account | None:
        """Import now, at most BY_HAND seconds long; None for a node that is no worklist.

        Raises StoreUnavailable while the database is away.
        """
        node = self._nodes.get(name)
        return None if node is None else await self._import(node, dry=dry, deadline=BY_HAND)

    async def _schedule(self, node: Node) -> None:
        every = (node.source or DEFAULT).every
        failures = 0
        while True:
            try:
                account = await self._import(node)
                failures = 0 if account.complete or not account.error else failures + 1
            except Unavailable as error:
                failures += 1
                telemetry.logger().warning("source.unavailable", node=node.name, error=telemetry.describe(error))
            except Exception as error:
                failures += 1
                telemetry.SOURCE_IMPORTS.labels(node.name, "defect").inc()
                telemetry.logger().error("source.defect", node=node.name, error=telemetry.describe(error))
            await asyncio.sleep(pause(every, failures))

    async def _import(self, node: Node, *, dry: bool = False, deadline: float | None = None) -> Account:
        source = node.source or DEFAULT
        remote = replace(self._remotes(node), response_timeout=source.timeout)
        if source.calling_ae:
            remote = replace(remote, calling_ae=source.calling_ae)
        work = SourceImport(
            self._database,
            node,
            remote,
            self._settings.zone(),
            self._settings.worklist.default_station,
            self._subscribers,
        )
        async with self._locks[node.name]:
            began = time.perf_counter()
            account = await work.run(dry=dry, deadline=deadline)
            if not dry:
                await self._forget(node)
        _report(account, time.perf_counter() - began)
        return account

    async def _forget(self, node: Node) -> None:
        days = KEEP_DAYS + (node.source or DEFAULT).days_back
        before = datetime.now(self._settings.zone()) - timedelta(days=days)
        await asyncio.wrap_future(self._database.submit(sourced.forget, node.name, before.strftime("%Y%m%d%H%M%S")))


def pause(every: float, failures: int) -> float:
    """Seconds to the next import: longer and longer while the server fails."""
    return min(every * 2.0 ** min(failures, 20), max(every, LONGEST_PAUSE))


def _report(account: Account, duration: float) -> None:
    outcome = "complete" if account.complete else "failed" if account.error else "partial"
    if not account.dry:
        telemetry.SOURCE_IMPORTS.labels(account.node, outcome).inc()
        for kind, count in account.counts.items():
            telemetry.SOURCE_ITEMS.labels(account.node, kind).inc(count)
        if account.complete:
            telemetry.SOURCE_SUCCESS.labels(account.node).set_to_current_time()
    log = telemetry.logger().info if account.complete else telemetry.logger().warning
    log(
        "source.imported",
        node=account.node,
        state=outcome,
        count=account.counts.total(),
        code=account.error or None,
        mode=" ".join(f"{kind}:{count}" for kind, count in sorted(account.counts.items())),
        duration=round(duration, 3),
    )
