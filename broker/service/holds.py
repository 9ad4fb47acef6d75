"""Held jobs for REST and commands: listed, released, discarded in a database."""

from __future__ import annotations

import time
from collections.abc import Callable

from broker.admin.holds import HoldView
from broker.queue import holds
from broker.store import jobs
from broker.store.db.database import Database


class HoldDesk:
    """See `admin.holds.Desk`. `wake` is told that there is work."""

    def __init__(self, database: Database, wake: Callable[[], None]) -> None:
        self._database = database
        self._wake = wake

    def held(self, lane: str, limit: int) -> list[HoldView]:
        """Held jobs of one lane (of all if empty), oldest first. Raises StoreUnavailable."""
        found = self._database.read(jobs.held, lane, limit).result()
        return [HoldView(**{name: getattr(job, name) for name in HoldView.model_fields}) for job in found]

    def release(self, job: int, actor: str) -> bool:
        """Let a job be tried again; False if it is not held. Raises StoreUnavailable."""
        return self._ended(self._database.execute(holds.release, job, actor, time.time()))

    def discard(self, job: int, actor: str, reason: str) -> bool:
        """Give a job up; False if it is not held. Raises StoreUnavailable."""
        return self._ended(self._database.execute(holds.discard, job, actor, reason, time.time()))

    def _ended(self, done: bool) -> bool:
        if done:
            self._wake()
        return done
