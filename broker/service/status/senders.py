"""Counts from the journal of messages how often each sender sends, and keeps what is usual."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable
from datetime import tzinfo

from sqlalchemy import Connection

from broker.status.facts import SenderFact
from broker.status.rhythm import HOUR, HOURS, Rhythm, counted, silence
from broker.store import senders as store
from broker.store.db.database import Database
from broker.store.senders import LONGEST, ReceivedFrom, SenderRecord

PAGE = 2000  # rows of the journal that are counted together
PAGES = 10  # at one time: the rest at the next one
BACK = 28 * 86_400.0  # seconds that the first count goes back


class SenderCount:
    """How often each sender sends. `count` is a duty of one process; `facts` may be asked by any thread."""

    def __init__(self, database: Database, zone: tzinfo) -> None:
        self._database = database
        self._zone = zone

    def count(self) -> None:
        """Count what came since the last time (blocking). Raises StoreUnavailable."""
        for _ in range(PAGES):
            if not self._database.read(_has_news).result():
                return  # nothing is written while nobody sends
            if self._database.submit(self._count, time.time()).result() < PAGE:
                return

    def _count(self, connection: Connection, now: float) -> int:
        """Count one page; how many rows it had."""
        after = store.counted_to(connection)
        if after is None:
            after = store.first_since(connection, now - BACK)
        rows = store.received(connection, after, PAGE)
        known = {record.name: record for record in store.all_of(connection)}
        names = {row.sender for row in rows if 0 < len(row.sender) <= LONGEST}
        changed = [self._with(known.get(name), name, [row for row in rows if row.sender == name]) for name in names]
        store.keep(connection, sorted(changed, key=_name), max((row.row for row in rows), default=after))
        return len(rows)

    def _with(self, record: SenderRecord | None, name: str, rows: list[ReceivedFrom]) -> SenderRecord:
        rhythm = _decoded(record.rhythm) if record else Rhythm()
        for hour, number in sorted(Counter(int(row.at // HOUR) for row in rows).items()):
            rhythm = counted(rhythm, hour, number, self._zone)
        last = max(row.at for row in rows)
        return SenderRecord(
            name=name,
            last_at=max(last, record.last_at) if record else last,
            messages=len(rows) + (record.messages if record else 0),
            rhythm=_encoded(rhythm),
        )

    def facts(self, records: Iterable[SenderRecord], now: float, listening_since: float) -> tuple[SenderFact, ...]:
        """Whether each sender is silent now. Nobody is blamed for the time before `listening_since`."""
        return tuple(self._fact(record, now, listening_since) for record in records)

    def _fact(self, record: SenderRecord, now: float, listening_since: float) -> SenderFact:
        found = silence(_decoded(record.rhythm), max(record.last_at, listening_since), now, self._zone)
        return SenderFact(
            name=record.name,
            last_at=record.last_at,
            messages=record.messages,
            expected=found.expected,
            silent=found.silent,
        )


def _has_news(connection: Connection) -> bool:
    after = store.counted_to(connection)
    return after is None or bool(store.received(connection, after, 1))


def _name(record: SenderRecord) -> str:
    """One order of rows for all processes: no two wait for each other."""
    return record.name


def _encoded(rhythm: Rhythm) -> str:
    return json.dumps([rhythm.hour, rhythm.count, *rhythm.usual], separators=(",", ":"))


def _decoded(text: str) -> Rhythm:
    """The rhythm of a row; an empty one if an earlier or later version wrote it in another way."""
    values = json.loads(text)
    if not isinstance(values, list) or len(values) != HOURS + 2:
        return Rhythm()
    return Rhythm(tuple(values[2:]), values[0], values[1])
