"""Hands a data set from the association, which feeds fragments, to a handler, which reads at its own pace.

At most HIGH bytes wait here; then feeding stops, the connection is not read and TCP slows the sender down.
"""

from __future__ import annotations

import asyncio

from broker.errors import BadContent

HIGH = 2 * 1024 * 1024
FEW = 16


class Notifier:
    """Wakes those who wait for a change; what has changed, they look up themselves. Belongs to one event loop."""

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


class DataStream:
    """Bytes of one data set. Empty and at its end if the message has none."""

    def __init__(self, *, limit: int, present: bool = True) -> None:
        self._parts: list[bytes] = []
        self._held = 0
        self._ended = not present
        self._failed: BaseException | None = None
        self._too_large = False
        self._change = Notifier()
        self._discarding = False
        self._limit = limit
        self.received = 0

    # --- for the association -----------------------------------------------------------------------------

    async def feed(self, data: memoryview, last: bool) -> None:
        """Take a fragment; waits while the handler lags behind."""
        self.received += len(data)
        if self.received > self._limit:
            self._too_large = True
            self.discard()
        if not self._discarding:
            self._parts.append(bytes(data))
            self._held += len(data)
        self._ended = self._ended or last
        self._change.notify()
        while self._held > HIGH and not self._discarding:
            await self._change.wait()

    def fail(self, error: BaseException) -> None:
        """No more data will come; the reader gets `error`."""
        if not self._ended and self._failed is None:
            self._failed = error
            self._change.notify()

    def discard(self) -> None:
        """The handler is done: what still comes is thrown away."""
        self._discarding = True
        self._parts.clear()
        self._held = 0
        self._change.notify()

    @property
    def ended(self) -> bool:
        """The last fragment has arrived."""
        return self._ended

    # --- for the handler ---------------------------------------------------------------------------------

    async def read(self, size: int) -> bytes:
        """At least `size` bytes, fewer only at the end, empty when nothing is left. Raises as `take` does."""
        parts = await self.take(size)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def take(self, size: int) -> list[bytes]:
        """The same in FEW pieces at most, as they came if those are few, which spares a copy.

        Raises what ended the stream early: ConnectionLost, DeadlinePassed, BadContent over the limit.
        """
        while True:
            if self._too_large:  # also after the end: what is here is not the whole
                raise BadContent("data set over the configured limit", code="too-large")
            if self._ended or self._held >= min(size, HIGH):
                break
            if self._failed is not None:
                raise self._failed
            await self._change.wait()
        parts, self._parts = self._parts, []
        self._held = 0
        self._change.notify()
        return parts if len(parts) <= FEW else [b"".join(parts)]

    async def read_all(self, limit: int) -> bytes:
        """The whole data set. Raises BadContent if it is longer than `limit` bytes."""
        data = bytearray()
        while part := await self.read(1):
            data += part
            if len(data) > limit:
                raise BadContent("data set over the limit of this service", code="too-large")
        return bytes(data)

    async def drain(self) -> None:
        """Throw away what comes, up to the end: the peer is answered after its last byte, as it expects.

        Raises what ended the stream early.
        """
        self.discard()
        while not self._ended:
            if self._failed is not None:
                raise self._failed
            await self._change.wait()
