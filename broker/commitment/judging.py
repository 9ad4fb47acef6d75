"""Runs the walk over requests for storage commitment in a thread of its own, in the first process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from broker import telemetry
from broker.commitment.deciding import CommitmentTimes
from broker.commitment.walk import CommitmentWalk
from broker.errors import StoreUnavailable
from broker.site.directory import Directory
from broker.store.db.database import Database
from broker.store.db.pace import Pace
from broker.store.images.spool import Spool

LOOK = 1.0  # seconds between two looks whether a request is due


class Judging:
    """Looks for requests that are due, from `start` to `stop`."""

    def __init__(
        self,
        database: Database,
        spool: Spool,
        directory: Directory,
        accepted: Collection[str],
        wake: Callable[[], None],
        times: CommitmentTimes | None = None,
    ) -> None:
        """`accepted`: SOP classes of objects that the broker takes; `wake` tells the queue that there is work."""
        self._stopping = threading.Event()
        pace = Pace(database, stopping=self._stopping)
        self._walk = CommitmentWalk(pace, spool.root, directory.proofs, accepted, wake, times)
        self._thread = threading.Thread(target=self._run, name="commitments", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Begin no further step."""
        self._stopping.set()

    def join(self) -> None:
        """Wait for the step that runs (blocking)."""
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._walk.run()
            except StoreUnavailable as error:
                telemetry.logger().warning("commitment.unavailable", error=telemetry.describe(error))
            except Exception as error:
                telemetry.logger().error("commitment.defect", error=telemetry.describe(error))
            self._stopping.wait(LOOK)
