"""Tells a person who waits for the broker that it is being waited for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from broker.cli.output import say

SOON = 1.5  # seconds without a word
WAITING = "waiting for the broker: it is busy, or others hold its control socket"


@contextmanager
def told_soon(seconds: float = SOON, text: str = WAITING) -> Iterator[None]:
    """Say on standard error that the broker is being waited for, if it takes longer than so many seconds."""
    timer = threading.Timer(seconds, say, (text,), {"err": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
