"""Imports from other worklist servers: each node on its own schedule, and by hand.

Runs in the first process only: two processes would ask each server twice.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from broker import telemetry
from broker.dicom.association.user import Remote
from broker.errors import Unavailable
from broker.model.contact import ContactKind
from broker.model.modalities import known_modalities
from broker.settings import Settings
from broker.site.directory import Directory
from broker.site.nodes import Node
from broker.site.source import DEFAULT
from broker.store.db.database import Database
from broker.store.orders import sourced
from broker.worklist.source.account import ImportAccount
from broker.worklist.source.source_import import SourceImport

LONGEST_PAUSE = 3600.0  # seconds between two tries of a server that fails
BY_HAND = 100.0  # seconds; whoever waits for the answer waits no longer
KEEP_DAYS = 30  # items that began before are forgotten; their orders stay


class SourceSchedule:
    """Imports from every node with role worklist; never twice at the same time from one node."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        directory: Directory,
        remotes: Callable[[Node], Remote],
        noted: Callable[[str, ContactKind, str], None] = lambda node, kind, detail: None,
    ) -> None:
        """`remotes` says how we connect to a node. `noted(node, kind, detail)` is told of each import."""
        self._noted = noted
        self._database = database
        self._settings = settings
        self._directory = directory
        self._remotes = remotes
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._loop: asyncio.AbstractEventLoop | None = None  # None: schedules do not run
        self._schedules: dict[str, tuple[Node, asyncio.Task[None]]] = {}
        self._ended: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin the schedules."""
        self._loop = asyncio.get_running_loop()
        self._arrange()

    def changed(self) -> None:
        """Other nodes are in force: begin and end schedules. Callable from any thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._arrange)

    def _arrange(self) -> None:
        """One schedule for each node as it is now; that of a node that changed begins anew."""
        if self._loop is None:
            return
        nodes = {node.name: node for node in self._directory.having("worklist") if node.active}
        for name, (node, _) in list(self._schedules.items()):
            if nodes.get(name) != node:
                self._end(name)
        for name, node in nodes.items():
            if name not in self._schedules:
                self._schedules[name] = node, self._loop.create_task(self._schedule(node))

    def _end(self, name: str) -> None:
        _, task = self._schedules.pop(name)
        task.cancel()
        self._ended.add(task)
        task.add_done_callback(self._ended.discard)

    async def stop(self) -> None:
        """End them; what was handed to the database is committed or not, item by item."""
        self._loop = None
        for name in list(self._schedules):
            self._end(name)
        await asyncio.gather(*self._ended, return_exceptions=True)

    async def run(self, name: str, *, dry: bool) -> ImportAccount | None:
        """Import now, at most BY_HAND seconds long; None for a node that is no worklist, or is disabled or blocked.

        Raises StoreUnavailable while the database is away.
        """
        node = self._directory.node(name)
        if node is None or not node.active or "worklist" not in node.roles:
            return None
        return await self._import(node, dry=dry, deadline=BY_HAND)

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

    async def _import(self, node: Node, *, dry: bool = False, deadline: float | None = None) -> ImportAccount:
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
            self._directory.subscribers(),
            known_modalities(self._settings.worklist.modalities),
        )
        async with self._locks[node.name]:
            began = time.perf_counter()
            account = await work.run(dry=dry, deadline=deadline)
            if not dry:
                await self._forget(node)
        failed = account.error and not account.counts
        self._noted(node.name, ContactKind.FAILED if failed else ContactKind.IMPORT, account.error)
        _report(account, time.perf_counter() - began)
        return account

    async def _forget(self, node: Node) -> None:
        days = KEEP_DAYS + (node.source or DEFAULT).days_back
        before = datetime.now(self._settings.zone()) - timedelta(days=days)
        await asyncio.wrap_future(self._database.submit(sourced.forget, node.name, before.strftime("%Y%m%d%H%M%S")))


def pause(every: float, failures: int) -> float:
    """Seconds to the next import: longer and longer while the server fails."""
    return min(every * 2.0 ** min(failures, 20), max(every, LONGEST_PAUSE))


def _report(account: ImportAccount, duration: float) -> None:
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
