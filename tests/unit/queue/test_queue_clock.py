"""The clock of the queue: it goes on by itself, follows the database's, and says when that was set. TM-01."""

from __future__ import annotations

import pytest

from broker.queue.clock import BLUR, QueueClock
from broker.store.db.clock import ClockReading

HOUR, YEAR = 3600.0, 365 * 86_400.0


class Clocks:
    """The clocks of a machine and of its database."""

    def __init__(self) -> None:
        self.wall, self.running, self.database = 1_000_000.0, 50.0, 1_000_090.0
        self.queue = QueueClock(lambda: self.wall, lambda: self.running)

    def passes(self, seconds: float) -> None:
        """All go on."""
        self.wall, self.running, self.database = (
            self.wall + seconds, self.running + seconds, self.database + seconds,
        )  # fmt: skip

    def read(self, blur: float = 0.0) -> float:
        """Read the database's clock; the step."""
        return self.queue.follow(ClockReading(wall=self.database, running=self.running, blur=blur))


def test_tm_01_the_time_is_that_of_the_database() -> None:
    clocks = Clocks()
    assert clocks.read() == 0  # the first reading is no step, however far our own clock is off
    clocks.wall += YEAR
    clocks.passes(10)
    assert clocks.queue.now() == clocks.database
    assert clocks.read() == 0


@pytest.mark.parametrize("step", [HOUR, -HOUR, YEAR, -YEAR, 6.0, -6.0])
def test_tm_01_a_step_does_nothing_before_it_is_noticed(step: float) -> None:
    clocks = Clocks()
    clocks.read()
    before = clocks.queue.now()
    clocks.database += step
    clocks.passes(1)
    assert clocks.queue.now() == before + 1
    assert clocks.read() == pytest.approx(step)
    assert clocks.queue.now() == clocks.database
    assert clocks.read() == 0


def test_small_corrections_are_followed_without_a_word() -> None:
    clocks = Clocks()
    clocks.read()
    for _ in range(10):
        clocks.database += 4
        clocks.passes(1)
        assert clocks.read() == 0
    assert clocks.queue.now() == clocks.database


def test_an_answer_that_took_long_says_nothing() -> None:
    """The server was stopped between its clock and its answer."""
    clocks = Clocks()
    clocks.read()
    clocks.passes(60)
    clocks.database -= 60
    assert clocks.read(blur=BLUR + 59) == 0
    assert clocks.queue.now() == clocks.database + 60


def test_tm_01_age_is_judged_by_the_slower_clock() -> None:
    clocks = Clocks()
    clocks.read()
    began = clocks.queue.unhurried()
    clocks.database += YEAR
    clocks.read()
    clocks.passes(5)
    assert clocks.queue.unhurried() == began + 5
    clocks.database -= 2 * YEAR
    clocks.read()
    assert clocks.queue.unhurried() == clocks.database
