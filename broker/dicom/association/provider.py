"""Listens for associations (SCP): accepts connections, negotiates, hands requests to the services that registered.

Limits stand at the door: connections without an association per address, associations per address and in all,
and how often one address may ask. An address that asks too often hears of a temporary congestion; others do not notice.
Who may associate, and under which called AE title, an `Admission` from above decides.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Sequence

from broker import telemetry, tls
from broker.dicom import uids
from broker.dicom.association.session import Session
from broker.dicom.dimse.request import Service
from broker.dicom.wire.admission import (
    APPLICATION_CONTEXT_UNKNOWN,
    LOCAL_LIMIT,
    TEMPORARY_CONGESTION,
    Admission,
    ConnectionOrigin,
    Grant,
    Rejection,
)
from broker.dicom.wire.connection import PduConnection
from broker.dicom.wire.limits import AssociationLimits, RateLimit
from broker.dicom.wire.negotiation import AssociationRequest
from broker.dicom.wire.states import EndReason

PATIENCE: dict[str, float] = {
    EndReason.RELEASED: 30.0,
    EndReason.REFUSED: 30.0,
}  # seconds in Sta13 for a peer that behaved


class Provider:
    """A DICOM listener."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        admission: Admission,
        services: Sequence[Service],
        limits: AssociationLimits | None = None,
        tls: Callable[[], ssl.SSLContext] | None = None,
        reuse_port: bool = False,
    ) -> None:
        """`tls` gives the context for the next handshake, so that certificates can change while we run.

        `reuse_port`: other processes listen on the same port (SO_REUSEPORT).
        """
        self.host, self._port = host, port
        self._admission = admission
        self._services = {uid: service for service in services for uid in service.abstract_syntaxes}
        self._limits = limits or AssociationLimits()
        self._tls = tls
        self._reuse_port = reuse_port
        self._server: asyncio.Server | None = None
        self._half_open: Counter[str] = Counter()
        self._established: Counter[str] = Counter()
        self._parting: Counter[str] = Counter()
        self._sessions: dict[Session, asyncio.Task[None]] = {}
        self._pace = RateLimit(self._limits.associations_per_second, time.monotonic)
        self._logged: dict[tuple[str, str], float] = {}

    @property
    def port(self) -> int:
        """The bound port."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def accepting(self) -> bool:
        """The listener is open."""
        return self._server is not None and self._server.is_serving()

    async def start(self) -> None:
        """Bind and listen. Raises OSError."""
        loop = asyncio.get_running_loop()
        limits = self._limits
        self._server = await loop.create_server(
            lambda: PduConnection(
                max_data=limits.max_pdu,
                send_timeout=limits.pdu_timeout,
                on_connect=self._connected,
                hold=self._tls is not None,
            ),
            self.host,
            self._port,
            backlog=512,
            family=socket.AF_INET if "." in self.host else 0,
            reuse_port=self._reuse_port or None,
        )

    async def stop(self, grace: float) -> None:
        """Close the door, let running requests finish for `grace` seconds, then abort what is left."""
        if self._server is not None:
            self._server.close()
        for session in list(self._sessions):
            session.finish()
        tasks = list(self._sessions.values())
        if tasks:
            await asyncio.wait(tasks, timeout=grace)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _connected(self, connection: PduConnection) -> None:
        if self._half_open[connection.address] >= self._limits.half_open_per_address:
            telemetry.ASSOCIATIONS_REFUSED.labels("half-open").inc()
            connection.kill()
            return
        self._half_open[connection.address] += 1
        session = Session(
            connection,
            self._services,
            self._limits,
            allow=self._allow,
            enter=self._enter,
            tls=self._tls() if self._tls else None,
        )
        task = asyncio.get_running_loop().create_task(self._run(session, connection))
        self._sessions[session] = task

    async def _run(self, session: Session, connection: PduConnection) -> None:
        address = connection.address
        try:
            try:
                await session.run()
            except Exception as error:
                telemetry.logger().error("dicom.defect", peer=address, error=telemetry.describe(error))
            finally:
                self._leave(session, address)
            await self._part(session, connection)
        finally:
            connection.close()
            del self._sessions[session]

    def _leave(self, session: Session, address: str) -> None:
        """Stop counting the connection; log why it came to no association."""
        if session.established:
            _decrease(self._established, address)
            telemetry.ASSOCIATIONS.labels("provider").dec()
            return
        _decrease(self._half_open, address)
        reason = session.ended_by
        if reason.startswith("tls-") and reason not in (tls.DEADLINE, tls.CLOSED):
            telemetry.NODE_AUTHENTICATION_FAILURES.labels("handshake").inc()
            self._log("tls", "node.authentication_failed", address, reason)
        elif reason != EndReason.REFUSED:  # that has a line of its own
            self._log("noise", "dicom.no_association", address, reason)

    async def _part(self, session: Session, connection: PduConnection) -> None:
        """Give the peer time to close first (Sta13), unless too many of its connections wait for that."""
        patience = PATIENCE.get(session.ended_by, 2.0)
        if (
            session.ended_by == EndReason.STOPPING
            or self._parting[connection.address] >= self._limits.half_open_per_address
        ):
            return
        self._parting[connection.address] += 1
        try:
            await session.part(min(patience, self._limits.association_request_timeout))
        finally:
            _decrease(self._parting, connection.address)

    def _allow(self, address: str) -> Rejection | None:
        """Refuse an address that asks too often."""
        return None if self._pace.take(address) else self._refused(address, TEMPORARY_CONGESTION)

    def _refused(self, address: str, refusal: Rejection, **names: str) -> Rejection:
        telemetry.ASSOCIATIONS_REFUSED.labels(refusal.code).inc()
        self._log(refusal.code, "dicom.refused", address, refusal.code, **names)
        return refusal

    def _enter(self, request: AssociationRequest, origin: ConnectionOrigin) -> Rejection | Grant:
        """Ask limits and admission; a connection that may go on counts as an association from here on."""
        answer: Rejection | Grant | None = None
        if request.application_context != uids.APPLICATION_CONTEXT:
            answer = APPLICATION_CONTEXT_UNKNOWN
        elif self._full(origin.address):
            answer = LOCAL_LIMIT
        if answer is None:
            answer = self._admission.admit(request, origin)
        if isinstance(answer, Rejection):
            names = {"calling_ae": request.calling_ae, "called_ae": request.called_ae}
            return self._refused(origin.address, answer, **names)
        _decrease(self._half_open, origin.address)
        self._established[origin.address] += 1
        telemetry.ASSOCIATIONS.labels("provider").inc()
        return answer or Grant()

    def _full(self, address: str) -> bool:
        return (
            self._established.total() >= self._limits.associations
            or self._established[address] >= self._limits.associations_per_address
        )

    def _log(self, kind: str, event: str, address: str, reason: str, **names: str) -> None:
        """Port scans and health checks must not flood the log: one line per address and minute.

        Each `kind` has its own: somebody has to find out what to change.
        """
        now, key = asyncio.get_running_loop().time(), (address, kind)
        if now - self._logged.get(key, -60.0) < 60:
            return
        if len(self._logged) > 1000:
            self._logged.clear()
        self._logged[key] = now
        log = telemetry.logger().warning if kind == "tls" else telemetry.logger().info
        log(event, peer=address, reason=reason, **names)


def _decrease(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
