"""Defines a service, which a feature registers, and the request that its handler gets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field

from broker import telemetry
from broker.dicom.dimse import command as cmd
from broker.dicom.dimse import status as st
from broker.dicom.dimse.command import Command
from broker.dicom.dimse.message import MessageSender, PeerAE, PresentationContext
from broker.dicom.dimse.operations import Operations
from broker.dicom.dimse.stream import DataStream
from broker.dicom.uids import Choice
from broker.errors import BadContent, Unavailable

PORTION = 32  # pending responses of one write


@dataclass(slots=True, kw_only=True)
class Request:
    """One DIMSE request. The handler reads `data`, and responds: pending answers first, then one final answer.

    `association` is for requests of our own to the same peer: sub-operations of a C-GET, event reports. `sender` is for
    the methods here alone.
    """

    command: Command
    context: PresentationContext
    peer: PeerAE
    data: DataStream
    association: Operations
    sender: MessageSender
    cancelled: bool = False  # a C-CANCEL for this request has come
    answered: bool = field(default=False, init=False)  # the final answer has left
    status: int = field(default=st.PENDING, init=False)  # of the final answer, once there is one

    async def respond(
        self,
        status: int,
        data: bytes | None = None,
        *,
        comment: str = "",
        offending: int = 0,
        more: Mapping[int, cmd.Value] | None = None,
    ) -> None:
        """Send a response; waits while the peer reads slowly.

        `comment` (64 characters at most, no patient data) and `offending` (a tag) go with failures
        (PS3.7 annex C), `more` are further command elements. Raises ConnectionLost or DeadlinePassed.
        """
        values = self._response(status, data is not None)
        if comment:
            values[cmd.ERROR_COMMENT] = comment[:64]
        if offending:
            values[cmd.OFFENDING_ELEMENT] = (offending,)
        if more:
            values.update(more)
        if not st.is_pending(status):
            self.answered, self.status = True, status
            name = cmd.NAMES.get(self.command.field, "unknown")
            telemetry.child(telemetry.DIMSE_ANSWERS, name, f"{status:04X}").inc()
        await self.sender.message(self.context.id, cmd.encode(values), data)

    async def respond_all(self, status: int, answers: Sequence[bytes]) -> int:
        """Send pending responses, several with one write; how many have left: a C-CANCEL stops the others.

        Raises ConnectionLost or DeadlinePassed.
        """
        command = cmd.encode(self._response(status, True))
        for position in range(0, len(answers), PORTION):
            if self.cancelled:
                return position
            await self.sender.messages(self.context.id, command, answers[position : position + PORTION])
            await asyncio.sleep(0)  # a C-CANCEL may be there, and others wait
        return len(answers)

    def _response(self, status: int, has_data: bool) -> dict[int, cmd.Value]:
        """Elements that every response has."""
        values: dict[int, cmd.Value] = {
            cmd.COMMAND_FIELD: self.command.field | cmd.RESPONSE,
            cmd.MESSAGE_ID_RESPONDED: self.command.message_id,
            cmd.DATA_SET_TYPE: 1 if has_data else cmd.NO_DATA,
            cmd.STATUS: status,
        }
        if self.command.sop_class:
            values[cmd.AFFECTED_SOP_CLASS] = self.command.sop_class
        if self.command.sop_instance and len(self.command.sop_instance) <= 64:
            values[cmd.AFFECTED_SOP_INSTANCE] = self.command.sop_instance
        return values

    def failure(self, error: BaseException) -> tuple[int, str]:
        """The failure status and comment of this request's service for an exception of its handler.

        Passing trouble and defects of ours never get a permanent status: the peer shall keep its object
        (PS3.4 B.2.3, C.4.1.1.4, K.4.1.1.4; PS3.7 annex C.4, C.5).
        """
        kind = self.command.field
        composite = kind == cmd.C_STORE_RQ or kind in cmd.QUERIES
        if isinstance(error, BadContent):
            return (st.CANNOT_UNDERSTAND if composite else st.PROCESSING_FAILURE), error.code
        code = error.code if isinstance(error, Unavailable) else "internal error"
        if composite:
            return st.OUT_OF_RESOURCES, code
        if kind == cmd.C_ECHO_RQ:
            return st.PROCESSING_FAILURE, code
        return st.RESOURCE_LIMITATION, code


Handler = Callable[[Request], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Service:
    """A service of a feature: abstract syntaxes, its choice of transfer syntax, handlers by command field.

    `also_user`: where the requestor asks for the role, we act as SCU of these classes too (C-GET, PS3.7 D.3.3.4).
    `service_class`: SOP classes unknown to us are served if the requestor says they belong to it (PS3.7 D.3.3.6).
    `members`: SOP classes that commands may name in a context of a meta SOP class.
    `negotiate`: answer to the service class application information of extended negotiation (PS3.7 D.3.3.5).
    `offered`: whether the service is offered just now; else its contexts are refused as unknown ones.
    `begun`: called with the peer once there is an association in which it may use the service, and with that.
    `ended`: called with the peer once its association is over, and whether that was by release (PS3.8 7.2).
    """

    abstract_syntaxes: frozenset[str]
    choose: Choice
    handlers: Mapping[int, Handler]
    _: KW_ONLY
    also_user: bool = False
    service_class: str = ""
    members: frozenset[str] = frozenset()
    negotiate: Callable[[str, bytes], bytes | None] = lambda sop_class, information: None
    offered: Callable[[], bool] = lambda: True
    begun: Callable[[PeerAE, Operations], None] = lambda peer, association: None
    ended: Callable[[PeerAE, bool], None] = lambda peer, released: None
