"""Runs a broker whose hourly duties run every few seconds, and that notes how long its writer was held.

`BROKER_HURRIED` names the file that the notes go to every second: JSON with the count of transactions, their p99 and
the longest ones in milliseconds, each with its time of the processor and the units of work that it held. Started in
place of a Python interpreter: the words before `serve` are left out.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from broker.cli.main import app
from broker.service import housekeeping
from broker.store.db.writer import SqliteWriter

PERIOD = 5.0  # seconds that stand for an hour
LONGEST = 12


class Notes:
    """Durations of transactions."""

    def __init__(self) -> None:
        self._all: list[tuple[float, float, dict[str, int]]] = []

    def wrap(self) -> None:
        """Time each transaction of the writer of SQLite, its waits for the disk included."""
        attempt = SqliteWriter._attempt

        def timed(writer: SqliteWriter, batch: Any) -> int:
            began, worked = time.perf_counter(), time.thread_time()
            count = attempt(writer, batch)
            spent, worked = time.perf_counter() - began, time.thread_time() - worked
            held = Counter(_name(unit.run) for unit in batch[:count]) if spent > 0.005 else {}
            self._all.append((spent, worked, dict(held)))
            return count

        SqliteWriter._attempt = timed  # type: ignore[method-assign]

    def keep(self, file: Path) -> None:
        """Write what was noted, every second."""
        while True:
            time.sleep(1)
            every = sorted(self._all, key=lambda one: -one[0])
            told = {
                "count": len(every),
                "p99": every[len(every) // 100][0] * 1000 if every else 0.0,
                "longest": [[spent * 1000, worked * 1000, held] for spent, worked, held in every[:LONGEST]],
            }
            file.with_suffix(".new").write_text(json.dumps(told), encoding="utf-8")
            file.with_suffix(".new").replace(file)


def _name(run: Any) -> str:
    """The function that a bound unit runs: the call that `correlation.carried` carries."""
    (call,) = run.args
    cells = [cell.cell_contents for cell in call.__closure__ or ()]
    words = [part for cell in cells for part in (cell if isinstance(cell, tuple) else (cell,)) if callable(part)]
    return " ".join(str(getattr(word, "__qualname__", "?")).replace(".<locals>", "") for word in words)


def main() -> None:
    """Run the broker with the words of the command line from `serve` on."""
    housekeeping.HOUR = PERIOD  # type: ignore[attr-defined]
    notes = Notes()
    notes.wrap()
    threading.Thread(target=notes.keep, args=(Path(os.environ["BROKER_HURRIED"]),), daemon=True).start()
    words = sys.argv[1:]
    app(words[words.index("serve") :])


if __name__ == "__main__":
    main()
