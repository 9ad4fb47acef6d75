"""Assembles messages from fragments and sends messages in PDUs, each in its presentation context (PS3.8 annex E)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from broker.dicom.dimse import command as cmd
from broker.dicom.wire import pdu
from broker.dicom.wire.connection import ConnectionLost, PduConnection
from broker.dicom.wire.states import StateMachine, ULEvent
from broker.errors import ProtocolViolation


@dataclass(frozen=True, slots=True)
class PresentationContext:
    """An accepted presentation context, and the roles we have in it (PS3.7 D.3.3.4)."""

    id: int
    abstract_syntax: str
    transfer_syntax: str
    serves: bool = True  # we are SCP: the peer may send requests
    uses: bool = True  # we are SCU


@dataclass(frozen=True, slots=True)
class PeerAE:
    """The application entity at the other end: its AE title as it says itself (`calling_ae`), ours, its address.

    `tls_subject`: of its verified certificate (RFC 4514), empty without one.
    """

    calling_ae: str
    called_ae: str
    address: str
    extended: Mapping[str, bytes] = field(default_factory=dict)  # SOP class extended negotiation, by SOP class
    tls_subject: str = ""


@dataclass(slots=True)
class MessageAssembly:
    """Collects command fragments; tells the association what each fragment means."""

    contexts: Mapping[int, PresentationContext]
    _command: bytearray = field(default_factory=bytearray)
    _command_context: int = 0
    data_context: int = 0  # context id of the data set that is due, 0 for none

    @property
    def inside(self) -> bool:
        """A message has begun and not ended."""
        return bool(self.data_context or self._command)

    def take(self, fragment: pdu.Fragment) -> tuple[cmd.Command, PresentationContext] | None:
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


Data = bytes | AsyncIterator[bytes] | None


class MessageSender:
    """Sends messages over a connection, one after the other, in PDUs of the size that the peer allows."""

    def __init__(self, connection: PduConnection, machine: StateMachine, payload: int) -> None:
        """`machine` knows whether data may be sent; `payload`: bytes of a message per PDU."""
        self._connection = connection
        self._machine = machine
        self._payload = payload
        self._turn = asyncio.Lock()  # messages must not be mixed (PS3.8 E.1)

    async def message(self, context_id: int, command: bytes, data: Data = None) -> None:
        """Send a command set and, if given, a data set, which may come in pieces while it is sent.

        Raises ConnectionLost, also in a state in which no data may be sent, or DeadlinePassed.
        """
        async with self._turn:
            self._begin()
            parts = self._cut(context_id, command, is_command=True, last=True)
            if isinstance(data, bytes):  # one write for the usual small message
                parts += self._cut(context_id, data, is_command=False, last=True)
            await self._connection.write(*parts)
            if data is None or isinstance(data, bytes):
                return
            ahead: bytes | None = None
            async for piece in data:
                if ahead is not None:
                    await self._connection.write(*self._cut(context_id, ahead, is_command=False, last=False))
                ahead = piece
            await self._connection.write(*self._cut(context_id, ahead or b"", is_command=False, last=True))

    async def messages(self, context_id: int, command: bytes, data: Sequence[bytes]) -> None:
        """Send the same command set with each of several small data sets, in one write. Raises as `message` does."""
        parts: list[bytes | memoryview] = []
        head = self._cut(context_id, command, is_command=True, last=True)
        for data_set in data:
            parts += head
            parts += self._cut(context_id, data_set, is_command=False, last=True)
        async with self._turn:
            self._begin()
            await self._connection.write(b"".join(parts))

    def _begin(self) -> None:
        """Ask the state machine whether data may be sent (DT-1, AR-7). Raises ConnectionLost."""
        if not self._machine.allows(ULEvent.DATA_REQUEST):
            raise ConnectionLost("the association takes no more data")
        self._machine.on(ULEvent.DATA_REQUEST)

    def _cut(self, context_id: int, data: bytes, *, is_command: bool, last: bool) -> list[bytes | memoryview]:
        """P-DATA-TF PDUs; `last` ends the command or data set."""
        view, payload, size = memoryview(data), self._payload, len(data)
        parts: list[bytes | memoryview] = []
        for position in range(0, size or 1, payload):
            piece = view[position : position + payload]
            ends = last and position + payload >= size
            parts += (pdu.data_header(context_id, len(piece), command=is_command, last=ends), piece)
        return parts
