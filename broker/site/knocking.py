"""Unknown devices at the door, remembered for the admin: bounded in all and by address, and at most one write per
device and minute.

Calls between two writes are counted here; `flush` writes what still waits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from broker import telemetry
from broker.seats import share_of
from broker.store.db.database import Database
from broker.store.db.pace import Pace
from broker.store.knocks import MAX_CONTEXTS, MAX_OF_ADDRESS, KnockCall, record, record_all

INTERVAL = 60.0
MAX_REMEMBERED = 1000


@dataclass(slots=True)
class _Seen:
    written: float  # when last
    share: str  # whose share of the list it takes
    calls: int = 0  # since then
    last: float = 0.0
    contexts: set[str] = field(default_factory=set)
    called: str = ""


class KnockBook:
    """Records who knocked."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pace = Pace(database)
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], _Seen] = {}

    def knocked(self, calling_ae: str, address: str, contexts: Sequence[str] = (), called: str = "") -> None:
        """Note a caller and the SOP classes it proposes. Best effort: its answer does not wait for it.

        `called`: the AE title that it called, if that is not ours.
        """
        now = time.monotonic()
        with self._lock:
            key = (calling_ae, address)
            seen = self._seen.get(key)
            if seen is None:
                self._make_room(address)
                seen = self._seen[key] = _Seen(float("-inf"), share_of(address))
            self._seen[key] = self._seen.pop(key)  # whoever called last stands last
            seen.calls += 1
            seen.last, seen.called = time.time(), called
            seen.contexts.update(contexts[: MAX_CONTEXTS - len(seen.contexts)])
            if now - seen.written >= INTERVAL:
                _count_later(self._database.submit(record, *_taken(key, seen, now)))

    def _make_room(self, address: str) -> None:
        """Forget who called longest ago: of an address that has its share, of all where there are too many."""
        share = share_of(address)
        of_share = [key for key, seen in self._seen.items() if seen.share == share]
        if len(of_share) >= MAX_OF_ADDRESS:
            del self._seen[of_share[0]]
        elif len(self._seen) >= MAX_REMEMBERED:
            del self._seen[next(iter(self._seen))]

    def flush(self, *, everything: bool = False) -> None:
        """Write the calls whose minute is over, or all that wait, in small steps (blocking).

        Raises StoreUnavailable.
        """
        now = time.monotonic()
        with self._lock:
            due = [(k, s) for k, s in self._seen.items() if s.calls and (everything or now - s.written >= INTERVAL)]
            calls = [_taken(key, seen, now) for key, seen in due]
        for dropped in self._pace.write(record_all, calls):
            telemetry.KNOCKS_DROPPED.inc(dropped)


def _taken(key: tuple[str, str], seen: _Seen, now: float) -> KnockCall:
    """What is to be written of a device; it counts as written."""
    call = (*key, seen.last, seen.calls, sorted(seen.contexts), seen.called)
    seen.written, seen.calls = now, 0
    return call


def _count_later(write: Future[int]) -> None:
    """Count devices that were forgotten for newer ones, once that is written."""

    def count(done: Future[int]) -> None:
        if not done.cancelled() and done.exception() is None and (dropped := done.result()):
            telemetry.KNOCKS_DROPPED.inc(dropped)

    write.add_done_callback(count)
