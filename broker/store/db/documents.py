"""Writes and reads the JSON documents that columns hold."""

from __future__ import annotations

from typing import Any

import orjson


def encode(document: Any) -> str:
    """A document as compact JSON text. Raises TypeError if it holds something else than JSON values, or half a
    surrogate pair.
    """
    return orjson.dumps(document).decode()


def decode(text: str) -> Any:
    """The document that `encode` wrote. Raises ValueError for text that is no JSON."""
    return orjson.loads(text)
