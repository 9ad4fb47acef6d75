"""Decides which other destination gets the objects of one that is away (`failover` of a node). Pure.

Nothing is remembered: whoever asks decides by the breakers, so that what a page says is what is done. While a lane has
been failing for `failover_after` and waits for its next try, what waits in it goes to the first of `failover` that
works. When the wait is over, the next object is tried at the node itself. Once that takes it, all goes there again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from broker.model.lane import Lane, LaneKind
from broker.site.nodes import Node


class LaneTrouble(Protocol):
    """A lane as its breaker has it: failures in a row, since when, and until when it is not tried."""

    @property
    def failures(self) -> int:
        """0: its last try was good."""

    @property
    def since(self) -> float:
        """Seconds since the epoch."""

    @property
    def open_until(self) -> float:
        """Seconds since the epoch."""


def failover_of(
    node: Node,
    find: Callable[[str], Node | None],
    troubles: Mapping[str, LaneTrouble],
    paused: Collection[str],
    now: float,
) -> Node | None:
    """Who gets what waits for a node now; None: it waits.

    `troubles`: by stored names of lanes. `paused`: nodes that a person has paused, or that drain.
    """
    own = troubles.get(lane_of(node.name))
    if not node.failover or own is None or not node.active or node.name in paused:
        return None
    if not own.failures or now - own.since < node.failover_after or now >= own.open_until:
        return None
    for name in node.failover:
        other, trouble = find(name), troubles.get(lane_of(name))
        takes = other is not None and other.active and "destination" in other.roles and name not in paused
        if takes and (trouble is None or not trouble.failures):
            return other
    return None


def lane_of(name: str) -> str:
    """The stored name of the lane of objects for a node."""
    return Lane(LaneKind.DELIVER, name).name
