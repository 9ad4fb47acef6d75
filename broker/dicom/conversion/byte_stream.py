"""Reads bytes that come in pieces as if they were one long value: in order, with two pieces in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from broker.errors import BadContent

WINDOW = 256 * 1024  # bytes read at once where most are passed over

More = Callable[[int], bytes]  # the next bytes after so many that are passed over; empty at the end


class ByteStream:
    """Bytes in order. `position` counts those that were taken or passed over."""

    def __init__(self, more: More) -> None:
        self._more = more
        self._data = b""
        self._at = 0
        self._before = 0  # bytes in front of `_data`

    @classmethod
    def of_pieces(cls, pieces: Iterator[bytes]) -> ByteStream:
        """Pieces of any size; what iterating over them raises comes out."""

        def more(passed: int) -> bytes:
            for piece in pieces:
                if passed < len(piece):
                    return piece[passed:]
                passed -= len(piece)
            if passed:
                raise _cut()
            return b""

        return cls(more)

    @classmethod
    def of_place(cls, read: Callable[[int, int], bytes], length: int) -> ByteStream:
        """`length` bytes of which `read(offset, size)` gives any part: what is passed over is not read."""
        at = 0

        def more(passed: int) -> bytes:
            nonlocal at
            at += passed
            if at > length:
                raise _cut()
            data = read(at, min(WINDOW, length - at)) if at < length else b""
            if not data and at < length:
                raise _cut()  # it became shorter
            at += len(data)
            return data

        return cls(more)

    @property
    def position(self) -> int:
        """Bytes before the next one."""
        return self._before + self._at

    def ended(self) -> bool:
        """Nothing comes any more."""
        if self._at < len(self._data):
            return False
        return not self._add(0)

    def peek(self, size: int) -> bytes:
        """The next bytes, which stay; fewer at the end."""
        while len(self._data) - self._at < size and self._add(0):
            pass
        return self._data[self._at : self._at + size]

    def take(self, size: int) -> bytes:
        """The next bytes. Raises BadContent if there are fewer."""
        end = self._at + size
        if end > len(self._data):
            if len(self.peek(size)) < size:
                raise _cut()
            end = self._at + size
        data = self._data[self._at : end]
        self._at = end
        return data

    def skip(self, size: int) -> None:
        """Pass over the next bytes. Raises BadContent if there are fewer."""
        here = len(self._data) - self._at
        if size <= here:
            self._at += size
            return
        self._before += len(self._data) + size - here
        self._data, self._at = self._more(size - here), 0

    def _add(self, passed: int) -> bool:
        more = self._more(passed)
        if more:
            self._before += self._at
            self._data, self._at = (self._data[self._at :] + more if self._at < len(self._data) else more), 0
        return bool(more)


def _cut() -> BadContent:
    return BadContent("the data set ends too early", code="truncated")
