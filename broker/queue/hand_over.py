"""Gives objects that were just received to the workers of their lanes, in memory.

The job of such an object is born leased to this process, in the transaction of its reception: no look for due lanes, no
claim and no read stand between the sender and the destination. What a positive answer promises is in the database as
ever. If this process dies, its leases are freed as those of any claim.

A lane takes part while it is open. Its worker opens it when it has done something and finds nothing more that is due,
so that what waits goes first. It is closed when a handler fails, when it leaves work open, when its node is paused,
rests or has changed, and while a whole batch waits in the database. What it holds then goes back as what was claimed
does.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial

from broker.queue.clock import QueueClock
from broker.queue.late_reports import LateReports
from broker.store import jobs as store
from broker.store.images.instances import StoredObject
from broker.store.jobs import Job

ROOM = 64  # objects that a lane holds; what comes besides is claimed as ever
LINGER = 0.2  # seconds a worker waits for the next object: a modality sends one after the other


@dataclass(frozen=True, slots=True)
class Handed:
    """A job that is leased to this process, and the object that it is about."""

    job: Job
    item: StoredObject
    priority: int


@dataclass(frozen=True, slots=True)
class Reservation:
    """Room in open lanes (stored names) for one object, whose jobs are to be leased to `owner` until a time."""

    lanes: frozenset[str]
    owner: str
    until: float


@dataclass(slots=True)
class _OpenLane:
    """What an open lane holds. `more`: other work waits for it in the database."""

    waiting: list[Handed] = field(default_factory=list)
    promised: int = 0  # places of objects whose transaction runs
    more: bool = False
    idle: int = 0  # workers that wait for something
    arrived: asyncio.Event = field(default_factory=asyncio.Event)


class HandOver:
    """The open lanes of one process. Methods without another word are for its event loop."""

    def __init__(
        self, owner: str, lease: float, clock: QueueClock, late: LateReports, ring: Callable[[], None]
    ) -> None:
        """`owner` leases for `lease` seconds. `late` puts back what comes for a lane that was closed meanwhile.

        `ring` is called when it has something to put back.
        """
        self._owner = owner
        self._lease = lease
        self._clock = clock
        self._late = late
        self._ring = ring
        self._lock = threading.Lock()  # of the lanes and what they hold
        self._lanes: dict[str, _OpenLane] = {}
        self._loop = asyncio.get_running_loop()
        self._begin: Callable[[str], None] = lambda lane: None

    def follow(self, begin: Callable[[str], None]) -> None:
        """`begin` is called with the stored name of an open lane that holds something new."""
        self._begin = begin

    # --- for those who receive: from any thread ----------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Some lane is."""
        return bool(self._lanes)

    def reserve(self, lanes: Collection[str]) -> Reservation | None:
        """Room in those of these lanes that are open; None if none is. Each reservation must end by `hand`."""
        if not self._lanes:
            return None
        got = []
        with self._lock:
            for name in lanes:
                lane = self._lanes.get(name)
                if lane is not None and len(lane.waiting) + lane.promised < ROOM:
                    lane.promised += 1
                    got.append(name)
        return Reservation(frozenset(got), self._owner, self._clock.now() + self._lease) if got else None

    def hand(self, reservation: Reservation, handed: Sequence[Handed]) -> None:
        """The transaction is over. `handed` are its jobs that it leased, none if it failed."""
        stray = []
        with self._lock:
            for name in reservation.lanes:
                if (lane := self._lanes.get(name)) is not None:
                    lane.promised = max(lane.promised - 1, 0)
            for one in handed:
                if (lane := self._lanes.get(one.job.lane)) is not None:
                    lane.waiting.append(one)
                else:
                    stray.append(one)
        if stray:
            self._put_back(stray)
        if len(handed) > len(stray):
            with contextlib.suppress(RuntimeError):  # the loop is closed: the next start frees the leases
                self._loop.call_soon_threadsafe(self._arrived, [one.job.lane for one in handed])

    # --- for workers -------------------------------------------------------------------------------------

    def open(self, name: str) -> None:
        """The lane works, and nothing waits for it in the database."""
        with self._lock:
            self._lanes.setdefault(name, _OpenLane()).more = False

    def close(self, name: str) -> Sequence[Handed]:
        """The lane takes part no more; what it held is the caller's."""
        with self._lock:
            lane = self._lanes.pop(name, None)
        if lane is None:
            return ()
        lane.arrived.set()
        return lane.waiting

    def close_all(self, names: Collection[str]) -> None:
        """Close these lanes; what they held waits in the database."""
        for name in names:
            if held := self.close(name):
                self._put_back(held)

    async def take(self, name: str, wait: float) -> Sequence[Handed]:
        """What an open lane holds, after a wait of up to so many seconds. Nothing when it must be claimed."""
        if (lane := self._lanes.get(name)) is None or lane.more:
            return ()
        if not lane.waiting and wait:
            lane.arrived.clear()
            lane.idle += 1
            try:
                async with asyncio.timeout(wait):
                    await lane.arrived.wait()
            except TimeoutError:
                pass  # the worker looks what is due in the database, and ends
            finally:
                lane.idle -= 1
        return () if lane.more else self.held(name)

    def held(self, name: str) -> Sequence[Handed]:
        """What an open lane holds, the first to send first. It is the caller's."""
        with self._lock:
            if (lane := self._lanes.get(name)) is None:
                return ()
            held, lane.waiting = lane.waiting, []
        return sorted(held, key=lambda one: one.priority)

    def outstanding(self, name: str) -> Sequence[int]:
        """Ids of the jobs that an open lane holds."""
        with self._lock:
            lane = self._lanes.get(name)
            return [one.job.id for one in lane.waiting] if lane is not None else ()

    def waits(self, name: str) -> bool:
        """An open lane holds something."""
        lane = self._lanes.get(name)
        return lane is not None and bool(lane.waiting)

    # --- for the dispatcher ------------------------------------------------------------------------------

    @property
    def names(self) -> Sequence[str]:
        """The lanes that are open."""
        return list(self._lanes)

    def more(self, name: str) -> None:
        """Work of this lane is due in the database: it is claimed before more is handed over."""
        if (lane := self._lanes.get(name)) is not None:
            lane.more = True
            lane.arrived.set()

    def wake(self) -> None:
        """Nobody waits any longer for what may come: work ends, or a node was paused."""
        for lane in self._lanes.values():
            lane.arrived.set()

    def _arrived(self, names: Sequence[str]) -> None:
        for name in names:
            if (lane := self._lanes.get(name)) is not None and lane.waiting:
                lane.arrived.set()
                if not lane.idle:
                    self._begin(name)

    def _put_back(self, handed: Sequence[Handed]) -> None:
        """From any thread."""
        due = self._clock.now()
        back = partial(store.put_back, due_at=due, error="", item_fault=False)
        self._late.keep([partial(back, job=one.job) for one in handed])
        self._ring()
