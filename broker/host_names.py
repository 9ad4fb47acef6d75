"""Looks up host names beside each other: one whose name server is away keeps nobody waiting for longer than is said.

A look-up cannot be ended, and may take half a minute (resolv.conf(5)). So it runs in a thread that nobody waits for at
the end of the process either.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Collection

AT_ONCE = 16  # look-ups; a site has few names that fail


class HostNames:
    """Look-ups of host names that are going on, one for each name."""

    def __init__(self, found: Callable[[str, frozenset[str] | None], None]) -> None:
        """`found` is told of each name and its addresses, None where there are none; in a thread."""
        self._found = found
        self._changed = threading.Condition()
        self._waiting: dict[str, None] = {}
        self._running: set[str] = set()
        self._threads = 0

    def look_up(self, hosts: Collection[str], within: float) -> frozenset[str]:
        """Look up these names; returns after `within` seconds at the latest, with those that still go on."""
        until = time.monotonic() + within
        with self._changed:
            self._waiting |= dict.fromkeys(host for host in hosts if host not in self._running)
            for _ in range(min(AT_ONCE - self._threads, len(self._waiting))):
                self._threads += 1
                threading.Thread(target=self._work, name="host-names", daemon=True).start()
            while (left := self._going_on(hosts)) and (wait := until - time.monotonic()) > 0:
                self._changed.wait(wait)
            return left

    def _going_on(self, hosts: Collection[str]) -> frozenset[str]:
        return frozenset(host for host in hosts if host in self._waiting or host in self._running)

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._threads -= 1
                    return
                host = next(iter(self._waiting))
                del self._waiting[host]
                self._running.add(host)
            try:
                self._found(host, _addresses(host))
            finally:
                with self._changed:
                    self._running.discard(host)
                    self._changed.notify_all()


def _addresses(host: str) -> frozenset[str] | None:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # a label of more than 63 characters
        return None
    return frozenset(str(entry[4][0]) for entry in found)
