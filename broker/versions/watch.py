"""Looks several times a second for documents that other processes have published."""

from __future__ import annotations

import threading
from typing import Any

from broker import telemetry
from broker.errors import StoreUnavailable
from broker.store import configurations
from broker.store.db.database import Database
from broker.versions.in_force import InForce

EVERY = 0.4  # seconds between two looks; a publication is in force everywhere within a second


class Watch:
    """A thread that asks for the newest numbers with one statement, for all families of this process."""

    def __init__(self, database: Database, *families: InForce[Any]) -> None:
        """Nothing is looked at before `start`."""
        self._database = database
        self._families = families
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="versions", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; waits for a look under way."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> None:
        """Look once. Raises StoreUnavailable."""
        numbers = self._database.read(configurations.numbers).result()
        for family in self._families:
            family.refresh(numbers)

    def _run(self) -> None:
        while not self._stopping.wait(EVERY):
            try:
                self.look()
            except StoreUnavailable:
                continue  # the next look finds it again
            except Exception as error:
                telemetry.logger().error("versions.watch_failed", error=telemetry.describe(error))
