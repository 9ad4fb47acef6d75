"""A loop whose clock jumps instead of waiting, and a connection without a socket: deadlines of minutes cost nothing.

When nothing is ready and nothing is timed the loop would wait for ever: that is a hang, and it raises `Stuck`.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import deque
from collections.abc import Callable
from typing import Any

WRITE_HIGH = 256  # bytes; a transport may say stop at any time


class Stuck(Exception):
    """Everybody waits for something that nobody will do."""


class _NoSockets(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.jump: Callable[[float], None] | None = None

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Stuck("nothing is ready and nothing is timed")
        if timeout > 0 and self.jump is not None:
            self.jump(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop without sockets and threads. `dial`: what `create_connection` connects to, if anything."""

    def __init__(self) -> None:
        selector = _NoSockets()
        super().__init__(selector)
        self._now = 0.0
        self._clock_resolution = 1e-6
        self.dial: Callable[[asyncio.BaseProtocol], Connection] | None = None
        selector.jump = self._jump

    def _jump(self, seconds: float) -> None:
        self._now += seconds

    def time(self) -> float:
        """Seconds that would have passed."""
        return self._now

    async def create_connection(self, factory: Callable[[], Any], *args: Any, **kwargs: Any) -> Any:
        """Connect to what `dial` makes. Raises ConnectionRefusedError without one: nobody is there."""
        if self.dial is None:
            raise ConnectionRefusedError
        protocol = factory()
        return self.dial(protocol), protocol


class Connection(asyncio.Transport):
    """The transport that our side sees; the other side uses `arrive`, `end` and `said`.

    `reads`: bytes the other side takes before it stops reading; 0 takes all.
    """

    def __init__(self, protocol: asyncio.BufferedProtocol, *, reads: int = 0) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._reads = reads
        self._high = WRITE_HIGH
        self._waiting: deque[memoryview] = deque()
        self._paused = self._ended = self._closing = self._gone = self._blocked = False
        self._unread = 0
        self.said = bytearray()
        self.finished = False  # our side has closed its direction
        self.over = asyncio.Event()  # finished, or the connection is gone
        self.heard: Callable[[], None] = lambda: None
        protocol.connection_made(self)

    # --- the other side ----------------------------------------------------------------------------------

    @property
    def gone(self) -> bool:
        """The connection is over."""
        return self._gone

    def arrive(self, data: bytes) -> None:
        """Bytes come in; what our side does not read yet waits."""
        self._waiting.append(memoryview(data))
        self._deliver()

    def end(self, *, reset: bool = False) -> None:
        """The other side closes, after its last byte, or resets."""
        if reset:
            self._lose(ConnectionResetError())
            return
        self._ended = True
        self._deliver()

    def _deliver(self) -> None:
        while self._waiting and not self._paused and not self._gone and not self._closing:
            data = self._waiting[0]
            space = self._protocol.get_buffer(-1)
            assert len(space), "get_buffer() returned an empty buffer"
            count = min(len(space), len(data))
            space[:count] = data[:count]  # type: ignore[call-overload]
            self._waiting[0] = data[count:]
            if count == len(data):
                self._waiting.popleft()
            self._protocol.buffer_updated(count)
        if self._ended and not self._waiting and not self._gone and not self._paused:
            self._ended = False
            if not self._protocol.eof_received():
                self.close()

    def _lose(self, error: Exception | None) -> None:
        if not self._gone:
            self._gone = self._closing = True
            self.over.set()
            self._waiting.clear()
            self._loop.call_soon(self._protocol.connection_lost, error)

    # --- our side ----------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """An address; no socket and no TLS."""
        return ("127.0.0.1", 4242) if name == "peername" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing: WRITE_HIGH holds."""

    def get_write_buffer_size(self) -> int:
        """Bytes the other side has not read."""
        return self._unread

    def pause_reading(self) -> None:
        """Keep what comes."""
        self._paused = True

    def resume_reading(self) -> None:
        """Hand out what waits, as the loop's next act."""
        self._paused = False
        self._loop.call_soon(self._deliver)

    def is_reading(self) -> bool:
        """Not paused."""
        return not self._paused

    def is_closing(self) -> bool:
        """Closed, or about to."""
        return self._closing

    def write(self, data: Any) -> None:
        """Our side says something."""
        if self._closing or self.finished:
            return
        self.said += data
        if self._reads and len(self.said) > self._reads:
            self._unread += len(data)
            if self._unread > self._high and not self._blocked:
                self._blocked = True
                self._protocol.pause_writing()
        self._loop.call_soon(self.heard)

    def writelines(self, list_of_data: Any) -> None:
        """The same, in parts."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """TCP can."""
        return True

    def write_eof(self) -> None:
        """Our side has said all."""
        self.finished = True
        self.over.set()
        self._loop.call_soon(self.heard)

    def close(self) -> None:
        """Close once what was said is read; nothing that comes counts any more."""
        self._closing = True
        if not self._unread:
            self._lose(None)

    def abort(self) -> None:
        """Close at once."""
        self._lose(None)
