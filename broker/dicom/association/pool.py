"""Keeps associations to one destination warm: opens them when needed, uses them again, releases them after a while.

A peer may end an idle association at any time. One that is seen to have ended is never handed out; when it ends in
the very moment we send on it, `Lease.store` sends the object once more on a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from broker import telemetry
from broker.dicom.association.association import Association
from broker.dicom.association.user import Proposal, Remote, open_association
from broker.dicom.dimse.invocation import Response
from broker.dicom.dimse.message import Data, PresentationContext
from broker.dicom.wire.negotiation import MAX_CONTEXTS
from broker.errors import PeerFault, Unavailable

KEEP = 20.0  # seconds; some archives end what was idle for 30
MAX_AGE = 600.0  # seconds; then a new one: peers commit at its end, certificates and what is accepted change
_GONE = frozenset({"connection-lost", "aborted"})

Pair = tuple[str, str]  # abstract syntax, transfer syntax
Instead = Callable[[Pair], Sequence[Pair]]  # what can be sent in place of it if the peer does not take it, best first
Send = Callable[[Association, PresentationContext], Awaitable[Response]]


def _nothing(pair: Pair) -> Sequence[Pair]:
    return ()


@dataclass(eq=False, slots=True)
class _Line:
    """An open association and the pairs that were proposed in it."""

    association: Association
    remote: Remote
    proposed: frozenset[Pair]
    opened: float
    timer: asyncio.TimerHandle | None = None


class Lease:
    """An association on loan, to be used by one task."""

    def __init__(
        self, line: _Line, renew: Callable[[], asyncio.Future[_Line]] | None, *, as_scp: bool, instead: Instead
    ) -> None:
        """`renew` opens a new association in place of one that had been idle. `instead`: see `Pool`."""
        self._line = line
        self._instead = instead
        self._renew = renew
        self._as_scp = as_scp
        self.in_flight = False  # an object is on its way: if the association ends now, it may be the reason
        self.repeated = False  # the last request went out twice, the peer may have acted on the first

    @property
    def association(self) -> Association:
        """The association; `exchange` may replace it."""
        return self._line.association

    @property
    def proposed(self) -> frozenset[Pair]:
        """Pairs that were proposed in it, accepted or not."""
        return self._line.proposed

    def offered(self, pair: Pair) -> bool:
        """This pair was proposed in it, accepted or not, and so was each that can be sent instead."""
        return self.proposed.issuperset((pair, *self._instead(pair)))

    def way(self, pair: Pair) -> Pair | None:
        """The pair itself if the peer takes it, else the best that it takes instead; None if there is none.

        None also if it was not asked for the pair: what it would say, only another association can tell.
        """
        if self.accepts(pair):
            return pair
        if not self.offered(pair):
            return None
        return next((other for other in self._instead(pair) if self.accepts(other)), None)

    def accepts(self, pair: Pair) -> bool:
        """The peer takes objects of this SOP class in this transfer syntax."""
        return self.association.context(*pair, as_scp=self._as_scp) is not None

    async def store(self, pair: Pair, sop_instance: str, source: Callable[[], Data]) -> Response | None:
        """C-STORE, see `exchange`. `source` gives the data set, from the start each time; what it raises comes out."""
        return await self.exchange(
            pair, lambda association, context: association.store(context, sop_instance, source())
        )

    async def exchange(self, pair: Pair, send: Send) -> Response | None:
        """A request and its response; None if the peer did not accept the pair.

        `send` may be called twice: what it asks for must bear that. Raises PeerFault when the association ends,
        Unavailable when the pool was closed meanwhile, and what `send` raises.
        """
        self.repeated = False
        while True:
            context = self.association.context(*pair, as_scp=self._as_scp)
            if context is None:
                return None
            self.in_flight = True
            try:
                response = await send(self.association, context)
            except PeerFault as error:
                if self._renew is None or error.code not in _GONE:
                    raise
                # it ended while it was idle, or in the moment in which we sent; to store an object twice is harmless
                renew, self._renew, self.in_flight = self._renew, None, False
                self._line = await renew()
                self.repeated = True
                continue
            self._renew, self.in_flight = None, False
            return response


class Pool:
    """Up to `limit` associations at once to the same destination, idle ones included. Belongs to one event loop."""

    def __init__(
        self,
        remote: Callable[[], Remote],
        *,
        limit: int = 1,
        keep: float = KEEP,
        as_scp: bool = False,
        instead: Instead = _nothing,
    ) -> None:
        """`remote` is asked for each new association; `keep`: seconds that an idle one stays open.

        `as_scp`: the role we propose, and the only one, is that of the SCP (PS3.7 D.3.3.4). What can be sent `instead`
        of a pair is proposed too, in contexts of its own: a peer chooses within a context, perhaps what needs work.
        """
        self._remote = remote
        self._instead = instead
        self._as_scp = as_scp
        self._limit = limit
        self._keep = keep
        self._turns = asyncio.Semaphore(limit)
        self._leased = 0
        self._idle: list[_Line] = []
        self._seen: dict[Pair, None] = {}  # pairs the peer accepted, the latest last
        self._parting: set[asyncio.Task[None]] = set()
        self._closed = False

    @contextlib.asynccontextmanager
    async def lease(self, pairs: Sequence[Pair], *, fresh: bool = False, within: float = 0) -> AsyncIterator[Lease]:
        """An association in which `pairs` and what can be sent instead were proposed, as far as 128 contexts go.

        It waits while `limit` are on loan. The first pair is always proposed as a whole.

        `fresh`: one that has done nothing yet, with so many seconds `within` which answers must come if that is longer
        than usual.

        A block that raises aborts it. Raises PeerFault: cannot connect, rejected; Unavailable after `close`.
        """
        needed = tuple(dict.fromkeys(one for pair in pairs for one in (pair, *self._instead(pair))))[:MAX_CONTEXTS]
        async with self._turns:
            self._leased += 1
            lease: Lease | None = None
            try:
                line = None if fresh else self._take_idle(needed)
                if line is not None:
                    telemetry.POOL_LEASES.labels("reused").inc()
                    renew = partial(self._renewed, needed)
                    lease = Lease(line, renew, as_scp=self._as_scp, instead=self._instead)
                else:
                    line = await self._open(needed, "opened", within)
                    lease = Lease(line, None, as_scp=self._as_scp, instead=self._instead)
                yield lease
            except BaseException:
                if lease is not None:
                    lease.association.abort()
                    self._wait_for(lease.association.gone())
                raise
            finally:
                self._leased -= 1
                if lease is not None:
                    self._give_back(lease._line)

    async def close(self) -> None:
        """Release the idle ones; those on loan are released when they come back."""
        self._closed = True
        for line in list(self._idle):
            self._part(line)
        if self._parting:
            await asyncio.wait(self._parting)

    def _take_idle(self, needed: Sequence[Pair]) -> _Line | None:
        remote, now = self._remote(), asyncio.get_running_loop().time()
        for line in self._idle[::-1]:  # the one used last is the likeliest to live
            if line.association.ended_by or line.remote != remote:  # another address or certificate by now
                self._part(line)
            elif self._covers(line, needed, now):
                self._forget(line)
                return line
        return None

    def _covers(self, line: _Line, needed: Sequence[Pair], now: float) -> bool:
        """Say whether all pairs were proposed in it. That the peer refused one is believed for a while only."""
        age = now - line.opened
        if age > MAX_AGE or not line.proposed.issuperset(needed):
            return False
        return age < self._keep or all(self._served(line.association, pair) for pair in needed)

    def _served(self, association: Association, pair: Pair) -> bool:
        """The peer takes the pair, or something instead of it."""
        return any(self._accepted(association, one) for one in (pair, *self._instead(pair)))

    def _renewed(self, needed: Sequence[Pair]) -> asyncio.Future[_Line]:
        return asyncio.ensure_future(self._open(needed, "renewed"))

    def _accepted(self, association: Association, pair: Pair) -> bool:
        return association.context(*pair, as_scp=self._as_scp) is not None

    async def _open(self, needed: Sequence[Pair], how: str, within: float = 0) -> _Line:
        """Open an association for the pairs needed now and, as far as there is room, those the peer took before."""
        await self._make_room()
        if self._closed:
            raise Unavailable("no new associations: stopping")
        earlier = [pair for pair in reversed(self._seen) if pair not in needed]
        proposed = [*needed, *earlier][:MAX_CONTEXTS]
        scp = self._as_scp
        proposals = [Proposal(abstract, (transfer,), scu=not scp, scp=scp) for abstract, transfer in proposed]
        remote = self._remote()
        remote = replace(remote, response_timeout=max(remote.response_timeout, within))
        association = await open_association(remote, proposals)
        telemetry.POOL_LEASES.labels(how).inc()
        for pair in reversed(proposed):
            self._seen.pop(pair, None)
            if self._accepted(association, pair):
                self._seen[pair] = None
        for pair in list(self._seen)[:-MAX_CONTEXTS]:
            del self._seen[pair]
        return _Line(association, remote, frozenset(proposed), asyncio.get_running_loop().time())

    async def _make_room(self) -> None:
        """Release idle ones that stand in the way of a new one, and wait until they are gone for the peer too."""
        for line in list(self._idle):
            if line.association.ended_by or self._leased + len(self._idle) > self._limit:
                self._part(line)
        if self._parting and self._leased + len(self._idle) + len(self._parting) > self._limit:
            await asyncio.wait(set(self._parting))

    def _give_back(self, line: _Line) -> None:
        if self._closed or self._keep <= 0 or line.association.ended_by:
            self._part(line)
            return
        line.timer = asyncio.get_running_loop().call_later(self._keep, self._part, line)
        self._idle.append(line)

    def _forget(self, line: _Line) -> None:
        if line.timer is not None:
            line.timer.cancel()
            line.timer = None
        if line in self._idle:
            self._idle.remove(line)

    def _part(self, line: _Line) -> None:
        self._forget(line)
        if line.association.ended_by:
            return
        self._wait_for(line.association.release())

    def _wait_for(self, end: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(end)
        self._parting.add(task)
        task.add_done_callback(self._parting.discard)
