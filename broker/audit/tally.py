"""Counts what devices do, so that the audit trail has a row where a person wants one, and not thousands.

A device asks for its worklist each minute, and sends the objects of a study one by one. The same query again is counted
for WINDOW seconds and written once with its number (`times`). The objects of one study between the same two systems are
one row, as PS3.15 A.5.3.7 wants it, once no more came for QUIET seconds. What is counted at once is bounded: the oldest
gives way and is written.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace

from broker.model.audit import AuditRecord

WINDOW = 900.0  # seconds
QUIET, LONGEST = 10.0, 300.0  # seconds without a further object, seconds of one row
MOST = 4096  # of each kind
_Make = Callable[[], AuditRecord]


@dataclass(slots=True)
class _Again:
    """The same thing again and again, since it was written."""

    written: float
    make: _Make
    times: int = 0


@dataclass(slots=True)
class _Transfer:
    first: float
    last: float
    record: AuditRecord
    classes: dict[str, int] = field(default_factory=dict)  # objects by SOP class


class Tally:
    """What devices did since the last look. Its methods may be called in any thread; they are quick."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._lock = threading.Lock()
        self._again: dict[Hashable, _Again] = {}
        self._transfers: dict[Hashable, _Transfer] = {}
        self._ready: list[_Make] = []
        self._left_out = 0

    def repeated(self, key: Hashable, make: _Make) -> None:
        """Something that may come often. `key` says what is the same; `make` is called when it is written."""
        with self._lock:
            known = self._again.get(key)
            if known is not None:
                known.times, known.make = known.times + 1, make
                return
            if len(self._again) >= MOST:
                self._close(self._again.pop(next(iter(self._again))))
            self._again[key] = _Again(self._clock(), make)
            self._give(make)

    def transferred(self, key: Hashable, record: AuditRecord, sop_class: str) -> None:
        """An object went from one system to another. `key`: both systems and the study."""
        now = self._clock()
        with self._lock:
            known = self._transfers.get(key)
            if known is None:
                if len(self._transfers) >= MOST:
                    self._end(self._transfers.pop(next(iter(self._transfers))))
                known = self._transfers[key] = _Transfer(now, now, record)
            known.last = now
            known.classes[sop_class] = known.classes.get(sop_class, 0) + 1

    def due(self, *, everything: bool = False) -> list[AuditRecord]:
        """The rows that are to be written now; with `everything` all that was counted."""
        now = self._clock()
        with self._lock:
            for key, again in list(self._again.items()):
                if everything or now - again.written >= WINDOW:
                    del self._again[key]
                    self._close(again)
            for key, transfer in list(self._transfers.items()):
                if everything or now - transfer.last >= QUIET or now - transfer.first >= LONGEST:
                    del self._transfers[key]
                    self._end(transfer)
            ready, self._ready = self._ready, []
            left_out, self._left_out = self._left_out, 0
        rows = [make() for make in ready]
        if left_out:
            rows.append(_left_out(left_out))
        return rows

    def _close(self, again: _Again) -> None:
        """The window of something repeated is over."""
        if again.times:
            make, times = again.make, again.times
            self._give(lambda: _with(make(), times=times))

    def _end(self, transfer: _Transfer) -> None:
        record, classes = transfer.record, transfer.classes
        self._give(lambda: _with(record, sop_classes=classes, count=sum(classes.values())))

    def _give(self, make: _Make) -> None:
        if len(self._ready) < 2 * MOST:
            self._ready.append(make)
        else:
            self._left_out += 1  # the database has been away for long: how many is told at least


def _left_out(count: int) -> AuditRecord:
    detail = {"rows": count}
    return AuditRecord(
        at=time.time(), actor="broker", action="audit.left_out", kind="audit", object_id=0, detail=detail
    )


def _with(record: AuditRecord, **more: object) -> AuditRecord:
    return replace(record, detail={**record.detail, **more})
