"""Asks a peer for an association (requestor, PS3.8 7.1.1; Sta4 and Sta5)."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import KW_ONLY, dataclass, field

from broker import telemetry, tls
from broker.dicom import uids
from broker.dicom.association.association import Association
from broker.dicom.dimse.message import PeerAE, PresentationContext
from broker.dicom.dimse.request import Service
from broker.dicom.wire import negotiation as neg
from broker.dicom.wire import pdu
from broker.dicom.wire.connection import DeadlinePassed, PduConnection
from broker.dicom.wire.limits import AssociationLimits
from broker.dicom.wire.negotiation import MAX_CONTEXTS
from broker.dicom.wire.states import EVENT_OF_PDU, StateMachine, ULAction, ULEvent
from broker.dicom.wire.user_information import CommonExtended, Role, UserIdentity, UserInformation
from broker.errors import PeerFault, ProtocolViolation

MAX_RECEIVE = 262_144


@dataclass(frozen=True, slots=True)
class Remote:
    """The address of a peer and the AE titles to use. Times in seconds; `operations`: requests open at once."""

    host: str
    port: int
    called_ae: str
    calling_ae: str
    _: KW_ONLY
    connect_timeout: float = 10
    response_timeout: float = 60
    operations: int = 1
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    server_name: str = ""  # in the peer's certificate, if it is not the host
    identity: UserIdentity | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """A presentation context to propose. Roles are negotiated if we want to be SCP too (C-GET) or only."""

    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]
    _: KW_ONLY
    scu: bool = True
    scp: bool = False
    extended: bytes | None = None  # service class application information (PS3.7 D.3.3.5)
    common: CommonExtended | None = None


ECHO = Proposal(uids.VERIFICATION, (uids.EXPLICIT_LE, uids.IMPLICIT_LE))  # of every test of a peer


@contextlib.asynccontextmanager
async def associate(
    remote: Remote, proposals: Sequence[Proposal], services: Sequence[Service] = ()
) -> AsyncIterator[Association]:
    """An association for a block: released at its end, aborted if the block raises. See `open_association`."""
    association = await open_association(remote, proposals, services)
    try:
        yield association
    except BaseException:
        association.abort()
        await association.gone()
        raise
    await association.release()


async def open_association(
    remote: Remote, proposals: Sequence[Proposal], services: Sequence[Service] = ()
) -> Association:
    """Connect and negotiate; `services` are for requests of the peer. The caller ends it by `release` or `abort`.

    Raises PeerFault: cannot connect, rejected, no answer. What the peer accepted, `Association.context` tells.
    Raises ValueError for more proposals than contexts fit into an association.
    """
    if len(proposals) > MAX_CONTEXTS:
        raise ValueError("an association has 128 presentation contexts at most")
    machine = StateMachine(requestor=True)
    machine.on(ULEvent.ASSOCIATE_REQUEST)  # AE-1
    connection = await _connect(remote)
    machine.on(ULEvent.TRANSPORT_CONFIRM)  # AE-2
    try:
        association = await _negotiate(connection, machine, remote, proposals, services)
    except ProtocolViolation as error:
        if not machine.over:
            machine.on(ULEvent.INVALID_PDU)  # AA-8
        connection.last_word(pdu.complaint(error))
        connection.close()
        raise PeerFault("the peer broke the protocol", code=error.code) from None
    except BaseException as error:
        if not machine.over:
            machine.on(ULEvent.ARTIM_EXPIRED if isinstance(error, DeadlinePassed) else ULEvent.TRANSPORT_CLOSED)
        connection.kill()
        raise
    telemetry.ASSOCIATIONS.labels("user").inc()
    association.start(lambda: _ended(connection))
    return association


def _ended(connection: PduConnection) -> None:
    connection.close()
    telemetry.ASSOCIATIONS.labels("user").dec()


async def _connect(remote: Remote) -> PduConnection:
    loop = asyncio.get_running_loop()
    name = remote.server_name or remote.host
    try:
        async with asyncio.timeout(remote.connect_timeout):
            _, connection = await loop.create_connection(
                lambda: PduConnection(max_data=MAX_RECEIVE, send_timeout=remote.response_timeout),
                remote.host,
                remote.port,
                ssl=remote.tls,
                server_hostname=name if remote.tls else None,
            )
            return connection
    except ssl.SSLError as error:
        raise PeerFault("no TLS handshake", code=tls.failure(error)) from None
    except (OSError, TimeoutError):
        raise PeerFault("cannot connect", code="connect-failed") from None


def _request(remote: Remote, proposals: Sequence[Proposal]) -> neg.AssociationRequest:
    proposed = [
        neg.ProposedContext(2 * i + 1, p.abstract_syntax, tuple(p.transfer_syntaxes)) for i, p in enumerate(proposals)
    ]
    user = UserInformation(
        MAX_RECEIVE,
        uids.IMPLEMENTATION_CLASS,
        uids.IMPLEMENTATION_VERSION,
        window=(remote.operations, 1) if remote.operations > 1 else None,
        roles=tuple({p.abstract_syntax: Role(p.abstract_syntax, p.scu, p.scp) for p in proposals if p.scp}.values()),
        extended=tuple((p.abstract_syntax, p.extended) for p in proposals if p.extended is not None),
        common=tuple(p.common for p in proposals if p.common is not None),
        identity=remote.identity,
    )
    return neg.AssociationRequest(remote.called_ae, remote.calling_ae, tuple(proposed), user)


async def _negotiate(
    connection: PduConnection,
    machine: StateMachine,
    remote: Remote,
    proposals: Sequence[Proposal],
    services: Sequence[Service],
) -> Association:
    request = _request(remote, proposals)
    await connection.write(neg.encode_request(request))
    kind, body = await connection.read_pdu(remote.response_timeout, remote.response_timeout)
    malformed = kind == pdu.ASSOCIATE_RJ and len(body) != 4
    action = machine.on(ULEvent.INVALID_PDU if malformed else EVENT_OF_PDU[kind])
    if action is ULAction.AE_4:
        raise PeerFault("association rejected", code=f"rejected-{body[1]}-{body[2]}-{body[3]}")
    if action is ULAction.AA_3:
        raise PeerFault("association aborted", code="aborted")
    if action is ULAction.AA_8:
        raise ProtocolViolation("an answer to no association request", code="unexpected-pdu")
    accept = neg.decode_accept(bytes(body))
    identity = remote.identity
    if identity is not None and identity.positive_response and accept.user.identity_answer is None:
        raise PeerFault("the peer did not check our identity", code="identity-unanswered")
    contexts = _accepted(accept, request)
    by_class = {uid: service for service in services for uid in service.abstract_syntaxes}
    serving = {i: by_class[c.abstract_syntax] for i, c in contexts.items() if c.abstract_syntax in by_class}
    limits = AssociationLimits(response_timeout=remote.response_timeout, idle_timeout=24 * 3600)
    peer = PeerAE(remote.called_ae, remote.calling_ae, remote.host, dict(accept.user.extended))
    return Association(
        connection,
        machine,
        peer,
        contexts,
        max_length=accept.user.max_length,
        limits=limits,
        services=serving,
        window=(_window(remote, accept.user), 1),
    )


def _accepted(accept: neg.AssociationAccept, request: neg.AssociationRequest) -> dict[int, PresentationContext]:
    """The contexts that may be used; an acceptance of something we did not propose is none (PS3.8 9.3.3.2)."""
    proposed = {context.id: context for context in request.contexts}
    roles = {role.sop_class: role for role in request.user.roles}
    answered = {role.sop_class: role for role in accept.user.roles}
    contexts: dict[int, PresentationContext] = {}
    for result in accept.contexts:
        context = proposed.get(result.id)
        if context is None or result.result != neg.ACCEPTED:
            continue
        if result.transfer_syntax not in context.transfer_syntaxes:
            raise ProtocolViolation("a transfer syntax that was not proposed", code="wrong-transfer-syntax")
        proposed_role, role = roles.get(context.abstract_syntax), answered.get(context.abstract_syntax)
        uses, serves = True, False
        if proposed_role is not None and role is not None:
            uses, serves = proposed_role.scu and role.scu, proposed_role.scp and role.scp
        contexts[result.id] = PresentationContext(
            result.id, context.abstract_syntax, result.transfer_syntax, serves, uses
        )
    return contexts


def _window(remote: Remote, user: UserInformation) -> int:
    """Requests that may be open at once: what the peer allows of what we asked for; 0 of it means no limit."""
    if remote.operations == 1 or user.window is None:
        return 1
    return min(remote.operations, user.window[0] or remote.operations)
