"""Watches how full the file systems get, and keeps what it saw in a file of the data directory for the next start."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from broker.status.facts import DiskFact
from broker.status.forecast import DiskHistory, Sample, forecast, sampled
from broker.store.room import DiskRoom

FILE = "disk-history.json"


class DiskWatch:
    """The file systems of some rooms, each once. Its methods may run in any thread."""

    def __init__(self, folder: Path, rooms: Sequence[DiskRoom], clock: Callable[[], float] = time.time) -> None:
        """`folder`: where the history is kept; `clock` gives seconds since the epoch."""
        self._file = folder / FILE
        self._rooms = {room.name: room for room in rooms}
        self._clock = clock
        self._lock = threading.Lock()
        self._histories = self._kept()
        self._facts: tuple[DiskFact, ...] = ()

    def look(self) -> None:
        """Look at each file system (blocking), take a sample if it is time, and keep it if the disk has room for it."""
        now, found = self._clock(), dict[int, DiskFact]()
        with self._lock:
            before = dict(self._histories)
            for room in self._rooms.values():
                measured, device = room.measured(), room.device()
                if measured is None or device is None:
                    continue
                if (other := found.get(device)) is not None:
                    found[device] = replace(other, holds=(*other.holds, room.name))
                    continue
                history = sampled(self._histories.get(room.name, DiskHistory()), now, measured.free)
                self._histories[room.name] = history
                mark = room.mark(measured.size)
                found[device] = DiskFact(
                    holds=(room.name,),
                    size=measured.size,
                    free=measured.free,
                    mark=mark,
                    room=measured.room,
                    forecast=forecast(history, now, measured.free, mark),
                )
            self._facts = tuple(found.values())
            if self._histories != before:
                self._keep()

    def facts(self) -> tuple[DiskFact, ...]:
        """Each file system as it was at the last look, and what is taken in just now."""
        return tuple(replace(fact, room=max(self._rooms[name].room for name in fact.holds)) for fact in self._facts)

    def _kept(self) -> dict[str, DiskHistory]:
        """What the start before kept; nothing if that cannot be read."""
        try:
            document = json.loads(self._file.read_text(encoding="ascii"))
            return {
                str(name): DiskHistory(_samples(parts["fine"]), _samples(parts["coarse"]))
                for name, parts in document.items()
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return {}

    def _keep(self) -> None:
        document = {name: {"fine": each.fine, "coarse": each.coarse} for name, each in self._histories.items()}
        part = self._file.with_suffix(".part")
        with contextlib.suppress(OSError):  # a full disk: the next start knows less
            part.write_text(json.dumps(document), encoding="ascii")
            os.replace(part, self._file)


def _samples(pairs: Sequence[Sequence[float]]) -> tuple[Sample, ...]:
    return tuple((float(at), float(free)) for at, free in pairs)
