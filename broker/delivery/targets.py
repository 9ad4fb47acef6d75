"""Finds the node that a lane sends to, as it is in force at that moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from broker.site.nodes import Node


async def target(
    name: str, node: Callable[[str], Node | None], serves: Callable[[Node], bool], refresh: Callable[[], object]
) -> Node | None:
    """The node of this name if it serves the lane's purpose, else None: its jobs must wait for a person.

    Another process may have queued a job for a node that this one has not heard of yet. So `refresh` (which blocks)
    takes over what others have published before a node counts as unknown. Raises StoreUnavailable.
    """
    known = node(name)
    if known is None or not serves(known):
        await asyncio.to_thread(refresh)
        known = node(name)
    return known if known is not None and serves(known) else None
