"""The event loop of all commands."""

from __future__ import annotations

import sys
from typing import Any


def loop_factory() -> Any:
    """uvloop's where there is one."""
    if sys.platform == "win32":
        import asyncio

        return asyncio.new_event_loop
    import uvloop  # not available on Windows

    return uvloop.new_event_loop
