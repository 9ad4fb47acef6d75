"""Puts off parts of the start that a full or read-only disk forbids, and tries them again until they succeed."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Awaitable, Callable

from broker import telemetry

AGAIN = 15.0  # seconds between two tries
NO_ROOM = frozenset({errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO})


class Mending:
    """What the broker can do without for a while: the control socket, the file of its ports."""

    def __init__(self) -> None:
        self._late: dict[str, Callable[[], Awaitable[None]]] = {}
        self._task: asyncio.Task[None] | None = None

    async def attempt(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do it now, or later if the disk has no room. Raises OSError for other reasons."""
        try:
            await work()
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            telemetry.logger().warning("service.postponed", kind=name, error=errno.errorcode[error.errno])
            self._late[name] = work
            if self._task is None:
                self._task = asyncio.create_task(self._mend())

    async def stop(self) -> None:
        """Try no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _mend(self) -> None:
        while self._late:
            await asyncio.sleep(AGAIN)
            for name, work in list(self._late.items()):
                with contextlib.suppress(OSError):
                    await work()
                    del self._late[name]
                    telemetry.logger().info("service.made_up", kind=name)
        self._task = None
