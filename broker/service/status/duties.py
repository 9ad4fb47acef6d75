"""Remembers how the last run of each duty of housekeeping went, and says when the next one is due."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

from apscheduler.triggers.base import BaseTrigger

from broker.status.facts import DutyFact


@dataclass(slots=True)
class DutyRun:
    """A run under way. `deleted`: how many rows or files it deleted; None for a duty that deletes none."""

    deleted: int | None = None


class DutyBook:
    """The last run of each duty since the start. For several threads."""

    def __init__(self) -> None:
        self._runs: dict[str, DutyFact] = {}
        self._lock = threading.Lock()

    def ran(self, name: str, at: float, seconds: float, error: str = "", deleted: int | None = None) -> None:
        """A duty ended at a time (s since the epoch) after so many seconds; `error`: where it failed.

        `deleted`: how many rows or files it deleted.
        """
        with self._lock:
            before = self._runs.get(name)
            failures = (before.failures if before else 0) + 1 if error else 0
            self._runs[name] = DutyFact(
                name=name, last_at=at, seconds=seconds, failures=failures, error=error, deleted=deleted
            )

    def facts(self) -> tuple[DutyFact, ...]:
        """The last run of each duty, by its name."""
        with self._lock:
            return tuple(self._runs[name] for name in sorted(self._runs))


class Every:
    """Every so many seconds after the last time. What was missed is not counted, however far the clock was set."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """See APScheduler."""
        return now + timedelta(seconds=self.seconds)


BaseTrigger.register(Every)  # no subclass of what has no types
