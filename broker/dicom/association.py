"""What both sides of an established association share: contexts, message assembly, sending messages (PS3.8 annex E)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from broker.dicom import command as cmd
from broker.dicom import pdu
from broker.dicom.wire import Wire
from broker.errors import ProtocolViolation


@dataclass(frozen=True, slots=True)
class Context:
    """An accepted presentation context."""

    id: int
    abstract_syntax: str
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, as it says itself, and the address it comes from."""

    calling_ae: str
    called_ae: str
    address: str


@dataclass(slots=True)
class MessageAssembly:
    """Collects command fragments; tells the association what each fragment means."""

    contexts: Mapping[int, Context]
    _command: bytearray = field(default_factory=bytearray)
    _command_context: int = 0
    data_context: int = 0  # context id of the data set that is due, 0 for none

    def take(self, fragment: pdu.Fragment) -> tuple[cmd.Command, Context] | None:
        """A complete command, or None for a fragment that is not the last of a command or belongs to a data set.

        Raises ProtocolViolation for fragments out of order, in unknown contexts, or a command that is too long.
        """
        if fragment.context_id not in self.contexts:
            raise ProtocolViolation("fragment in a context that was not accepted", code="bad-context")
        if not fragment.is_command:
            if fragment.context_id != self.data_context or self._command:
                raise ProtocolViolation("data set fragment out of place", code="unexpected-fragment")
            if fragment.is_last:
                self.data_context = 0
            return None
        if self.data_context:
            raise ProtocolViolation("a command before the end of a data set", code="unexpected-fragment")
        if self._command and fragment.context_id != self._command_context:
            raise ProtocolViolation("command fragments of two contexts are mixed", code="unexpected-fragment")
        self._command_context = fragment.context_id
        self._command += fragment.data
        if len(self._command) > cmd.MAX_COMMAND:
            raise ProtocolViolation("command set too long", code="command-too-long")
        if not fragment.is_last:
            return None
        command, self._command = cmd.decode(bytes(self._command)), bytearray()
        if command.has_data:
            self.data_context = fragment.context_id
        return command, self.contexts[fragment.context_id]


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends messages over a wire in PDUs of the size that the peer allows."""

    wire: Wire
    payload: int  # bytes of a message per PDU

    async def message(self, context_id: int, command: bytes, data: bytes | None = None) -> None:
        """Send a command set and, if given, a data set."""
        if data is not None and len(command) <= self.payload and len(data) <= self.payload:
            await self.wire.write(  # one write for the usual small answer
                pdu.data_header(context_id, len(command), command=True, last=True) + command
                + pdu.data_header(context_id, len(data), command=False, last=True) + data
            )  # fmt: skip
            return
        await self._send(context_id, memoryview(command), is_command=True, last=True)
        if data is not None:
            await self.data(context_id, data, last=True)

    async def data(self, context_id: int, data: bytes, *, last: bool) -> None:
        """Send a piece of a data set; `last` ends it."""
        await self._send(context_id, memoryview(data), is_command=False, last=last)

    async def _send(self, context_id: int, data: memoryview, *, is_command: bool, last: bool) -> None:
        position, size = 0, len(data)
        while True:
            piece = data[position : position + self.payload]
            position += len(piece)
            header = pdu.data_header(context_id, len(piece), command=is_command, last=last and position >= size)
            await self.wire.write(header, piece)
            if position >= size:
                return
