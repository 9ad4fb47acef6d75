"""Looks at series and studies that are due, one after the other. `service` says how often.

Each is taken by one process, whatever processes walk: `store.images.gatherings` says how.
"""

from __future__ import annotations

from broker import telemetry
from broker.errors import StoreUnavailable
from broker.routing.levels.carrying_out import LEASE, LevelWork
from broker.routing.levels.judging import judge
from broker.store.images import gatherings

AT_ONCE = 500  # that are looked at in one walk


class LevelWalk:
    """Walks in one process."""

    def __init__(self, work: LevelWork) -> None:
        self._work = work

    def look_anew(self) -> None:
        """The clock was set, or nobody has taken anything: all that is not done is due. Callable from any thread."""
        self._work.database.submit(gatherings.make_due, self._work.clock())

    def run(self) -> None:
        """Judge what is due and complete. One that fails keeps no other. Raises StoreUnavailable."""
        work = self._work
        for _ in range(AT_ONCE):
            now = work.clock()
            if work.pace.stopped or not work.pace.read(gatherings.is_due, now):
                break
            taken = work.pace.alone(gatherings.take, now, now + LEASE)
            if taken is None:
                break
            try:
                judge(work, taken)
            except StoreUnavailable:
                raise
            except Exception as error:
                telemetry.logger().error("study.not_judged", error=telemetry.describe(error))
