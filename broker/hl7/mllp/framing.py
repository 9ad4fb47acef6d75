"""MLLP framing without I/O: bytes in, frames out (HL7 v2.5.1 appendix C, minimal lower layer protocol).

A frame is VT, message, FS CR. Linear in the bytes fed, never holds more than `max_message`.
Tolerated: noise before VT, doubled VT, FS without CR when VT or the end of the connection follows,
LF instead of CR after FS, and no VT where the bytes begin as a message does. A single FS inside a message is
content. An FS CR inside a message cannot be told from its end; what follows it then is no VT, and the frame is
marked as `truncated`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

VT, FS, CR, LF = 0x0B, 0x1C, 0x0D, 0x0A
_NOISE = b"\r\n\0 \x1c"  # FS: a doubled end block is harmless
_BETWEEN = b"\x1c\r\x0b"
_END = re.compile(rb"\x1c(?=[\r\n\x0b]|\Z)")
_BARE = re.compile(rb"(?:\xef\xbb\xbf)?(?:MSH|FHS|BHS)[^\sA-Za-z0-9\0\x0b\x1c]")
_HEADS = tuple(mark + name for mark in (b"", b"\xef\xbb\xbf") for name in (b"MSH", b"FHS", b"BHS"))
OVERSIZE_HEAD = 4096


@dataclass(frozen=True, slots=True)
class Frame:
    """One message; `truncated` if bytes that are no frame came directly after its end block."""

    payload: bytes
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Oversize:
    """A frame over the limit: its first bytes, for the answer. The framer gives nothing more after it."""

    head: bytes


def wrap(message: bytes) -> bytes:
    """The frame of a message."""
    return b"\x0b" + message + b"\x1c\r"


def begins(data: bytes) -> bool:
    """True if a message begins there, with or without VT."""
    rest = data.lstrip(_NOISE)
    return rest[:1] == b"\x0b" or _BARE.match(rest) is not None


def join(messages: Sequence[bytes]) -> bytes:
    """Messages as `wrap` takes them to make one frame of each."""
    return _BETWEEN.join(messages)


def parts(joined: bytes) -> list[bytes]:
    """The messages of `join`."""
    return joined.split(_BETWEEN) if joined else []


class Framer:
    """State of one direction of one connection."""

    def __init__(self, max_message: int) -> None:
        self._max = max_message
        self._buffer = bytearray()
        self._dead = False
        self._head = b""  # what may become the beginning of a message without VT
        self.inside = False  # a message has begun, its end block has not been seen
        self.bare = False  # it began without VT
        self.ended = False  # the last byte of the open frame was FS
        self.stray = 0  # bytes that are not noise since the last frame
        self.outside = 0  # bytes of any kind since the last frame
        self.tolerated: set[str] = set()  # what no sender should do, by a code

    @property
    def unframed(self) -> bool:
        """There is text that is no frame, or the beginning of one without VT."""
        return bool(self.stray or self._head or (self.inside and self.bare))

    @property
    def held(self) -> int:
        """Bytes of the open frame."""
        return len(self._buffer)

    def drop(self) -> None:
        """Let the open frame go; nothing more comes of this connection."""
        self._buffer, self._dead, self.inside = bytearray(), True, False

    def feed(self, data: bytes) -> list[Frame | Oversize]:
        """Frames completed by `data`, in order."""
        out: list[Frame | Oversize] = []
        position = 0
        while position < len(data) and not self._dead:
            position = self._content(data, position, out) if self.inside else self._between(data, position, out)
        return out

    def finish(self) -> list[Frame | Oversize]:
        """The connection ended or fell silent: an FS without CR ends its frame."""
        out: list[Frame | Oversize] = []
        if self.inside and self.ended:
            self.tolerated.add("end-without-cr")
            self._end(out)
        return out

    def _between(self, data: bytes, position: int, out: list[Frame | Oversize]) -> int:
        start = data.find(VT, position)
        end = len(data) if start < 0 else start
        if end > position:
            self.tolerated.add("noise")
        self.outside += end - position
        rest = self._head + data[position:end]
        if not self.stray:
            rest = rest.lstrip(_NOISE)
            if _BARE.match(rest):
                self.tolerated.add("no-start-block")
                self._buffer += self._head
                position = position if self._head else end - len(rest)
                self.inside, self.ended, self.bare, self._head, self.outside = True, False, True, b"", 0
                return position
            if rest and start < 0 and any(head.startswith(rest) for head in _HEADS):
                self._head = rest
                return end
        self._head = b""
        rest = rest.strip(_NOISE)
        if rest:
            if not self.stray and out and isinstance(out[-1], Frame):
                out[-1] = Frame(out[-1].payload, truncated=True)
            self.stray += len(rest)
        if start < 0:
            return end
        self.inside, self.ended, self.bare, self.stray, self.outside = True, False, False, 0, 0
        return start + 1

    def _content(self, data: bytes, position: int, out: list[Frame | Oversize]) -> int:
        if self.ended:
            following = data[position]
            if following in (CR, LF):
                if following == LF:
                    self.tolerated.add("lf-after-end")
                self._end(out)
                return position + 1
            if following == VT:
                self.tolerated.add("end-without-cr")
                self._end(out)
                return position
            self.ended = False
            self._append(b"\x1c", out)
            if self._dead:
                return len(data)
        if self.bare and (start := data.find(VT, position, _end(data, position))) >= 0:
            self.tolerated.add("lost")  # text without an end block, before a message that has both
            self._buffer = bytearray()
            self.bare = False
            return start + 1
        if not self._buffer and data[position] == VT:
            self.tolerated.add("doubled-start")
            return len(data) - len(data[position:].lstrip(b"\x0b"))
        end = _end(data, position)
        self._append(data[position:end], out)
        self.ended = end < len(data)
        return min(end + 1, len(data))

    def _append(self, chunk: bytes, out: list[Frame | Oversize]) -> None:
        if len(self._buffer) + len(chunk) > self._max:
            head = bytes(self._buffer[:OVERSIZE_HEAD]) + chunk[: max(0, OVERSIZE_HEAD - len(self._buffer))]
            self._buffer = bytearray()
            self._dead, self.inside = True, False
            out.append(Oversize(head))
            return
        self._buffer += chunk

    def _end(self, out: list[Frame | Oversize]) -> None:
        out.append(Frame(bytes(self._buffer)))
        self._buffer = bytearray()
        self.inside, self.ended, self.bare, self.stray = False, False, False, 0


def _end(data: bytes, position: int) -> int:
    """Where the next FS is that may end a frame, else the end of the data."""
    found = _END.search(data, position)
    return found.start() if found else len(data)
