"""Asks a peer for DIMSE services: C-STORE, C-FIND, C-GET, C-MOVE, C-ECHO and the six N-services (PS3.7 9.1, 10.1).

Statuses are returned, not raised. Data sets go and come encoded in the transfer syntax of their context.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence

from broker.dicom import uids
from broker.dicom.dimse import command as cmd
from broker.dicom.dimse import status as st
from broker.dicom.dimse.invocation import Invocation, Response
from broker.dicom.dimse.message import Data, PresentationContext
from broker.errors import PeerFault


class Operations(ABC):
    """The requests that an association can send. All raise PeerFault when the association ends or time is up."""

    @abstractmethod
    def context(
        self, abstract_syntax: str, transfer_syntax: str = "", *, as_scp: bool = False
    ) -> PresentationContext | None:
        """The accepted context in which we are SCU (or SCP), in that transfer syntax if one is named."""

    @abstractmethod
    async def invoke(
        self, context: PresentationContext, values: Mapping[int, cmd.Value], data: Data = None
    ) -> Invocation:
        """Send a request and return as soon as its last byte is written."""

    @abstractmethod
    async def response(self, invocation: Invocation) -> Response:
        """The next response; the timer starts now. When it passes, the association is aborted."""

    @abstractmethod
    def abandon(self, invocation: Invocation) -> None:
        """Cancel a request (C-CANCEL, PS3.7 9.3.2.3) and throw away what still comes."""

    # --- composite services ------------------------------------------------------------------------------

    async def echo(self) -> int:
        """C-ECHO; the status."""
        values: dict[int, cmd.Value] = {cmd.COMMAND_FIELD: cmd.C_ECHO_RQ, cmd.AFFECTED_SOP_CLASS: uids.VERIFICATION}
        return (await self._single(self._required(uids.VERIFICATION), values)).status

    async def store(
        self,
        context: PresentationContext,
        sop_instance: str,
        data: Data,
        *,
        priority: int = 0,
        originator: tuple[str, int] = ("", 0),
    ) -> Response:
        """C-STORE of a data set that is already encoded; `originator` of a C-MOVE: AE title, message ID."""
        values: dict[int, cmd.Value] = {
            cmd.AFFECTED_SOP_CLASS: context.abstract_syntax,
            cmd.COMMAND_FIELD: cmd.C_STORE_RQ,
            cmd.AFFECTED_SOP_INSTANCE: sop_instance,
            cmd.PRIORITY: priority,
        }
        if originator[0]:
            values[cmd.MOVE_ORIGINATOR_AE], values[cmd.MOVE_ORIGINATOR_MESSAGE_ID] = originator
        return await self._single(context, values, data)

    def find(self, abstract_syntax: str, identifier: bytes, *, priority: int = 0) -> AsyncIterator[Response]:
        """C-FIND: pending responses with their identifiers, then the final one. Leaving early cancels."""
        return self._query(cmd.C_FIND_RQ, abstract_syntax, identifier, {cmd.PRIORITY: priority})

    def move(
        self, abstract_syntax: str, identifier: bytes, destination: str, *, priority: int = 0
    ) -> AsyncIterator[Response]:
        """C-MOVE to the AE title `destination`: pending responses with counts, then the final one."""
        more: dict[int, cmd.Value] = {cmd.PRIORITY: priority, cmd.MOVE_DESTINATION: destination}
        return self._query(cmd.C_MOVE_RQ, abstract_syntax, identifier, more)

    def get(self, abstract_syntax: str, identifier: bytes, *, priority: int = 0) -> AsyncIterator[Response]:
        """C-GET: objects arrive at the storage service given to `associate`; these are the responses with counts."""
        return self._query(cmd.C_GET_RQ, abstract_syntax, identifier, {cmd.PRIORITY: priority})

    # --- normalized services -----------------------------------------------------------------------------

    async def event_report(
        self,
        sop_class: str,
        sop_instance: str,
        event_type: int,
        data: Data = None,
        *,
        context: PresentationContext | None = None,
    ) -> Response:
        """N-EVENT-REPORT, of an SCP to its SCU."""
        values: dict[int, cmd.Value] = {
            cmd.AFFECTED_SOP_CLASS: sop_class,
            cmd.AFFECTED_SOP_INSTANCE: sop_instance,
            cmd.COMMAND_FIELD: cmd.N_EVENT_REPORT_RQ,
            cmd.EVENT_TYPE: event_type,
        }
        return await self._single(context or self._required(sop_class, as_scp=True), values, data)

    async def n_get(
        self,
        sop_class: str,
        sop_instance: str,
        attributes: Sequence[int] = (),
        *,
        context: PresentationContext | None = None,
    ) -> Response:
        """N-GET of `attributes` (tags), all of them if none is named."""
        more: dict[int, cmd.Value] = {cmd.ATTRIBUTES: tuple(attributes)} if attributes else {}
        return await self._normalized(cmd.N_GET_RQ, sop_class, sop_instance, more, None, context)

    async def n_set(
        self, sop_class: str, sop_instance: str, data: Data, *, context: PresentationContext | None = None
    ) -> Response:
        """N-SET."""
        return await self._normalized(cmd.N_SET_RQ, sop_class, sop_instance, {}, data, context)

    async def n_action(
        self,
        sop_class: str,
        sop_instance: str,
        action_type: int,
        data: Data = None,
        *,
        context: PresentationContext | None = None,
    ) -> Response:
        """N-ACTION."""
        more: dict[int, cmd.Value] = {cmd.ACTION_TYPE: action_type}
        return await self._normalized(cmd.N_ACTION_RQ, sop_class, sop_instance, more, data, context)

    async def n_create(
        self, sop_class: str, sop_instance: str = "", data: Data = None, *, context: PresentationContext | None = None
    ) -> Response:
        """N-CREATE; without a SOP Instance UID the peer makes one and tells it in the response."""
        values: dict[int, cmd.Value] = {cmd.AFFECTED_SOP_CLASS: sop_class, cmd.COMMAND_FIELD: cmd.N_CREATE_RQ}
        if sop_instance:
            values[cmd.AFFECTED_SOP_INSTANCE] = sop_instance
        return await self._single(context or self._required(sop_class), values, data)

    async def n_delete(
        self, sop_class: str, sop_instance: str, *, context: PresentationContext | None = None
    ) -> Response:
        """N-DELETE."""
        return await self._normalized(cmd.N_DELETE_RQ, sop_class, sop_instance, {}, None, context)

    # --- how -----------------------------------------------------------------------------------------------

    def _required(self, abstract_syntax: str, *, as_scp: bool = False) -> PresentationContext:
        context = self.context(abstract_syntax, as_scp=as_scp)
        if context is None:
            raise PeerFault("the peer does not serve this SOP class", code="no-context")
        return context

    async def _single(
        self, context: PresentationContext, values: Mapping[int, cmd.Value], data: Data = None
    ) -> Response:
        return await self.response(await self.invoke(context, values, data))

    async def _normalized(
        self,
        field: int,
        sop_class: str,
        sop_instance: str,
        more: Mapping[int, cmd.Value],
        data: Data,
        context: PresentationContext | None,
    ) -> Response:
        values: dict[int, cmd.Value] = {
            cmd.REQUESTED_SOP_CLASS: sop_class,
            cmd.REQUESTED_SOP_INSTANCE: sop_instance,
            cmd.COMMAND_FIELD: field,
        }
        return await self._single(context or self._required(sop_class), {**values, **more}, data)

    async def _query(
        self, field: int, abstract_syntax: str, identifier: bytes, more: Mapping[int, cmd.Value]
    ) -> AsyncIterator[Response]:
        values: dict[int, cmd.Value] = {cmd.AFFECTED_SOP_CLASS: abstract_syntax, cmd.COMMAND_FIELD: field, **more}
        invocation = await self.invoke(self._required(abstract_syntax), values, identifier)
        try:
            while True:
                response = await self.response(invocation)
                yield response
                if not st.is_pending(response.status):
                    return
        finally:
            if not invocation.finished:
                self.abandon(invocation)
