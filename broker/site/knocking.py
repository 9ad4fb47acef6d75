"""Unknown devices at the door, remembered for the admin: bounded, and at most one write per device and minute."""

from __future__ import annotations

import time

from broker.store.database import Database
from broker.store.knocks import record

INTERVAL = 60.0
MAX_REMEMBERED = 1000


class KnockBook:
    """Records who knocked."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: dict[tuple[str, str], float] = {}

    def knocked(self, calling_ae: str, address: str) -> None:
        """Note a refused caller. Best effort: the refusal does not wait for it."""
        now = time.time()
        key = (calling_ae, address)
        if now - self._seen.get(key, 0.0) < INTERVAL:
            return
        if len(self._seen) >= MAX_REMEMBERED:
            self._seen.clear()
        self._seen[key] = now
        self._database.submit(record, calling_ae, address, now)
