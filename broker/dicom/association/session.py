"""Serves one connection of the acceptor: TLS handshake, A-ASSOCIATE-RQ (Sta2, Sta3), association, its end (Sta13)."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping

from broker import telemetry, tls
from broker.dicom.association.acceptance import agree
from broker.dicom.association.association import Association, wait_for_close
from broker.dicom.association.entrance import Entrance
from broker.dicom.dimse.message import PeerAE
from broker.dicom.dimse.request import Service
from broker.dicom.wire import negotiation as neg
from broker.dicom.wire import pdu
from broker.dicom.wire.admission import Rejection
from broker.dicom.wire.connection import ConnectionLost, DeadlinePassed, PduConnection
from broker.dicom.wire.limits import AssociationLimits
from broker.dicom.wire.states import EVENT_OF_PDU, EndReason, StateMachine, ULAction, ULEvent
from broker.errors import ProtocolViolation
from broker.seats import share_of


class Session:
    """One connection of the acceptor; see the text of the module. It holds a seat of the listener."""

    def __init__(
        self,
        connection: PduConnection,
        services: Mapping[str, Service],
        limits: AssociationLimits,
        entrance: Entrance,
        *,
        known: bool,
        tls: ssl.SSLContext | None,
    ) -> None:
        """`known`: it comes from the address of a system that the site names."""
        self._connection = connection
        self._machine = StateMachine(requestor=False)
        self._services = services
        self._limits = limits
        self._entrance = entrance
        self.known, self.proven, self.held = known, False, 0
        self.address, self.share = connection.address, share_of(connection.address)
        connection.on_hold = self._hold
        self._tls = tls
        self._association: Association | None = None
        self._task: asyncio.Task[None] | None = None
        self._ended_by: str = EndReason.CLOSED

    @property
    def established(self) -> bool:
        """There is or was an association."""
        return self._association is not None

    @property
    def busy(self) -> bool:
        """A request is being served."""
        return self._association is not None and self._association.busy

    @property
    def ended_by(self) -> str:
        """The reason of the end, as a code."""
        return self._association.ended_by if self._association is not None else self._ended_by

    def end(self, reason: str) -> None:
        """Close at once: others need the seat or the memory."""
        self._ended_by = reason
        if self._association is not None:
            self._association.ended_by = self._association.ended_by or reason
        self._connection.kill()

    def _hold(self, size: int) -> None:
        """The connection has so many bytes of memory for what it reads; only those of strangers are counted."""
        self._entrance.seats.hold(self, 0 if self.known or self.proven else size)

    def finish(self) -> None:
        """The broker stops: end after the running requests."""
        if self._association is not None:
            self._association.finish()
        elif self._task is not None:
            self._task.cancel()

    async def run(self) -> None:
        """Serve the connection until its last word is said; never raises for what a peer does."""
        self._task = asyncio.current_task()
        self._machine.on(ULEvent.TRANSPORT_INDICATION)  # AE-5: ARTIM is the time that the first PDU may take
        try:
            await self._negotiate()
        except ProtocolViolation as error:
            self._end(ULEvent.INVALID_PDU, error.code, pdu.abort(by_user=True))  # AA-1: no association, no provider
        except DeadlinePassed:
            self._end(ULEvent.ARTIM_EXPIRED, EndReason.DEADLINE)
            self._connection.close()
        except ConnectionLost as error:
            reason = error.code if error.code.startswith("tls-") else EndReason.CLOSED
            self._end(ULEvent.TRANSPORT_CLOSED, self._ended_by if self._ended_by != EndReason.CLOSED else reason)
        except asyncio.CancelledError:
            self._end(ULEvent.ABORT_REQUEST, EndReason.STOPPING, pdu.abort(by_user=True))
            if self._association is not None:
                self._association.abort()
        if self._association is not None:
            await self._association.run()

    async def part(self, patience: float) -> None:
        """Give the peer `patience` seconds to close the connection first."""
        await wait_for_close(self._connection, self._machine, patience)

    def _end(self, event: ULEvent, reason: str, word: bytes = b"") -> None:
        """End a connection without an association by an event; `word` is our last PDU."""
        self._ended_by = reason
        if self._association is None and self._machine.allows(event):
            self._machine.on(event)
            self._connection.last_word(word)

    async def _negotiate(self) -> None:
        if self._tls is not None:
            await self._connection.secure(self._tls, self._limits.tls_handshake_timeout)
            self.known = self.known or self._connection.certificate is not None
        timeout = self._limits.association_request_timeout
        started = time.monotonic()
        kind, body = await self._connection.read_pdu(timeout, timeout, whole=timeout)
        if kind != pdu.ASSOCIATE_RQ:
            return self._out_of_place(EVENT_OF_PDU[kind])
        refusal = await self._entrance.take_turn(self)
        if refusal is not None:  # too soon: not even decoded
            self._machine.on(ULEvent.ASSOCIATE_RQ_PDU, acceptable=False)  # AE-6
            return await self._refuse(refusal)
        request = neg.decode_request(bytes(body))
        self._machine.on(ULEvent.ASSOCIATE_RQ_PDU)  # AE-6
        entry = self._entrance.admit(self, request, self._connection.certificate)
        if isinstance(entry, Rejection):
            self._machine.on(ULEvent.ASSOCIATE_REJECT)  # AE-8
            return await self._refuse(entry)
        agreed = agree(request, self._services, self._limits, identity_checked=entry.identity_checked)
        peer = PeerAE(
            request.calling_ae,
            request.called_ae,
            self._connection.address,
            dict(request.user.extended),
            tls.subject(self._connection.certificate),
        )
        self._association = Association(
            self._connection,
            self._machine,
            peer,
            agreed.contexts,
            max_length=request.user.max_length,
            limits=self._limits,
            services=agreed.services,
            window=agreed.window,
            first_timeout=None if self.known or self.proven else timeout,
        )
        self._hold(self.held)
        self._machine.on(ULEvent.ASSOCIATE_ACCEPT)  # AE-7
        await self._connection.write(neg.encode_accept(agreed.answer))
        telemetry.logger().debug(
            "dicom.associated",
            peer=self._connection.address,
            calling_ae=request.calling_ae,
            contexts=len(agreed.contexts),
            duration=round(time.monotonic() - started, 4),
        )

    def _out_of_place(self, event: ULEvent) -> None:
        """End the connection: its first PDU does not ask for an association."""
        if self._machine.on(event) is ULAction.AA_1:
            self._ended_by = "unexpected-pdu"
            self._connection.last_word(pdu.abort(by_user=True))
        else:
            self._ended_by = EndReason.CLOSED  # AA-2: the peer gave up

    async def _refuse(self, refusal: Rejection) -> None:
        self._ended_by = EndReason.REFUSED
        await self._connection.write(pdu.reject(refusal.result, refusal.source, refusal.reason))
