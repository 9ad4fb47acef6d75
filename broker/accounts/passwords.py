"""Hashes and verifies passwords with argon2id (RFC 9106), in two threads of its own.

A hash takes 64 MiB and a tenth of a second of a processor. Who floods the sign-in gets no more than two at once, and
the worklist goes on beside them.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from broker.errors import Unavailable

T = TypeVar("T")
THREADS = 2
WAITING = 20  # that may wait for their turn: about a second of work
MEMORY, PASSES, LANES = 64 * 1024, 3, 4  # KiB, times, threads of one hash: the second choice of RFC 9106 section 4


class TooManyAtOnce(Unavailable):
    """More passwords are being checked than the broker takes on at once."""

    code = "sign-in-busy"


class Passwords:
    """Hashes passwords. One of the process, so that the bound on threads holds."""

    def __init__(self, memory: int = MEMORY, passes: int = PASSES, lanes: int = LANES) -> None:
        """The cost of a hash: KiB of memory, passes over it, threads."""
        self._hasher = PasswordHasher(memory_cost=memory, time_cost=passes, parallelism=lanes)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="password")
        self._seats = threading.BoundedSemaphore(THREADS + WAITING)

    def hash(self, password: str) -> Future[str]:
        """The hash that is stored, in PHC form. Raises TooManyAtOnce."""
        return self._begin(lambda: self._hasher.hash(_bytes(password)))

    def verify(self, encoded: str, password: str) -> Future[bool]:
        """Whether a password has this hash. An empty hash takes as long, and is never right. Raises TooManyAtOnce."""
        return self._begin(lambda: self._same(encoded or self._nobody, password) and bool(encoded))

    def outdated(self, encoded: str) -> bool:
        """Whether a hash was made at another cost than today's."""
        return self._hasher.check_needs_rehash(encoded)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    @cached_property
    def _nobody(self) -> str:
        """A hash for names that are not known, so that they cost as much time as those that are."""
        return self._hasher.hash("")

    def _same(self, encoded: str, password: str) -> bool:
        try:
            return self._hasher.verify(encoded, _bytes(password))
        except (Argon2Error, InvalidHashError):
            return False

    def _begin(self, work: Callable[[], T]) -> Future[T]:
        if not self._seats.acquire(blocking=False):
            raise TooManyAtOnce
        try:
            future = self._threads.submit(work)
        except RuntimeError:
            self._seats.release()
            raise TooManyAtOnce("the broker is stopping") from None
        future.add_done_callback(lambda _: self._seats.release())
        return future


def _bytes(password: str) -> bytes:
    """What is hashed: the same characters from each keyboard (NIST SP 800-63B-4 section 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
