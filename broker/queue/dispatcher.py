"""Runs a worker for every lane that has due work, so that a dead or slow peer never delays the others.

The dispatcher looks for lanes with due work whenever somebody who commits a job wakes it, else once a second; images
that were just received go to a lane that works without a look (`queue.hand_over`). For each lane with due work
it runs the handler of the lane's kind with a `Feed` (`queue.feed`). The handler takes jobs and reports each of them.
What it raises decides on the jobs that it did not report, and on the lane.

Failure semantics. This table is the whole policy; `Feed` and `LaneWork` follow it from top to bottom, and
each row has a test (`tests/wire/lanes`). A job may be returned (ready at once), put off (ready after a
wait that doubles with each try, `queue.retry_policy`) or held (until a person releases or discards it, `queue.holds`).

    What happens                 The job                       The lane             Counted    Logged
    ---------------------------  ----------------------------  -------------------  ---------  -----------------
    The handler reports it as
      done                       done                          goes on              done       -
      hold                       held                          goes on              held       job.held
      retry                      put off                       goes on              retry      -
      retry by the item's fault  put off, at the fifth held    goes on              retry|held -|job.held
      either retry, too old      held                          goes on              held       job.held
      doubt, others passed since as retry by the item's fault  goes on              retry|held -|job.held
      doubt, alone for too long  held                          goes on              held       job.held
      doubt, else                put off                       goes on              retry      -

    The handler leaves it open
      and returns                returned                      breaker is closed    -          lane.mended, if open
      returns, but had doubts    returned                      failing, goes on     -          lane.broken
      raises PeerDoubtful        returned                      failing, goes on     -          lane.broken
      the same, in trouble       returned                      breaker is opened    -          lane.broken
      raises PeerFault           returned                      breaker is opened    -          lane.broken
      any of these, something    returned                      is tried at once     -          lane.mended, if open
        was done before
      raises Unavailable         returned                      is looked at again   -          queue.unavailable
      is cancelled by `stop`     returned                      ends                 -          -
      raises anything else       as retry by the item's fault  is looked at again   retry|held lane.defect
      returned, but too old      held as `gave-up`             as above             held       job.held

    Too old is what has waited for `give_up` and was tried as often as that takes, itself or its lane. What is in a lane
    for an audit repository is never too old, in one of storage commitment after a day.

    Doubt is about an item that the destination did not take, perhaps by its own fault: it answered A7xx or 0110, or it
    ended the association in the middle of it (`queue.evidence`). Such an item goes last: behind all others of its lane,
    also those that come later (`store.claims`). One that ended an association goes on one of its own. If others passed
    since it failed first, it is to blame: each try counts, and the fifth fault holds it. If nothing passes, it is the
    destination: three items in a row that were in no doubt before are trouble, more if others have just passed. An item
    alone, with nothing to compare it with, is held after a seventh of `give_up` (a day) of tries that the destination
    answered: one that is full for so long needs a person anyway, and nobody else would tell of it.

    Nobody can report it
      its process dies           returned when the lease ends  is looked at again   -          -
      the broker starts again    returned (its own), to go     is looked at again   -          queue.leases_freed
                                 last and alone, or held
                                 after the tenth death in a row
      its claim was not answered returned when that is known   is looked at again   -          queue.claims_freed
      its object was handed over
        to a lane that closed    returned                      is looked at again   -          queue.reports_taken
      its report was not taken   as was reported, later        is looked at again   as above   queue.reports_taken
      its lease was lost         the new owner decides         goes on              -          -
      the database is away       returned when the lease ends  is looked at again   -          queue.unavailable
      its kind is not known      stays ready                   is passed over       -          lane.defect
      the clock was set          due at once; leases go on     is looked at again   -          clock.stepped
      its send window is closed  stays ready                   is passed over       -          -
      a person paused its node   stays ready                   is passed over       -          -
      the same, while it works   returned, but that in flight  ends                 -          -

An open breaker keeps its lane closed for a wait that doubles with each failure in a row, and starts again at the
shortest when something was done; it is no shorter than the peer asks for (`PeerFault.after`), which is kept also
after something was done. In trouble it is at most four times the shortest, since what is new may pass. A lane whose
breaker was open gets one worker until it has worked. When its node changes (`begin_afresh`), the breaker is closed and
jobs that were put off are ready at once; a worker that began before and raises PeerFault does not open the breaker
again, since it may speak of the old address. A sign of life of a node, its own C-ECHO or a good test, ends the wait of
its lanes, once within the shortest wait. What a held job of a group keeps back is said by `store.claims.held_back`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial

from broker import telemetry
from broker.errors import StoreUnavailable
from broker.model.lane import Lane, LaneKind
from broker.queue import lane_work
from broker.queue.breakers import Breakers, known
from broker.queue.clock import STEP, QueueClock
from broker.queue.feed import Bell
from broker.queue.hand_over import HandOver
from broker.queue.hurrying import Hurrying
from broker.queue.lane_work import Handler, LaneWork, QueueTools
from broker.queue.late_reports import LateReports
from broker.queue.lost_claims import LostClaims
from broker.queue.retry_policy import RetryPolicy
from broker.store import lanes
from broker.store.db.database import Database
from broker.store.queued import pauses

POLL = 1.0  # seconds between two looks that nobody asked for
REST = 0.02  # seconds from one look to the next, at least


class Dispatcher:
    """Runs the handlers of all lanes of this process."""

    def __init__(
        self,
        database: Database,
        handlers: Mapping[LaneKind, Handler],
        policy: RetryPolicy,
        owner: str,
        concurrency: Callable[[Lane], int] = lambda lane: 1,
        heard: Callable[[Lane, str], None] = lambda lane, error: None,
        closed: Callable[[], Mapping[str, bool]] = dict,
    ) -> None:
        """`owner` names this process in leases; `concurrency` is how many workers a lane may have, 0 while it rests.

        `heard` is told of each job that a peer has done, and with the code of the error when a peer failed.
        `closed`: the lanes (stored names) that are closed now, and whether what is STAT is sent all the same.
        """
        self._database = database
        self._policy = policy
        self._handlers = handlers
        self._concurrency = concurrency
        self._look_closed, self._closed = closed, dict(closed())
        self._bell = Bell()
        self._running: dict[Lane, set[asyncio.Task[None]]] = {}
        self._passed_over: set[Lane] = set()  # lanes with work that had their workers already
        self._changed: set[str] = set()  # names of nodes whose lanes begin afresh at the next look
        self._sweep_at = 0.0  # by time.monotonic()
        self._clock = QueueClock()
        self._breakers = Breakers(database, policy, self._clock)
        self._lost = LostClaims()
        self._late = LateReports(database)
        self._hurrying = Hurrying(database, self.wake)
        self.hand_over = HandOver(owner, lane_work.LEASE, self._clock, self._late, self.wake)
        self.hand_over.follow(self._handed_over)
        tools = QueueTools(
            database,
            policy,
            owner,
            self._bell,
            self._clock,
            self._breakers,
            self._lost,
            self._late,
            self.hand_over,
        )
        self._work = LaneWork(tools, handlers, heard)
        self._loop = asyncio.get_running_loop()

    @property
    def stopping(self) -> bool:
        """`stop` was called."""
        return self._bell.stopping

    @property
    def busy(self) -> bool:
        """A handler runs."""
        return any(self._running.values())

    def wake(self) -> None:
        """There may be new work. Callable from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the work waits for the next start
            self._loop.call_soon_threadsafe(self._bell.ring)

    def begin_afresh(self, nodes: Collection[str]) -> None:
        """Try the lanes of these nodes at once: the nodes have changed. Callable from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._note_changed, frozenset(nodes))

    def _note_changed(self, nodes: frozenset[str]) -> None:
        self._changed |= nodes
        for lane, running in self._running.items():
            if lane.node in nodes:
                self._work.outdate(running)
        self.hand_over.close_all([name for name in self.hand_over.names if Lane.parse(name).node in nodes])
        self._bell.ring()

    def alive(self, node: str) -> None:
        """A node shows that it is alive: try what failed for it at once. Callable from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._breakers.alive, node)
            self._loop.call_soon_threadsafe(self._bell.ring)

    async def run(self) -> None:
        """Look for due lanes until `stop`."""
        while not self.stopping:
            woken, began = self._bell.next(), time.monotonic()
            try:
                await self._start_lanes()
            except StoreUnavailable as error:
                telemetry.logger().warning("queue.unavailable", error=telemetry.describe(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await woken.wait()
            # each object for a lane with a backlog rings the bell: a look for each would slow down what goes out
            await asyncio.sleep(max(0.0, began + REST - time.monotonic()))

    async def stop(self, grace: float) -> None:
        """Let running handlers end within `grace` seconds, then cancel them; their jobs are ready again."""
        self._bell.stopping = True
        self._hurrying.stop()
        self._bell.ring()
        self.hand_over.wake()
        tasks = [task for running in self._running.values() for task in running]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self.hand_over.close_all(self.hand_over.names)
        with contextlib.suppress(StoreUnavailable):  # the next start frees our leases
            await self._report_again()

    # --- lanes -------------------------------------------------------------------------------------------

    async def _start_lanes(self) -> None:
        await self._begin_changed()
        before = {lane: frozenset(running) for lane, running in self._running.items()}
        await self._report_again()
        self._closed = dict(self._look_closed())
        stat = [name for name, passes in self._closed.items() if passes]
        look = self._database.read(lanes.look, self._policy.longest + STEP, stat)
        found = await asyncio.wrap_future(look)
        reading, due, paused = found
        rests = [n for n in self.hand_over.names if n in self._closed or Lane.parse(n).node in paused]
        self.hand_over.close_all(rests)
        ended = self._work.close(self._closed)
        if self._work.pause(paused) or ended:
            self._bell.ring()  # those that wait for more
        if step := self._clock.follow(reading):
            await self._set_anew(step)
        elif time.monotonic() >= self._sweep_at:
            await self._sweep(reading.wall)
        if await self._lost.free(self._database):
            self._bell.ring()
        self._hurrying.again(self._clock.now())
        for lane in [] if self.stopping else known(due):  # `stop` does not see what begins after it
            running = self._running.setdefault(lane, set())
            if before.get(lane, frozenset()) - running:
                self._bell.ring()  # a worker ended meanwhile, perhaps to close its lane: look again
                continue
            # one worker first; more only once the lane has proved to work
            workers = self._workers(lane)
            if self._breakers.is_open(lane):
                workers = min(workers, 1)
            if len(running) >= workers:
                self._passed_over.add(lane)
                self.hand_over.more(lane.name)
            while len(running) < workers:
                self._begin(lane, running)

    async def _begin_changed(self) -> None:
        """Close breakers of lanes whose node has changed; what was put off is due. Raises StoreUnavailable."""
        await self._breakers.hurry()
        if not self._changed:
            return
        names, self._changed = self._changed, set()
        changed = [Lane(kind, name) for kind in self._handlers for name in names]
        try:
            await self._breakers.forget(changed)
        except StoreUnavailable:
            self._changed |= names  # at the next look
            raise
        self._work.forget(changed)
        self._hurrying.begin([lane.name for lane in changed], self._clock.now())

    async def _sweep(self, now: float) -> None:
        """Give back the work of those who died, and pause the nodes that are drained. Raises StoreUnavailable."""
        self._sweep_at = time.monotonic() + lane_work.LEASE / 4
        freed = self._database.submit(pauses.sweep, now, longest=lane_work.LEASE + STEP)
        if await asyncio.wrap_future(freed):
            self._bell.ring()

    async def _report_again(self) -> None:
        """Make the reports that the database has not taken. Raises StoreUnavailable while it does not."""
        if (again := self._late.again()) is not None:
            telemetry.logger().info("queue.reports_taken", count=await asyncio.wrap_future(again))

    async def _set_anew(self, step: float) -> None:
        """The clock was set by so many seconds: leases and waits that were written by it mean something else now.

        Those who work renew their leases by the new time before anybody looks which are over. Raises StoreUnavailable.
        """
        self._sweep_at = time.monotonic() + lane_work.LEASE / 2
        if self._database.dialect != "sqlite":  # there it is the clock of this machine, which is watched by `service`
            telemetry.note_step("database", step)
        await self._work.renew()
        await asyncio.wrap_future(self._database.submit(lanes.end_waits, self._clock.now()))
        self._hurrying.begin(None, self._clock.now())
        self._bell.ring()

    def _begin(self, lane: Lane, running: set[asyncio.Task[None]]) -> None:
        """One more worker of a lane."""
        task = self._loop.create_task(self._work.run(lane, stat_only=lane.name in self._closed))
        running.add(task)
        task.add_done_callback(partial(self._ended, lane))

    def _workers(self, lane: Lane) -> int:
        """How many workers a lane may have now."""
        return self._concurrency(lane) if self._closed.get(lane.name, True) else 0

    def _handed_over(self, name: str) -> None:
        """An open lane holds something that nobody works on."""
        lane = Lane.parse(name)
        running, workers = self._running.setdefault(lane, set()), self._workers(lane)
        if self.stopping or not workers:
            self.hand_over.close_all([name])
        elif len(running) < workers:
            self._begin(lane, running)

    def _ended(self, lane: Lane, task: asyncio.Task[None]) -> None:
        """Work that came after a worker's last look, when it still counted as one, is looked for again."""
        self._running[lane].discard(task)
        self._work.ended(task)
        if lane in self._passed_over:
            self._passed_over.discard(lane)
            self._bell.ring()
        if self.hand_over.waits(lane.name):  # it came after the worker's last look
            self._handed_over(lane.name)
