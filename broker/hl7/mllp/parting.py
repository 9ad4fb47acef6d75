"""Ends connections whose peer does not read its last answer. A transport would wait for it for ever."""

from __future__ import annotations

import asyncio
from contextlib import suppress

LAST_WORDS = 5.0  # seconds for a peer to read what it was sent before the end


async def part(writer: asyncio.StreamWriter) -> None:
    """Close a connection, and return once it is gone: after LAST_WORDS at the latest."""
    writer.close()
    try:
        async with asyncio.timeout(LAST_WORDS):
            with suppress(OSError):
                await writer.wait_closed()
    except TimeoutError:
        writer.transport.abort()
