"""Sends waiting or held objects to another destination: the old delivery ends, a new one is made.

A destination that has an object, or is about to get it, is not sent it twice: the old delivery ends all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum

from sqlalchemy import Connection

from broker.errors import BadContent
from broker.model.lane import parts_of
from broker.queue.steering import Steering, pages
from broker.routing.recording import enqueue_deliveries, lacking
from broker.routing.rules.evaluate import PlannedDelivery
from broker.store.db.database import Database
from broker.store.images.instances import REROUTED
from broker.store.queued import steering
from broker.store.queued.steering import WaitingDelivery


class RerouteEnding(StrEnum):
    """Says what became of a delivery that a person wanted to go elsewhere."""

    REROUTED = "rerouted"  # it ended, and the other destination gets the object
    THERE = "there"  # it ended: the other destination has the object, or a delivery of it
    SAME = "same"  # it is for that destination
    GONE = "gone"  # the bytes are no longer there
    NOT_WAITING = "not-waiting"  # it is being sent, was done, or sends no object


def reroute(
    database: Database,
    rows: Sequence[int],
    node: str,
    destinations: frozenset[str],
    who: Steering,
    wake: Callable[[], None],
) -> Counter[RerouteEnding]:
    """Let a node have what waiting or held deliveries send; how many ended how. Raises BadContent, StoreUnavailable.

    `destinations` are the nodes that take objects. `wake` tells the queue that there is work.
    """
    if node not in destinations:
        raise BadContent("not a destination", code="unknown-node")

    def moved(connection: Connection, page: Sequence[int]) -> Counter[RerouteEnding]:
        found = steering.deliveries(connection, page)
        done = Counter(_move(connection, one, node, who) for one in found)
        return done + Counter({RerouteEnding.NOT_WAITING: len(page) - len(found)})

    done: Counter[RerouteEnding] = Counter()
    for page in pages(rows):
        done += database.execute(moved, page)
        wake()
    return done


def _move(connection: Connection, one: WaitingDelivery, node: str, who: Steering) -> RerouteEnding:
    kind, before = parts_of(one.lane)
    if before == node:
        return RerouteEnding.SAME
    if not one.there:
        return RerouteEnding.GONE
    if not steering.give_up(connection, one.id, REROUTED, who.at):
        return RerouteEnding.NOT_WAITING
    planned = [PlannedDelivery(node, one.priority)]
    left = lacking(connection, one.subject, one.sop_instance_uid, planned)
    under_way = steering.is_under_way(connection, f"{kind}:{node}", one.subject)
    if left and not under_way:
        detail = one.detail | {"by": who.actor}
        enqueue_deliveries(connection, one.subject, one.sop_instance_uid, left, detail, who.at)
    who.note(connection, "job.rerouted", "job", one.id, to=node)
    return RerouteEnding.REROUTED if left and not under_way else RerouteEnding.THERE
