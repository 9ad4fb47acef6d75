"""Inflates a deflated data set piece by piece (PS3.5 A.5), within the bounds that its reception had."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from broker.dicom.dataset.scan import MAX_INFLATED, MAX_RATIO
from broker.errors import BadContent

_PIECE = 256 * 1024  # bytes that come out at once


def inflated(pieces: Iterator[bytes], length: int) -> Iterator[bytes]:
    """The data set; `length`: bytes of the deflated one.

    Raises BadContent for what is no deflated data set, is cut, or is larger than MAX_INFLATED or MAX_RATIO allow.
    """
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    left = min(MAX_INFLATED, MAX_RATIO * length + 65_536)
    try:
        for piece in pieces:  # also behind the end: the digest of the whole is checked there
            rest = piece
            while rest and not engine.eof:
                plain = engine.decompress(rest, _PIECE)
                left -= len(plain)
                if left < 0:
                    raise BadContent("deflated data set too large", code="bad-deflate")
                if plain:
                    yield plain
                rest = engine.unconsumed_tail
    except zlib.error:
        raise BadContent("deflated data set cannot be inflated", code="bad-deflate") from None
    if not engine.eof:
        raise BadContent("deflated data set is cut", code="bad-deflate")
