"""The listening side (SCP): accepts connections, negotiates, hands requests to the services that registered.

Limits stand at the door: connections without an association per address, associations per address and in all.
Who may associate, and under which called AE title, an `Admission` from above decides.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from broker import telemetry
from broker.dicom import uids
from broker.dicom.negotiation import AssociationRequest
from broker.dicom.request import Service
from broker.dicom.session import Session
from broker.dicom.wire import Wire


@dataclass(frozen=True, slots=True)
class Refusal:
    """A-ASSOCIATE-RJ parameters (PS3.8 table 9-21) and a word for log and metrics."""

    result: int
    source: int
    reason: int
    code: str


CALLING_AE_UNKNOWN = Refusal(1, 1, 3, "calling-ae-unknown")
CALLED_AE_UNKNOWN = Refusal(1, 1, 7, "called-ae-unknown")
APPLICATION_CONTEXT_UNKNOWN = Refusal(1, 1, 2, "application-context")
LOCAL_LIMIT = Refusal(2, 3, 2, "local-limit")


class Admission(Protocol):
    """Decides who may associate."""

    def admit(self, request: AssociationRequest, address: str) -> Refusal | None:
        """None to let the peer in."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Counts, bytes and seconds; see `[limits]` of the configuration."""

    half_open_per_address: int = 20
    associations_per_address: int = 100
    associations: int = 1000
    association_request_timeout: float = 30
    pdu_timeout: float = 60
    idle_timeout: float = 600
    max_pdu: int = 262_144
    max_object: int = 64 * 1024**3


class Provider:
    """A DICOM listener."""

    def __init__(
        self, host: str, port: int, *, admission: Admission, services: Sequence[Service], limits: Limits | None = None
    ) -> None:
        self._host, self._port = host, port
        self._admission = admission
        self._services = {uid: service for service in services for uid in service.abstract_syntaxes}
        self._limits = limits or Limits()
        self._server: asyncio.Server | None = None
        self._half_open: Counter[str] = Counter()
        self._established: Counter[str] = Counter()
        self._sessions: dict[Session, asyncio.Task[None]] = {}
        self._noise_logged: dict[str, float] = {}

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
            lambda: Wire(max_data=limits.max_pdu, send_timeout=limits.pdu_timeout, on_connect=self._connected),
            self._host, self._port, backlog=512, family=socket.AF_INET if "." in self._host else 0,
        )  # fmt: skip

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

    def _connected(self, wire: Wire) -> None:
        if self._half_open[wire.address] >= self._limits.half_open_per_address:
            telemetry.ASSOCIATIONS_REFUSED.labels("half-open").inc()
            wire.kill()
            return
        self._half_open[wire.address] += 1
        session = Session(wire, self._services, self._limits, self._enter)
        task = asyncio.get_running_loop().create_task(self._run(session, wire))
        self._sessions[session] = task

    async def _run(self, session: Session, wire: Wire) -> None:
        address = wire.address
        try:
            await session.run()
        except Exception as error:
            telemetry.logger().error("dicom.defect", peer=address, error=telemetry.describe(error))
        finally:
            del self._sessions[session]
            if session.established:
                _decrease(self._established, address)
                telemetry.ASSOCIATIONS.labels("provider").dec()
            else:
                _decrease(self._half_open, address)
                if session.ended_by != "refused":  # that has a line of its own
                    self._log_noise(address, session.ended_by)

    def _enter(self, request: AssociationRequest, wire: Wire) -> Refusal | None:
        """Admission and limits; from here on the connection counts as an association."""
        refusal = None
        if request.application_context != uids.APPLICATION_CONTEXT:
            refusal = APPLICATION_CONTEXT_UNKNOWN
        elif self._full(wire.address):
            refusal = LOCAL_LIMIT
        if refusal is None:
            refusal = self._admission.admit(request, wire.address)
        if refusal is not None:
            telemetry.ASSOCIATIONS_REFUSED.labels(refusal.code).inc()
            return refusal
        _decrease(self._half_open, wire.address)
        self._established[wire.address] += 1
        telemetry.ASSOCIATIONS.labels("provider").inc()
        return None

    def _full(self, address: str) -> bool:
        return (
            self._established.total() >= self._limits.associations
            or self._established[address] >= self._limits.associations_per_address
        )

    def _log_noise(self, address: str, reason: str) -> None:
        """Port scans and health checks must not flood the log: one line per address and minute."""
        now = asyncio.get_running_loop().time()
        if now - self._noise_logged.get(address, -60.0) < 60:
            return
        if len(self._noise_logged) > 1000:
            self._noise_logged.clear()
        self._noise_logged[address] = now
        telemetry.logger().info("dicom.no_association", peer=address, reason=reason)


def _decrease(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
