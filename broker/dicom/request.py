"""What a feature registers with the provider, and what its handler is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from broker import telemetry
from broker.dicom import command as cmd
from broker.dicom import status as st
from broker.dicom.association import Context, Peer, Sender
from broker.dicom.command import Command
from broker.dicom.stream import DataStream
from broker.dicom.uids import Choice
from broker.errors import BadContent, Unavailable


@dataclass(slots=True)
class Request:
    """One DIMSE request. The handler reads `data`, and responds: pending answers first, then one final answer."""

    command: Command
    context: Context
    peer: Peer
    data: DataStream
    _sender: Sender
    cancelled: bool = False  # a C-CANCEL for this request has come
    answered: bool = field(default=False, init=False)  # the final answer has left

    async def respond(self, status: int, data: bytes | None = None, *, comment: str = "", offending: int = 0) -> None:
        """Send a response; waits while the peer reads slowly.

        `comment` (64 characters at most, no patient data) and `offending` (a tag) go with failures
        (PS3.7 annex C). Raises ConnectionLost or DeadlinePassed.
        """
        values: dict[int, int | str] = {
            cmd.COMMAND_FIELD: self.command.field | cmd.RESPONSE,
            cmd.MESSAGE_ID_RESPONDED: self.command.message_id,
            cmd.DATA_SET_TYPE: cmd.NO_DATA if data is None else 1,
            cmd.STATUS: status,
        }
        if self.command.sop_class:
            values[cmd.AFFECTED_SOP_CLASS] = self.command.sop_class
        if self.command.sop_instance and len(self.command.sop_instance) <= 64:
            values[cmd.AFFECTED_SOP_INSTANCE] = self.command.sop_instance
        if comment:
            values[cmd.ERROR_COMMENT] = comment[:64]
        if offending:
            values[cmd.OFFENDING_ELEMENT] = offending
        if not st.is_pending(status):
            self.answered = True
            name = cmd.NAMES.get(self.command.field, "unknown")
            telemetry.DIMSE_ANSWERS.labels(name, f"{status:04X}").inc()
        await self._sender.message(self.context.id, cmd.encode(values), data)

    def failure(self, error: BaseException) -> tuple[int, str]:
        """The failure status and comment of this request's service for an exception of its handler.

        Passing trouble and defects of ours never get a permanent status: the peer shall keep its object.
        """
        by_store = self.command.field in (cmd.C_STORE_RQ, cmd.C_FIND_RQ, cmd.C_MOVE_RQ, cmd.C_GET_RQ)
        if isinstance(error, BadContent):
            return (st.CANNOT_UNDERSTAND if by_store else st.PROCESSING_FAILURE), error.code
        code = error.code if isinstance(error, Unavailable) else "internal error"
        return (st.OUT_OF_RESOURCES if by_store else st.PROCESSING_FAILURE), code


Handler = Callable[[Request], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Service:
    """What a feature serves: abstract syntaxes, its choice of transfer syntax, handlers by command field."""

    abstract_syntaxes: frozenset[str]
    choose: Choice
    handlers: Mapping[int, Handler]
