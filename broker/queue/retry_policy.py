"""Decides how long a failed job or lane waits and when a job is given up. Times in seconds."""

from __future__ import annotations

from dataclasses import dataclass

ITEM_FAILURES = 5  # faults of one item before a person must look
ALONE = 7  # this part of `give_up` is the time for an item that fails alone, while the destination answers: a day
TRIES = 8  # tries without a fault of the item lengthen its wait up to this one


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`first` doubles up to `last`; after `give_up` from its creation a job is held."""

    first: float = 15
    last: float = 1800
    give_up: float = 7 * 86_400

    def delay(self, failures: int, jitter: float = 0.5) -> float:
        """Wait after the n-th failure in a row (n >= 1), spread by ±20 %; `jitter` is uniform in 0..1."""
        exponent = min(max(failures, 1) - 1, 40)
        return float(min(self.first * 2**exponent, self.last) * (0.8 + 0.4 * jitter))

    def pause(self, failures: int, jitter: float = 0.5) -> float:
        """Wait of a lane whose peer answers and takes nothing, after the n-th time in a row: never long.

        What is new may be just what it takes. Each item that failed waits for itself.
        """
        return min(self.delay(failures, jitter), self.first * 4)

    def alone(self, seconds: float, tries: int) -> bool:
        """An item that nothing else is compared with has failed long enough, and as often as half of that has room for.

        A destination that is full is mended within a day, or a person is needed anyway.
        """
        patience = self.give_up / ALONE
        return seconds > patience and tries >= self.tries_in(patience / 2)

    def wait(self, failures: int, attempts: int, jitter: float = 0.5) -> float:
        """Wait of a job that is put off: after `failures` of its own, or `attempts` at a busy peer."""
        return self.delay(max(failures, min(attempts, TRIES)), jitter)

    @property
    def longest(self) -> float:
        """The longest wait there is."""
        return self.last * 1.2

    def expired(self, created_at: float, now: float, tries: int) -> bool:
        """The job has waited long enough for its destination, and was tried as often as half of that time has room for.

        The tries prove the time: a clock that is ahead for a moment, or a broker that was off, tries nothing.
        """
        return now - created_at > self.give_up and tries >= self.tries_in(self.give_up / 2)

    def tries_in(self, seconds: float) -> int:
        """How often is tried within so many seconds if each wait is as long as it may be."""
        tries, passed = 0, 0.0
        while self.first * 2**tries < self.last:
            passed += self.first * 2**tries * 1.2
            if passed > seconds:
                return tries
            tries += 1
        return tries + int((seconds - passed) / self.longest)

    def exhausted(self, failures: int) -> bool:
        """The item itself has failed often enough."""
        return failures >= ITEM_FAILURES
