"""Tells those who wait that something has changed; what, they look up themselves."""

from __future__ import annotations

import asyncio


class Change:
    """See the module's text. Belongs to one event loop."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    def notify(self) -> None:
        """Wake all who wait now."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                if not waiter.done():  # cancelled
                    waiter.set_result(None)

    async def wait(self) -> None:
        """Return at the next `notify`."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter
