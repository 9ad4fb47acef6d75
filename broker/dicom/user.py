"""The calling side (SCU): one association that sends requests, one at a time.

Passing trouble of the peer is a PeerFault; statuses are returned, not raised. The timer for a response starts after
the last byte of the request was written.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from broker import telemetry
from broker.dicom import command as cmd
from broker.dicom import negotiation as neg
from broker.dicom import pdu, uids
from broker.dicom import status as st
from broker.dicom.association import Context, MessageAssembly, Sender
from broker.dicom.wire import ConnectionLost, Wire
from broker.errors import BrokerError, PeerFault, ProtocolViolation

RELEASE_TIMEOUT = 5.0  # seconds
MAX_RECEIVE = 262_144
MAX_ANSWER = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Remote:
    """Where an association goes and under which names. Times in seconds."""

    host: str
    port: int
    called_ae: str
    calling_ae: str
    connect_timeout: float = 10
    response_timeout: float = 60


@dataclass(frozen=True, slots=True)
class Response:
    """A DIMSE response and its data set, if any."""

    command: cmd.Command
    data: bytes

    @property
    def status(self) -> int:
        """Status (0000,0900)."""
        return self.command.status


class Association:
    """An association we asked for. Use `async with await Association.open(...)`: the end is a release, or an abort."""

    def __init__(self, wire: Wire, remote: Remote, contexts: dict[int, Context], max_length: int) -> None:
        self._wire = wire
        self._remote = remote
        self._sender = Sender(wire, pdu.payload_per_pdu(max_length))
        self._assembly = MessageAssembly(contexts)
        self._by_syntax = {(c.abstract_syntax, c.transfer_syntax): c for c in contexts.values()}
        self._by_class = {c.abstract_syntax: c for c in contexts.values()}
        self._message_id = 0
        telemetry.ASSOCIATIONS.labels("user").inc()

    @classmethod
    async def open(cls, remote: Remote, contexts: Sequence[tuple[str, Sequence[str]]]) -> Association:
        """Connect and negotiate `contexts` (abstract syntax, transfer syntaxes), 128 at most.

        Raises PeerFault: cannot connect, rejected, no answer. What the peer accepted, `context` tells.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(remote.connect_timeout):
                _, wire = await loop.create_connection(
                    lambda: Wire(max_data=MAX_RECEIVE, send_timeout=remote.response_timeout),
                    remote.host, remote.port,
                )  # fmt: skip
        except (OSError, TimeoutError, socket.gaierror):
            raise PeerFault("cannot connect", code="connect-failed") from None
        try:
            return await cls._negotiate(wire, remote, contexts)
        except BaseException as error:
            wire.kill()
            if isinstance(error, ProtocolViolation):
                raise PeerFault("the peer broke the protocol", code=error.code) from None
            raise

    @classmethod
    async def _negotiate(cls, wire: Wire, remote: Remote, contexts: Sequence[tuple[str, Sequence[str]]]) -> Association:
        proposed = tuple(
            neg.ProposedContext(2 * i + 1, abstract, tuple(syntaxes)) for i, (abstract, syntaxes) in enumerate(contexts)
        )
        user = neg.UserInformation(MAX_RECEIVE, uids.IMPLEMENTATION_CLASS, uids.IMPLEMENTATION_VERSION)
        request = neg.AssociationRequest(remote.called_ae, remote.calling_ae, proposed, user)
        await wire.write(neg.encode_request(request))
        kind, body = await wire.read_pdu(remote.response_timeout, remote.response_timeout)
        if kind == pdu.ASSOCIATE_RJ and len(body) == 4:
            raise PeerFault("association rejected", code=f"rejected-{body[1]}-{body[2]}-{body[3]}")
        if kind != pdu.ASSOCIATE_AC:
            raise PeerFault("association aborted", code="aborted")
        accept = neg.decode_accept(bytes(body))
        abstract = {context.id: context.abstract_syntax for context in proposed}
        accepted = {
            c.id: Context(c.id, abstract[c.id], c.transfer_syntax)
            for c in accept.contexts
            if c.result == neg.ACCEPTED and c.id in abstract
        }
        return cls(wire, remote, accepted, accept.user.max_length)

    def context(self, abstract_syntax: str, transfer_syntax: str = "") -> Context | None:
        """The accepted context for an abstract syntax, in that transfer syntax if one is named."""
        if transfer_syntax:
            return self._by_syntax.get((abstract_syntax, transfer_syntax))
        return self._by_class.get(abstract_syntax)

    # --- services ----------------------------------------------------------------------------------------

    async def echo(self) -> int:
        """C-ECHO; the status."""
        context = self._wanted(uids.VERIFICATION)
        await self._sender.message(context.id, self._command(cmd.C_ECHO_RQ, uids.VERIFICATION, data=False))
        return (await self._response()).status

    async def store(
        self, context: Context, sop_instance: str, data: AsyncIterator[bytes], *, priority: int = 0
    ) -> Response:
        """C-STORE of a data set that `data` yields in pieces, already encoded in the context's transfer syntax."""
        command = self._command(
            cmd.C_STORE_RQ, context.abstract_syntax, data=True,
            more={cmd.AFFECTED_SOP_INSTANCE: sop_instance, cmd.PRIORITY: priority},
        )  # fmt: skip
        await self._sender.message(context.id, command)
        ahead: bytes | None = None
        async for piece in data:
            if ahead is not None:
                await self._sender.data(context.id, ahead, last=False)
            ahead = piece
        await self._sender.data(context.id, ahead or b"", last=True)
        return await self._response()

    async def find(self, abstract_syntax: str, identifier: bytes) -> AsyncIterator[Response]:
        """C-FIND: pending responses with their identifiers, then the final response."""
        context = self._wanted(abstract_syntax)
        command = self._command(cmd.C_FIND_RQ, abstract_syntax, data=True, more={cmd.PRIORITY: 0})
        await self._sender.message(context.id, command, identifier)
        while True:
            response = await self._response()
            yield response
            if not st.is_pending(response.status):
                return

    # --- end ---------------------------------------------------------------------------------------------

    async def release(self) -> None:
        """End in order; a peer that does not answer in time is simply closed."""
        try:
            with contextlib.suppress(BrokerError, TimeoutError):
                async with asyncio.timeout(min(RELEASE_TIMEOUT, self._remote.response_timeout)):
                    await self._wire.write(pdu.release_request())
                    await self._released()
        finally:
            self._close()

    async def _released(self) -> None:
        """Wait for the answer to our release request; both sides may have asked at once (PS3.8 9.2.3, AR-8)."""
        kind = 0
        while kind not in (pdu.RELEASE_RP, pdu.ABORT):
            kind, _ = await self._wire.read_pdu(RELEASE_TIMEOUT, RELEASE_TIMEOUT)
            if kind == pdu.RELEASE_RQ:
                await self._wire.write(pdu.release_response())

    def abort(self) -> None:
        """End at once, also when the peer does not read."""
        self._wire.hang_up(pdu.abort(by_user=True))
        self._close()

    def _close(self) -> None:
        self._wire.close()
        telemetry.ASSOCIATIONS.labels("user").dec()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.release()
        else:
            self.abort()

    # --- messages ----------------------------------------------------------------------------------------

    def _wanted(self, abstract_syntax: str) -> Context:
        context = self.context(abstract_syntax)
        if context is None:
            raise PeerFault("the peer does not serve this SOP class", code="no-context")
        return context

    def _command(self, field: int, sop_class: str, *, data: bool, more: dict[int, int | str] | None = None) -> bytes:
        self._message_id = self._message_id % 0xFFFF + 1
        values: dict[int, int | str] = {
            cmd.AFFECTED_SOP_CLASS: sop_class,
            cmd.COMMAND_FIELD: field,
            cmd.MESSAGE_ID: self._message_id,
            cmd.DATA_SET_TYPE: 1 if data else cmd.NO_DATA,
        }
        return cmd.encode(values | (more or {}))

    async def _response(self) -> Response:
        """The next response to the running request. Raises PeerFault."""
        command: cmd.Command | None = None
        data = bytearray()
        try:
            while True:
                kind, body = await self._wire.read_pdu(self._remote.response_timeout, self._remote.response_timeout)
                if kind == pdu.ABORT:
                    raise PeerFault("association aborted by the peer", code="aborted")
                if kind != pdu.P_DATA:
                    raise ConnectionLost("the peer ends the association")
                for fragment in pdu.fragments(body):
                    complete = self._assembly.take(fragment)
                    if complete is not None:
                        command = self._expected(complete[0])
                    elif not fragment.is_command:
                        data += fragment.data
                        if len(data) > MAX_ANSWER:
                            raise ProtocolViolation("answer too long", code="too-large")
                    if command is not None and not self._assembly.data_context:
                        return Response(command, bytes(data))
        except ProtocolViolation as error:
            raise PeerFault("the peer broke the protocol", code=error.code) from None

    def _expected(self, command: cmd.Command) -> cmd.Command:
        if not command.is_response or command.responded_to != self._message_id:
            raise ProtocolViolation("a response to another message", code="wrong-message-id")
        return command
