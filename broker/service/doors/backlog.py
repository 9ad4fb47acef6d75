"""Tells when the system keeps fewer connections waiting for a listener than the doors ask for (listen(2))."""

from __future__ import annotations

from pathlib import Path

from broker import telemetry
from broker.seats import BACKLOG

SOMAXCONN = Path("/proc/sys/net/core/somaxconn")


def system_backlog(file: Path = SOMAXCONN) -> int | None:
    """How many connections the system lets wait for one listener; None where it does not tell."""
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def warn_if_short(file: Path = SOMAXCONN) -> None:
    """Warn if a crowd at a door finds less room than BACKLOG: whoever comes then waits a second or longer."""
    most = system_backlog(file)
    if most is not None and most < BACKLOG:
        telemetry.logger().warning("backlog.short", count=BACKLOG, limit=most)
