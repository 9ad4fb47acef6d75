"""Holds the responses to a request of ours until its caller takes them (PS3.7 9, 10)."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from broker.dicom.dimse import command as cmd
from broker.dicom.dimse import status as st
from broker.dicom.dimse.stream import Notifier
from broker.dicom.wire.connection import DeadlinePassed
from broker.errors import ProtocolViolation

MAX_ANSWER = 16 * 1024 * 1024  # bytes of one response's data set
WAITING = 64  # responses; beyond, nothing is read and TCP makes the peer wait


@dataclass(frozen=True, slots=True)
class Response:
    """A DIMSE response and its data set, if any."""

    command: cmd.Command
    data: bytes

    @property
    def status(self) -> int:
        """Status (0000,0900)."""
        return self.command.status

    @property
    def error_id(self) -> int:
        """Error ID (0000,0903), 0 if absent."""
        return self.command.number(cmd.ERROR_ID)


class Invocation:
    """Responses of one request: the association puts them in, the caller takes them out."""

    def __init__(self, message_id: int, context_id: int, *, several: bool) -> None:
        """`several`: pending responses may come before the final one."""
        self.message_id = message_id
        self.several = several
        self.context_id = context_id
        self.finished = False  # the final response has come, or none will
        self.abandoned = False  # nobody waits any more
        self._responses: deque[Response] = deque()
        self._command: cmd.Command | None = None
        self._data = bytearray()
        self._error: Exception | None = None
        self._change = Notifier()

    # --- for the association -----------------------------------------------------------------------------

    async def begin(self, command: cmd.Command) -> None:
        """Take a response; its data set, if it has one, is fed next."""
        if command.has_data:
            self._command = command
            self._data.clear()
        else:
            await self._put(Response(command, b""))

    async def feed(self, data: memoryview, last: bool) -> None:
        """Take a fragment of the response's data set. Raises ProtocolViolation for one that is too long."""
        if len(self._data) + len(data) > MAX_ANSWER:
            raise ProtocolViolation("answer too long", code="too-large")
        self._data += data
        if last and self._command is not None:
            await self._put(Response(self._command, bytes(self._data)))
            self._data.clear()

    def fail(self, error: Exception) -> None:
        """End the waiting with an error: no further response will come."""
        if not self.finished:
            self.finished, self._error = True, error
            self._change.notify()

    async def _put(self, response: Response) -> None:
        self.finished = not st.is_pending(response.status)
        if not self.abandoned:
            self._responses.append(response)
        self._change.notify()
        while len(self._responses) > WAITING and not self.abandoned:
            await self._change.wait()

    # --- for the caller ----------------------------------------------------------------------------------

    async def next(self, timeout: float) -> Response:
        """The next response, at most `timeout` s from now. Raises DeadlinePassed or what ended the association."""
        try:
            async with asyncio.timeout(timeout):
                while not self._responses:
                    if self._error is not None:
                        raise self._error
                    await self._change.wait()
        except TimeoutError:
            raise DeadlinePassed("no response in time") from None
        self._change.notify()
        return self._responses.popleft()

    def abandon(self) -> None:
        """Throw away what still comes: the caller does not wait any more."""
        self.abandoned = True
        self._responses.clear()
        self._change.notify()

    async def ended(self, timeout: float) -> None:
        """Wait for the final response of an abandoned request. Raises DeadlinePassed `timeout` s after the last one."""
        while not self.finished:
            try:
                async with asyncio.timeout(timeout):
                    await self._change.wait()
            except TimeoutError:
                raise DeadlinePassed("no response in time") from None
