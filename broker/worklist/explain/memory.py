"""Remembers the last queries of each device, without patient data. An explanation runs them again.

Values of `recall.PLAIN` keys are kept; of all others only that there was one, and a keyed hash of it where it is exact,
so that it can be told whether it fits a step. Written behind: a query costs the door one append.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from broker.store.db.database import Database
from broker.store.db.pace import Pace
from broker.store.orders import reading
from broker.store.worklist import device_queries
from broker.store.worklist.device_queries import DeviceQueries
from broker.worklist.explain import recall
from broker.worklist.query.keys import Query

KEEP = 20  # queries of a device
ROOM = 1 << 20  # bytes of identifiers whose queries wait as they were understood, many times their size
_MOST = device_queries.MAX_DEVICES  # devices between two flushes


@dataclass(frozen=True, slots=True)
class QueryOutcome:
    """One query and what it came to. `at` in s since the epoch, `duration` in s; no query: it could not be read.

    `size`: bytes of its identifier.
    """

    at: float
    query: Query | None
    count: int
    status: int
    duration: float
    comment: str = ""
    size: int = 0


@dataclass(slots=True)
class _Pending:
    calls: int
    last: deque[QueryOutcome | dict[str, Any]]


class QueryMemory:
    """Remembers queries in memory until `flush` writes them."""

    def __init__(self, database: Database, secret: bytes) -> None:
        """`secret` keys the hashes."""
        self._pace = Pace(database)
        self._secret = secret
        self._lock = threading.Lock()
        self._pending: dict[tuple[str, str], _Pending] = {}
        self._size = 0

    def remember(self, calling_ae: str, address: str, outcome: QueryOutcome) -> None:
        """Note a query. Best effort: nobody waits for it."""
        with self._lock:
            pending = self._pending.get((calling_ae, address))
            if pending is None:
                if len(self._pending) >= _MOST:
                    return
                pending = self._pending[calling_ae, address] = _Pending(0, deque(maxlen=KEEP))
            pending.calls += 1
            self._size += outcome.size
            pending.last.append(outcome if self._size <= ROOM else _entry(outcome, self._secret))

    def flush(self) -> None:
        """Write what has come, in small steps. Raises StoreUnavailable; it is forgotten then."""
        with self._lock:
            pending, self._pending, self._size = self._pending, {}, 0
        at, news = time.time(), [(device, (one.calls, self._entries(one))) for device, one in pending.items()]
        for _ in self._pace.write(lambda connection, part: keep(connection, dict(part), at), news):
            pass

    def _entries(self, pending: _Pending) -> list[dict[str, Any]]:
        return [one if isinstance(one, dict) else _entry(one, self._secret) for one in pending.last]


def _entry(outcome: QueryOutcome, secret: bytes) -> dict[str, Any]:
    asked = recall.encode(outcome.query, secret) if outcome.query is not None else None
    return {
        "at": round(outcome.at, 3),
        "first": round(outcome.at, 3),
        "times": 1,
        "count": outcome.count,
        "status": f"{outcome.status:04X}",
        "duration": round(outcome.duration, 4),
        "comment": outcome.comment,
        "asked": asked,
    }


def keep(
    connection: Connection, news: Mapping[tuple[str, str], tuple[int, Sequence[dict[str, Any]]]], at: float
) -> None:
    """Write calls and queries by device (AE title, address), beside those kept already."""
    reading.lock(connection, ["device-queries"])
    for (calling_ae, address), (calls, entries) in news.items():
        known = device_queries.of(connection, calling_ae, address)
        new = DeviceQueries(calling_ae=calling_ae, address=address, first_at=at, last_at=at, calls=0, queries=[])
        old = known[0] if known else new
        last = max((entry["at"] for entry in entries), default=at)
        device = replace(old, last_at=last, calls=old.calls + calls, queries=merged(old.queries, entries))
        device_queries.save(connection, device, new=not known)


def merged(old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last `KEEP` different queries, oldest first. The same one again is counted; much of one shape gives way."""
    queries = list(old)
    for entry in new:
        meant = (recall.meaning(entry["asked"]), entry["comment"])
        same = next((query for query in queries if (recall.meaning(query["asked"]), query["comment"]) == meant), None)
        if same is not None:
            queries.remove(same)
            times = same["times"] + entry["times"]
            entry = {**entry, "first": same["first"], "times": times, "previous": same["at"]}
        queries.append(entry)
    while len(queries) > KEEP:
        shapes = [recall.shape(entry["asked"]) for entry in queries]
        often = Counter(shapes).most_common(1)[0][0]
        del queries[shapes.index(often)]
    return queries
