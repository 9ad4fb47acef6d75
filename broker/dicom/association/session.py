"""One connection at the acceptor, from TCP (Sta2) to the end: handshake, A-ASSOCIATE-RQ, association."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping

from broker import telemetry
from broker.dicom.association.acceptance import agree
from broker.dicom.association.association import Association
from broker.dicom.dimse.message import Peer
from broker.dicom.dimse.request import Service
from broker.dicom.wire import negotiation as neg
from broker.dicom.wire import pdu
from broker.dicom.wire.admission import Grant, Origin, Refusal
from broker.dicom.wire.limits import Limits
from broker.dicom.wire.wire import ConnectionLost, DeadlinePassed, Wire
from broker.errors import ProtocolViolation

Enter = Callable[[neg.AssociationRequest, Origin], Refusal | Grant]
Allow = Callable[[str], Refusal | None]


class Session:
    """See the module's text."""

    def __init__(
        self,
        wire: Wire,
        services: Mapping[str, Service],
        limits: Limits,
        *,
        allow: Allow,
        enter: Enter,
        tls: ssl.SSLContext | None,
    ) -> None:
        """`allow` refuses an address that asks too often; `enter` decides, and counts what may begin."""
        self._wire = wire
        self._services = services
        self._limits = limits
        self._allow = allow
        self._enter = enter
        self._tls = tls
        self._association: Association | None = None
        self._task: asyncio.Task[None] | None = None
        self._ended_by = "closed"

    @property
    def established(self) -> bool:
        """There is or was an association."""
        return self._association is not None

    @property
    def ended_by(self) -> str:
        """Why it ended, as a code."""
        return self._association.ended_by if self._association is not None else self._ended_by

    def finish(self) -> None:
        """The broker stops: end after the running requests."""
        if self._association is not None:
            self._association.finish()
        elif self._task is not None:
            self._task.cancel()

    async def run(self) -> None:
        """Serve the connection until its last word is said; never raises for what a peer does."""
        self._task = asyncio.current_task()
        try:
            await self._negotiate()
        except ProtocolViolation as error:  # AA-1: there is no association yet, so no provider's reason
            self._ended_by = error.code
            self._wire.last_word(pdu.abort(by_user=True))
        except DeadlinePassed:
            self._ended_by = "deadline"  # ARTIM: AA-2, close
            self._wire.close()
        except ConnectionLost as error:
            self._ended_by = error.code if error.code.startswith("tls-") else "closed"
        except asyncio.CancelledError:
            self._ended_by = "stopping"
            self._wire.last_word(pdu.abort(by_user=True))
        if self._association is not None:
            await self._association.run()

    async def _negotiate(self) -> None:
        if self._tls is not None:
            await self._wire.secure(self._tls, self._limits.tls_handshake_timeout)
        timeout = self._limits.association_request_timeout
        started = time.monotonic()
        kind, body = await self._wire.read_pdu(timeout, timeout)
        if kind == pdu.ABORT:
            raise ConnectionLost("the peer gave up")
        if kind != pdu.ASSOCIATE_RQ:
            raise ProtocolViolation("the first PDU is not an association request", code="unexpected-pdu")
        refusal = self._allow(self._wire.address)
        if refusal is not None:  # too soon: not even decoded
            return await self._refuse(refusal)
        request = neg.decode_request(bytes(body))
        entry = self._enter(request, Origin(self._wire.address, self._wire.certificate))
        if isinstance(entry, Refusal):
            return await self._refuse(entry)
        agreed = agree(request, self._services, self._limits, identity_checked=entry.identity_checked)
        peer = Peer(request.calling_ae, request.called_ae, self._wire.address, dict(request.user.extended))
        self._association = Association(
            self._wire,
            peer,
            agreed.contexts,
            max_length=request.user.max_length,
            limits=self._limits,
            services=agreed.services,
            window=agreed.window,
        )
        await self._wire.write(neg.encode_accept(agreed.answer))
        telemetry.logger().debug(
            "dicom.associated",
            peer=self._wire.address,
            calling_ae=request.calling_ae,
            contexts=len(agreed.contexts),
            duration=round(time.monotonic() - started, 4),
        )

    async def _refuse(self, refusal: Refusal) -> None:
        self._ended_by = "refused"
        await self._wire.write(pdu.reject(refusal.result, refusal.source, refusal.reason))
