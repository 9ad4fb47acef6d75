"""Listens for associations (SCP): accepts connections, negotiates, hands requests to the services that registered.

Limits stand at the door (`entrance`): connections without an association, associations per address and in all, and how
often one address may ask. Who may associate, and under which called AE title, an `Admission` from above decides.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence

from broker import correlation, telemetry
from broker.dicom.association.entrance import Entrance
from broker.dicom.association.session import Session
from broker.dicom.dimse.request import Service
from broker.dicom.wire.admission import Admission
from broker.dicom.wire.connection import PduConnection
from broker.dicom.wire.limits import AssociationLimits
from broker.dicom.wire.states import EndReason
from broker.seats import BACKLOG

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
        known: Callable[[str], bool] = lambda address: False,
    ) -> None:
        """`tls` gives the context for the next handshake, so that certificates can change while we run.

        `reuse_port`: other processes listen on the same port (SO_REUSEPORT). `known`: a system that the site names
        calls from this address.
        """
        self.host, self._port = host, port
        self._services = {uid: service for service in services for uid in service.abstract_syntaxes}
        self._limits = limits or AssociationLimits()
        self._entrance = Entrance(self._limits, admission)
        self._known = known
        self._tls = tls
        self._reuse_port = reuse_port
        self._server: asyncio.Server | None = None
        self._sessions: dict[Session, asyncio.Task[None]] = {}

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
            backlog=BACKLOG,
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
        session = Session(
            connection,
            self._services,
            self._limits,
            self._entrance,
            known=self._known(connection.address),
            tls=self._tls() if self._tls else None,
        )
        if not self._entrance.enter(session):
            connection.kill()
            return
        self._sessions[session] = asyncio.get_running_loop().create_task(self._run(session, connection))

    async def _run(self, session: Session, connection: PduConnection) -> None:
        correlation.connect()
        try:
            try:
                await session.run()
            except Exception as error:
                telemetry.logger().error("dicom.defect", peer=connection.address, error=telemetry.describe(error))
            finally:
                self._entrance.leave(session)
            patience = min(PATIENCE.get(session.ended_by, 2.0), self._limits.association_request_timeout)
            await self._entrance.part(session, lambda: session.part(patience))
        finally:
            self._entrance.seats.leave(session)
            connection.close()
            del self._sessions[session]
