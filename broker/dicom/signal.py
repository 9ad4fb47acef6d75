"""Tells those who wait that something has changed; what, they look up themselves."""

from __future__ import annotations

import asyncio


class Change:
    """See the module's text. Belongs to one event loop."""

    def __init__(self) -> None:
        self._next: asyncio.Future[None] | None = None

    def notify(self) -> None:
        """Wake all who wait now."""
        if self._next is not None and not self._next.done():
            self._next.set_result(None)
        self._next = None

    async def wait(self) -> None:
        """Return at the next `notify`."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._next)
