"""Sends what waits for a destination that is away to another one, as its `failover` says (`queue.failover`).

A delivery ends and another one is made in one transaction, if nobody sends it just then: each object goes to one of
both. What is in doubt, as it was in flight when something broke, may be at the node already: it waits for that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from broker import telemetry
from broker.delivery.rerouting import RerouteEnding, reroute
from broker.queue.failover import failover_of, lane_of
from broker.queue.steering import Steering
from broker.site.nodes import Node
from broker.store import jobs
from broker.store.db.database import Database
from broker.store.queued import pauses, steering

MOST = 1000  # deliveries of a node that are moved at once
WHY = "the node is away"


class FailingOver:
    """Moves deliveries. Its methods block."""

    def __init__(
        self,
        database: Database,
        nodes: Callable[[], Sequence[Node]],
        find: Callable[[str], Node | None],
        wake: Callable[[], None],
    ) -> None:
        """`nodes` in force; `find` one of them by its name. `wake` tells the queue that there is work."""
        self._database, self._nodes, self._find, self._wake = database, nodes, find, wake
        self._targets: dict[str, str] = {}  # by node that is away: who gets its objects, as was last told

    def step(self) -> int:
        """Move what is to be moved now; how many deliveries. Raises StoreUnavailable."""
        nodes = [node for node in self._nodes() if node.failover]
        if not nodes and not self._targets:
            return 0
        troubles, paused = self._database.read(_state).result()
        now, moved = time.time(), 0
        for node in nodes:
            target = failover_of(node, self._find, troubles, paused, now)
            if target is not None:
                moved += self._move(node.name, target.name, now)
        failing = {node.name for node in nodes if (own := troubles.get(lane_of(node.name))) and own.failures}
        for name in self._targets.keys() - failing:
            del self._targets[name]
            self._note("node.returned", name, now)
        return moved

    def _move(self, name: str, target: str, now: float) -> int:
        rows = self._database.read(steering.in_no_doubt, lane_of(name), MOST).result()
        if not rows:
            return 0
        if self._targets.get(name) != target:
            self._targets[name] = target
            self._note("node.failed-over", name, now, to=target)
        done = reroute(self._database, rows, target, frozenset({target}), _who(now), self._wake)
        moved = done[RerouteEnding.REROUTED] + done[RerouteEnding.THERE]
        telemetry.logger().info("node.failed_over", node=name, count=moved)
        return moved

    def _note(self, action: str, name: str, now: float, **more: str) -> None:
        self._database.execute(lambda connection: _who(now).note(connection, action, "node", 0, node=name, **more))


def _state(connection: Connection) -> tuple[dict[str, jobs.Breaker], frozenset[str]]:
    return jobs.breakers(connection), frozenset(one.node for one in pauses.find(connection))


def _who(now: float) -> Steering:
    return Steering(actor="broker", at=now, reason=WHY)
