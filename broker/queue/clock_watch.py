"""Watches the clock of this machine beside one that nobody sets.

A clock is set when NTP corrects a wrong start, by hand, or when the machine was asleep. What waits by the time of the
clock would then wait as long as it was wrong, and what goes by age would go at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from broker import telemetry
from broker.model.wording import Lasting, Sentence
from broker.queue.clock import STEP

EVERY = 1.0  # seconds between two looks
AWAY = 86_400.0  # seconds that a broker may have been off; beyond, its clock may as well be wrong
REST = 3600.0  # seconds after a step in which nothing is deleted or ended by its age: the clock may be set back


class ClockWatch:
    """Notices steps of the clock, and tells whoever follows."""

    def __init__(self, wall: Callable[[], float] = time.time, running: Callable[[], float] = time.monotonic) -> None:
        """Both clocks in seconds; `running` is one that nobody sets."""
        self._wall = wall
        self._running = running
        self._offset = wall() - running()
        self._stepped_at: float | None = None
        self._began = False  # the step is that between two starts
        self._step = 0.0
        self._followers: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clock", daemon=True)

    def begin_after(self, last: float | None) -> None:
        """Compare with the clock when a broker last ran here (s since the epoch; None: never). Call it at the start.

        A clock that is far from it is either right after a long rest or wrong since the start. Nobody can tell.
        """
        step = 0.0 if last is None else self._wall() - last
        if -STEP <= step <= AWAY:
            return
        self._stepped_at, self._step, self._began = self._running(), step, True
        telemetry.logger().warning("clock.doubted", delay=round(step, 1))

    def follow(self, stepped: Callable[[], None]) -> None:
        """Call this, from any thread, after each step."""
        self._followers.append(stepped)

    def start(self) -> None:
        """Look every second."""
        self._thread.start()

    def stop(self) -> None:
        """End; waits for a look under way."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> None:
        """Compare the clocks."""
        with self._lock:
            running = self._running()
            step = self._wall() - running - self._offset
            self._offset += step
            if abs(step) <= STEP:
                return
            self._stepped_at, self._step, self._began = running, step, False
        telemetry.note_step("process", step)
        for stepped in self._followers:
            stepped()

    def steady(self) -> bool:
        """Whether the clock was not set just now or shortly before."""
        self.look()
        return self._since() is None

    def notes(self) -> tuple[Sentence, ...]:
        """What a person should know of the clock."""
        since = self._since()
        if since is None:
            return ()
        step, forward = Lasting(abs(self._step)), self._step > 0
        if self._began:
            later = Sentence("later") if forward else Sentence("earlier")
            return (
                Sentence(
                    "the clock says %(step)s %(way)s than when this broker last ran: in case it is wrong, for an hour"
                    " nothing is deleted or ended by its age",
                    {"step": step, "way": later},
                ),
            )
        way = Sentence("forward") if forward else Sentence("back")
        return (
            Sentence(
                "the clock was set %(way)s by %(step)s, %(since)s ago: for an hour nothing is deleted or ended by its"
                " age",
                {"way": way, "step": step, "since": Lasting(since)},
            ),
        )

    def _since(self) -> float | None:
        """Seconds since a step that still counts."""
        since = None if self._stepped_at is None else self._running() - self._stepped_at
        return since if since is not None and since < REST else None

    def _run(self) -> None:
        while not self._stopping.wait(EVERY):
            try:
                self.look()
            except Exception as error:
                telemetry.logger().error("clock.watch_failed", error=telemetry.describe(error))
