"""Remembers how the last run of each duty of housekeeping went."""

from __future__ import annotations

import threading

from broker.status.facts import DutyFact


class DutyBook:
    """The last run of each duty since the start. For several threads."""

    def __init__(self) -> None:
        self._runs: dict[str, DutyFact] = {}
        self._lock = threading.Lock()

    def ran(self, name: str, at: float, seconds: float, error: str = "") -> None:
        """A duty ended at a time (s since the epoch) after so many seconds; `error`: where it failed."""
        with self._lock:
            before = self._runs.get(name)
            failures = (before.failures if before else 0) + 1 if error else 0
            self._runs[name] = DutyFact(name=name, last_at=at, seconds=seconds, failures=failures, error=error)

    def facts(self) -> tuple[DutyFact, ...]:
        """The last run of each duty, by its name."""
        with self._lock:
            return tuple(self._runs[name] for name in sorted(self._runs))
