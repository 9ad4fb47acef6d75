"""Shares the connections of one listener, and the bytes that they keep in memory, among those who call.

Who calls from the address of a node, or with a certificate, is known; a caller is proven once something of it was taken
(a message, an association of a node). Strangers have a limit for each address and leave a quarter of the seats to those
who are known. Where no seat is free, a silent stranger of the address with the most of them gives his to an address
that has fewer. Where what is unfinished takes too much memory, that of strangers ends first, the largest first.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import Protocol

BACKLOG = 2048  # connections that the system may hold for a listener; where they are more, TCP waits a second or longer
RATE = 48 * 1024**2  # bytes a second of large input of all strangers that is read; the rest waits at its sender
KEPT = 4  # one of so many seats is kept for those who are known
CROWDED, DISPLACED = "crowded", "displaced"  # reasons of those who must go
DISMISSED = (CROWDED, DISPLACED)
REMEMBERED = 1000  # addresses that have proven themselves


def share_of(address: str) -> str:
    """Who has one share of the connections: an IPv4 address, or the /64 of an IPv6 address (RFC 4291 2.5.4)."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address) or ip.is_loopback:
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, 64), strict=False))


def is_own(share: str) -> bool:
    """A share of this machine."""
    return share in ("127.0.0.1", "::1", "local")


class Guest(Protocol):
    """A connection: its share, what it holds in bytes, whether a message of it is being handled."""

    known: bool
    proven: bool
    share: str
    held: int

    @property
    def busy(self) -> bool:
        """Something of it is being handled."""
        ...

    def end(self, reason: str) -> None:
        """Close it at once, and let its bytes go."""


class Seats:
    """The connections of one listener."""

    def __init__(self, most: int, per_address: int, most_bytes: int) -> None:
        """Connections in all and of the address of a stranger; bytes of all of them."""
        self._most, self._per_address, self._most_bytes = most, per_address, most_bytes
        self._guests: dict[Guest, None] = {}  # in the order in which they came
        self._counts: Counter[str] = Counter()
        self._strangers = 0  # guests that are not known
        self._proven: dict[str, None] = {}
        self._read_at = 0.0
        self.bytes = 0

    def wait(self, guest: Guest, size: int, now: float) -> float:
        """Seconds until a guest with large input may read so many bytes more; those who are known need not wait."""
        if guest.known or guest.proven:
            return 0
        begin = max(now, self._read_at)
        self._read_at = begin + size / RATE
        return begin - now

    def enter(self, guest: Guest) -> str:
        """Let a connection in; else the reason why not."""
        guest.proven = guest.share in self._proven
        if not guest.known and self._counts[guest.share] >= self._per_address:
            return "address-full"
        full = len(self._guests) >= self._most
        crowded = not guest.known and self._strangers >= self._most - self._most // KEPT
        if (full or crowded) and not self._make_room(guest):
            return "full"
        self._guests[guest] = None
        self._counts[guest.share] += 1
        self._strangers += not guest.known
        return ""

    def leave(self, guest: Guest) -> None:
        """A connection has ended; nothing happens for one that has left before."""
        if guest not in self._guests:
            return
        self.hold(guest, 0)
        del self._guests[guest]
        self._strangers -= not guest.known
        self._counts[guest.share] -= 1
        if not self._counts[guest.share]:
            del self._counts[guest.share]

    def prove(self, guest: Guest) -> None:
        """Something of this connection was taken: its address is remembered."""
        guest.proven = True
        self._proven.pop(guest.share, None)
        self._proven[guest.share] = None
        if len(self._proven) > REMEMBERED:
            del self._proven[next(iter(self._proven))]

    def hold(self, guest: Guest, size: int) -> None:
        """A connection holds so many bytes now; where all hold too many, some of them end, perhaps this one."""
        if guest not in self._guests:  # it has left, and lets go soon
            return
        self.bytes += size - guest.held
        guest.held = size
        if self.bytes <= self._most_bytes:
            return
        waiting = [other for other in self._guests if other.held and not other.busy]
        waiting.sort(key=lambda other: (other.known or other.proven, -other.held))
        for other in waiting:
            self._dismiss(other, CROWDED)
            if self.bytes <= self._most_bytes:
                return

    def _make_room(self, guest: Guest) -> bool:
        silent = [o for o in self._guests if not (o.known or o.proven or o.busy)]
        counts = Counter(other.share for other in silent)
        if not counts:
            return False
        share, count = counts.most_common(1)[0]
        if not guest.known and count <= self._counts[guest.share] + 1:
            return False
        self._dismiss(next(other for other in silent if other.share == share), DISPLACED)
        return True

    def _dismiss(self, guest: Guest, reason: str) -> None:
        self.leave(guest)
        guest.end(reason)


class Handshakes:
    """The TLS handshakes of one listener that go on: so many in all, and of the address of a stranger.

    Strangers leave a quarter of them to those who are known, or from whose address a handshake has succeeded. One
    address of these may have as many as that.
    """

    def __init__(self, per_address: int, most: int) -> None:
        self._per_address, self._most = per_address, most
        self._running: Counter[str] = Counter()
        self._strange: Counter[str] = Counter()  # those of strangers among them
        self._proven: dict[str, None] = {}

    def begin(self, share: str, *, known: bool) -> bool:
        """Count one more; False if there is no room for it. Whoever begins must `end`."""
        if self._running.total() >= self._most:
            return False
        kept = self._most // KEPT
        if known or share in self._proven:
            if self._running[share] >= kept:
                return False
        else:
            if self._strange[share] >= self._per_address or self._strange.total() >= self._most - kept:
                return False
            self._strange[share] += 1
        self._running[share] += 1
        return True

    def end(self, share: str, *, succeeded: bool) -> None:
        """One is over."""
        for counts in (self._strange, self._running):
            counts[share] -= 1
            if counts[share] <= 0:
                del counts[share]
        if succeeded:
            self._proven.pop(share, None)
            self._proven[share] = None
            if len(self._proven) > REMEMBERED:
                del self._proven[next(iter(self._proven))]
