"""Unknown devices at the door, remembered for the admin: bounded, and at most one write per device and minute.

Calls between two writes are counted here; `flush` writes what still waits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from broker.store.db.database import Database
from broker.store.knocks import MAX_CONTEXTS, record

INTERVAL = 60.0
MAX_REMEMBERED = 1000


@dataclass(slots=True)
class _Seen:
    written: float  # when last
    calls: int = 0  # since then
    last: float = 0.0
    contexts: set[str] = field(default_factory=set)


class KnockBook:
    """Records who knocked."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], _Seen] = {}

    def knocked(self, calling_ae: str, address: str, contexts: Sequence[str] = ()) -> None:
        """Note an unknown caller and the SOP classes it proposes. Best effort: its answer does not wait for it."""
        now = time.time()
        with self._lock:
            key = (calling_ae, address)
            seen = self._seen.get(key)
            if seen is None:
                if len(self._seen) >= MAX_REMEMBERED:
                    self._seen.clear()
                seen = self._seen[key] = _Seen(0.0)
            seen.calls += 1
            seen.last = now
            seen.contexts.update(contexts[: MAX_CONTEXTS - len(seen.contexts)])
            if now - seen.written >= INTERVAL:
                self._write(key, seen, now)

    def flush(self, *, everything: bool = False) -> None:
        """Write the calls whose minute is over, or all that wait (blocking). Raises StoreUnavailable."""
        now = time.time()
        with self._lock:
            due = [(k, s) for k, s in self._seen.items() if s.calls and (everything or now - s.written >= INTERVAL)]
            writes = [self._write(key, seen, now) for key, seen in due]
        for write in writes:
            write.result()

    def _write(self, key: tuple[str, str], seen: _Seen, now: float) -> Future[None]:
        write = self._database.submit(record, *key, seen.last, seen.calls, sorted(seen.contexts))
        seen.written, seen.calls = now, 0
        return write
