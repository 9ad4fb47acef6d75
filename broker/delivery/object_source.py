"""Gives a sender the bytes of a stored object as they were received, and no others.

The SHA-256 of its reception is checked while the object is read. Before the last piece goes out it is known whether all
of them are right: whatever else a peer has got by then, it is no whole object. One that was just received may be at
hand as it came.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from broker.delivery.throttle import Throttle
from broker.dicom.dataset import file_pieces
from broker.store.images.instances import StoredObject
from broker.store.images.soundness import ALTERED, DAMAGED, MISSING
from broker.store.images.spool import Spool

CHUNK = 1024 * 1024


class SpoiledObject(Exception):
    """The bytes of an object are not those that were received: the association must end before it is whole."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class ObjectSource:
    """The data set of one object: from its row, or from its file of which `begin` has read the first piece.

    `transfer_syntax`: the one that its bytes are in.
    """

    def __init__(self, spool: Spool, item: StoredObject) -> None:
        self.item = item
        self.transfer_syntax = item.transfer_syntax_uid
        self._spool = spool
        self._head = b""
        self.throttle: Throttle | None = None  # how fast its bytes may go out

    def paced(self, piece: bytes) -> Iterator[tuple[bytes, float]]:
        """Chunks of a piece, and the seconds to wait before each is sent."""
        return iter(((piece, 0.0),)) if self.throttle is None else self.throttle.cut(piece)

    @property
    def at_hand(self) -> bool:
        """`begin` does not block."""
        return self.item.content is not None or self._fresh() is not None

    def _fresh(self) -> bytes | None:
        return None if self.item.fresh is None else self.item.fresh.whole()

    def begin(self) -> str:
        """Read the first piece, mostly all of it; empty, or why the object cannot be sent. Blocks."""
        item = self.item
        if (fresh := self._fresh()) is not None:
            self._head = fresh  # the digest was made of these, and they lay in no file since
            return ""
        if item.content is not None:
            self._head = item.content
        else:
            try:
                if self._spool.locate(item.path).stat().st_size != item.data_offset + item.data_length:
                    return DAMAGED
                self._head = self._spool.read(item.path, item.data_offset, min(CHUNK, item.data_length))
            except FileNotFoundError:
                return MISSING
        whole = len(self._head) == item.data_length
        return ALTERED if whole and sha256(self._head).digest() != item.digest else ""

    @property
    def whole(self) -> bytes | None:
        """The data set, if one piece is all of it."""
        return self._head + self._padding() if len(self._head) == self.item.data_length else None

    def pieces(self) -> Iterator[bytes]:
        """The data set from its start. Raises SpoiledObject in place of the last piece. Blocks."""
        item, digest = self.item, sha256()
        for position in range(0, item.data_length, CHUNK):
            size = min(CHUNK, item.data_length - position)
            piece = self.part(position, size) if position else self._head
            if len(piece) != size:
                raise SpoiledObject(DAMAGED)  # it became shorter meanwhile
            digest.update(piece)
            if position + size == item.data_length and digest.digest() != item.digest:
                raise SpoiledObject(ALTERED)
            yield piece
        if padding := self._padding():
            yield padding

    def part(self, position: int, size: int) -> bytes:
        """A part of the data set in its file, unchecked; fewer bytes if the file became shorter. Blocks."""
        return self._spool.read(self.item.path, self.item.data_offset + position, size)

    def _padding(self) -> bytes:
        return file_pieces.padding(self.item.data_length, self.item.transfer_syntax_uid)
