"""Keeps reports that the database did not take, until it does: what was sent is not sent again.

A report whose transaction failed or was not answered has an unknown outcome. A job that was done would stay leased
until its lease is over, up to 75 s, and be done a second time. The fence makes it safe to report again: a report counts
only while its claim holds. There are never more than the workers had in hand: no lane gets one while some are kept.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future

from broker.errors import StoreUnavailable
from broker.store import jobs
from broker.store.db.database import Database
from broker.store.jobs import Report


class LateReports:
    """The reports of one process that are to be made again. Callable from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._kept: list[Report] = []

    def keep(self, reports: Sequence[Report]) -> None:
        """The database did not take these, or did not say so."""
        with self._lock:
            self._kept += reports

    def again(self) -> Future[int] | None:
        """Make them: how many still counted. None if there are none. They are kept again if the database is away."""
        with self._lock:
            reports, self._kept = self._kept, []
        if not reports:
            return None

        def look(made: Future[int]) -> None:
            if isinstance(made.exception(), StoreUnavailable):
                self.keep(reports)

        made = self._database.submit(jobs.report, reports)
        made.add_done_callback(look)
        return made
