"""Decodes and searches long texts piece by piece: one call for all of it would keep every other thread waiting."""

from __future__ import annotations

import codecs
import re

from broker.hl7 import work


def decode(data: bytes, codec: str, errors: str = "strict") -> str:
    """Text of bytes in a character set of Python. Raises UnicodeDecodeError."""
    if len(data) <= work.PIECE:
        return data.decode(codec, errors)
    decoder = codecs.getincrementaldecoder(codec)(errors)
    parts = [decoder.decode(data[start:end], end == len(data)) for start, end in work.pieces(len(data))]
    return "".join(parts)


def has(pattern: re.Pattern[str], text: str) -> bool:
    """True if a pattern of one character is found."""
    return any(pattern.search(text, start, end) for start, end in work.pieces(len(text)))
