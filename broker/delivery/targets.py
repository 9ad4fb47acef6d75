"""Finds the node that a lane sends to, as it is in force at that moment."""

from __future__ import annotations

from collections.abc import Callable

from broker.site.nodes import Node

Find = Callable[[str], Node | None]
Serves = Callable[[Node], bool]


def known(name: str, find: Find, serves: Serves) -> Node | None:
    """The node of this name, if this process knows it and it serves the lane's purpose."""
    node = find(name)
    return node if node is not None and serves(node) else None


def looked_up(name: str, find: Find, serves: Serves, refresh: Callable[[], object]) -> Node | None:
    """The same after `refresh` took over what other processes have published (blocking). Raises StoreUnavailable.

    Another process may have queued a job for a node that this one has not heard of yet. So a job is held for an
    unknown node only after this.
    """
    refresh()
    return known(name, find, serves)
