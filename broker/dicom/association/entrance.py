"""Counts the connections of a DICOM listener: who gets in, who has no association yet, who has one, who is leaving.

Limits stand for all and for each address (of IPv6 each /64). Who calls from the address of a node has room that is kept
from strangers. A stranger that asks too often waits, then hears of a temporary congestion; others do not notice. What
strangers cause in the log is limited, and the next line tells how many were left out.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Protocol

from broker import telemetry, tls
from broker.dicom import uids
from broker.dicom.wire.admission import (
    APPLICATION_CONTEXT_UNKNOWN,
    LOCAL_LIMIT,
    TEMPORARY_CONGESTION,
    Admission,
    ConnectionOrigin,
    Grant,
    Rejection,
)
from broker.dicom.wire.limits import AssociationLimits
from broker.dicom.wire.negotiation import AssociationRequest
from broker.dicom.wire.states import EndReason
from broker.pace import AddressPace, LinePace
from broker.seats import DISMISSED, KEPT, Guest, Seats

AUTHENTICATION = "node.authentication_failed"


class SeatedCaller(Guest, Protocol):
    """A connection, as the entrance sees it."""

    address: str

    @property
    def established(self) -> bool:
        """There is or was an association."""
        ...

    @property
    def ended_by(self) -> str:
        """The reason of the end, as a code."""
        ...


class Entrance:
    """The counts of one listener."""

    def __init__(self, limits: AssociationLimits, admission: Admission) -> None:
        self._limits, self._admission = limits, admission
        rest = max(limits.associations // KEPT, limits.half_open_per_address)  # without an association yet, or leaving
        each = limits.associations_per_address + 2 * limits.half_open_per_address
        self.seats = Seats(limits.associations + rest, each, limits.open_bytes)
        self.half_open: Counter[str] = Counter()
        self.established: Counter[str] = Counter()
        self._strangers = 0  # associations of callers that are not known
        self._parting: Counter[str] = Counter()
        self._pace = AddressPace(limits.associations_per_second)
        self._lines = LinePace()

    def enter(self, caller: SeatedCaller) -> bool:
        """Let a connection in; False if it must be closed."""
        most = self._limits.associations_per_address if caller.known else self._limits.half_open_per_address
        refusal = "half-open" if self.half_open[caller.share] >= most else self.seats.enter(caller)
        if refusal:
            self._turn_away(caller, refusal)
            return False
        self.half_open[caller.share] += 1
        return True

    def leave(self, caller: SeatedCaller) -> None:
        """Count a connection without its association; log why it came to none."""
        if caller.established:
            _decrease(self.established, caller.share)
            self._strangers -= not _trusted(caller)
            telemetry.ASSOCIATIONS.labels("provider").dec()
            if caller.ended_by in DISMISSED:
                self._turn_away(caller, caller.ended_by)
            return
        _decrease(self.half_open, caller.share)
        reason = caller.ended_by
        if reason.startswith("tls-") and reason not in (tls.DEADLINE, tls.CLOSED):
            telemetry.NODE_AUTHENTICATION_FAILURES.labels("handshake").inc()
            self._tell(AUTHENTICATION, caller, reason)
        elif reason in DISMISSED:
            self._turn_away(caller, reason)
        elif reason != EndReason.REFUSED:  # that has a line of its own
            self._tell("dicom.no_association", caller, reason, "noise")

    async def part(self, caller: SeatedCaller, wait: Callable[[], Awaitable[None]]) -> None:
        """Let a connection wait for its end (Sta13), unless too many of its address do; then it has left."""
        try:
            if caller.ended_by == EndReason.STOPPING or self._crowded(caller):
                return
            self._parting[caller.share] += 1
            try:
                await wait()
            finally:
                _decrease(self._parting, caller.share)
        finally:
            self.seats.leave(caller)

    def _crowded(self, caller: SeatedCaller) -> bool:
        return self._parting[caller.share] >= self._limits.half_open_per_address

    async def take_turn(self, caller: SeatedCaller) -> Rejection | None:
        """Let a stranger wait whose address asks often, or refuse it; a caller that is known or proven has no pace."""
        wait = 0.0 if _trusted(caller) else self._pace.wait(caller.share)
        if wait is None:
            return self._refused(caller, TEMPORARY_CONGESTION)
        if wait:
            await asyncio.sleep(wait)
        return None

    def admit(self, caller: SeatedCaller, request: AssociationRequest, certificate: bytes | None) -> Rejection | Grant:
        """Ask limits and admission; a connection that may go on counts as an association from here on."""
        answer: Rejection | Grant | None = None
        if request.application_context != uids.APPLICATION_CONTEXT:
            answer = APPLICATION_CONTEXT_UNKNOWN
        elif self.established[caller.share] >= self._limits.associations_per_address or self._full(0):
            answer = LOCAL_LIMIT
        if answer is None:
            answer = self._admission.admit(request, ConnectionOrigin(caller.address, certificate)) or Grant()
        if isinstance(answer, Grant):
            if answer.node:
                self.seats.prove(caller)
            if not _trusted(caller) and self._full(self._limits.associations // KEPT):
                answer = LOCAL_LIMIT
        if isinstance(answer, Rejection):
            return self._refused(caller, answer, calling_ae=request.calling_ae, called_ae=request.called_ae)
        _decrease(self.half_open, caller.share)
        self.established[caller.share] += 1
        self._strangers += not _trusted(caller)
        telemetry.ASSOCIATIONS.labels("provider").inc()
        return answer

    def _full(self, kept: int) -> bool:
        """All associations are taken, or with `kept` those that strangers may have."""
        taken = self._strangers if kept else self.established.total()
        return taken >= self._limits.associations - kept

    def _refused(self, caller: SeatedCaller, refusal: Rejection, **names: str) -> Rejection:
        telemetry.ASSOCIATIONS_REFUSED.labels(refusal.code).inc()
        self._tell("dicom.refused", caller, refusal.code, **names)
        return refusal

    def _turn_away(self, caller: SeatedCaller, reason: str) -> None:
        telemetry.ASSOCIATIONS_REFUSED.labels(reason).inc()
        self._tell("dicom.connections_full", caller, reason)

    def _tell(self, event: str, caller: SeatedCaller, reason: str, kind: str = "", **names: str) -> None:
        """Port scans and health checks must not flood the log: one line per address, `kind` and minute.

        A kind is a reason where no other is given: somebody has to find out what to change.
        """
        repeats = self._lines.take(f"{event} {kind or reason} {caller.share}")
        if repeats is not None:
            log = telemetry.logger().warning if event == AUTHENTICATION else telemetry.logger().info
            log(event, peer=caller.address, reason=reason, repeats=repeats or None, **names)


def _trusted(caller: SeatedCaller) -> bool:
    return caller.known or caller.proven


def _decrease(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
