"""Runs an established association, either side of it: one loop reads, handlers serve the peer, invocations await it.

The loop waits for others at three points only, where TCP then slows the peer down: a data set that its handler does
not read, a request beyond the negotiated window (1:1 unless asked), responses that nobody takes. So fragments,
C-CANCEL, release and abort are seen while handlers work.

The state machine (`wire.states`) decides what follows from each PDU and from each wish to end (Sta6 to Sta13).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping

from broker import telemetry
from broker.dicom.dimse import command as cmd
from broker.dicom.dimse import status as st
from broker.dicom.dimse.invocation import Invocation, Response
from broker.dicom.dimse.message import Data, MessageAssembly, MessageSender, PeerAE, PresentationContext
from broker.dicom.dimse.operations import Operations
from broker.dicom.dimse.request import Service
from broker.dicom.dimse.serving import RequestServer
from broker.dicom.dimse.stream import DataStream
from broker.dicom.wire import pdu
from broker.dicom.wire.connection import ConnectionLost, DeadlinePassed, IdlePassed, PduConnection
from broker.dicom.wire.limits import AssociationLimits
from broker.dicom.wire.states import EVENT_OF_PDU, EndReason, StateMachine, ULAction, ULEvent, ULState
from broker.errors import BrokerError, PeerFault, ProtocolViolation

RELEASE_TIMEOUT = 5.0  # seconds
PATIENCE = 5.0  # seconds that a peer has to close the connection after our A-ABORT


async def wait_for_close(connection: PduConnection, machine: StateMachine, patience: float) -> None:
    """Give the peer `patience` seconds, the ARTIM timer, to close the connection after our last PDU (Sta13)."""
    closed = await connection.part(patience)
    if machine.state is ULState.STA13:
        machine.on(ULEvent.TRANSPORT_CLOSED if closed else ULEvent.ARTIM_EXPIRED)  # AR-5, AA-2


class Association(Operations):
    """An established association. `run` must be running for anything to happen."""

    def __init__(
        self,
        connection: PduConnection,
        machine: StateMachine,
        peer: PeerAE,
        contexts: Mapping[int, PresentationContext],
        *,
        max_length: int,
        limits: AssociationLimits,
        services: Mapping[int, Service],
        window: tuple[int, int] = (1, 1),
        first_timeout: float | None = None,
    ) -> None:
        """`machine` enters Sta6 before `run`; `services` by context id.

        `window`: requests that may be open to the peer, and of the peer to us. `first_timeout`: seconds until the first
        request of a peer must be here, if it has less time for that than between two.
        """
        self.peer = peer
        self.contexts = contexts
        self.ended_by = ""  # EndReason or the code of a violation; empty while it lives
        self._connection = connection
        self._machine = machine
        self._limits = limits
        self._first_timeout = limits.idle_timeout if first_timeout is None else first_timeout
        self._assembly = MessageAssembly(contexts)
        self._receiver: DataStream | Invocation | None = None  # where data set fragments go
        self._sender = MessageSender(connection, machine, pdu.payload_per_pdu(max_length))
        self._server = RequestServer(self, peer, self._sender, services, window=window[1], max_object=limits.max_object)
        self._by_syntax = {(c.abstract_syntax, c.transfer_syntax): c for c in contexts.values() if c.uses}
        self._by_class = {c.abstract_syntax: c for c in contexts.values() if c.uses}
        self._slots = asyncio.Semaphore(window[0])
        self._invocations: dict[int, Invocation] = {}
        self._message_id = 0
        self._cancelling: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()  # the reader has stopped
        self._reader: asyncio.Task[None] | None = None
        self._departure: asyncio.Task[None] | None = None  # between our A-ABORT and the end of the connection

    @property
    def busy(self) -> bool:
        """A request of the peer is being served."""
        return self._server.busy

    # --- life --------------------------------------------------------------------------------------------

    def start(self, ended: Callable[[], None]) -> None:
        """Run in the background, and call `ended` afterwards."""
        self._reader = asyncio.get_running_loop().create_task(self.run())
        self._reader.add_done_callback(lambda _: ended())

    async def run(self) -> None:
        """Read until the association ends; never raises for what a peer does."""
        self._reader = asyncio.current_task()
        self._connection.closed.add_done_callback(
            lambda _: self._fail_invocations()
        )  # also while the loop waits for others
        try:
            self._server.established()
            await self._read()
        except ProtocolViolation as error:
            if not self._machine.over:
                self._machine.on(ULEvent.INVALID_PDU)
            self._violated(error)
        except ConnectionLost:
            self._end(ULEvent.TRANSPORT_CLOSED, EndReason.CLOSED)
        except DeadlinePassed:
            self._end(ULEvent.PEER_SILENT, EndReason.DEADLINE, pdu.abort(by_user=False))
        except asyncio.CancelledError:
            self._end(ULEvent.ABORT_REQUEST, EndReason.STOPPING, pdu.abort(by_user=True))
        finally:
            self._connection.last_word(b"")
            self._over.set()
            self._fail_invocations()
            # when we stop, the provider's grace is over already
            await self._server.close(0 if self.ended_by == EndReason.STOPPING else self._limits.pdu_timeout)
            self._server.ended(released=self.ended_by == EndReason.RELEASED)

    def finish(self) -> None:
        """The broker stops: end after the running requests."""
        self._server.finish(self._all_served)

    def abort(self) -> None:
        """End at once, also when the peer does not read (A-ABORT, PS3.8 7.3). `gone` waits for the peer to see it."""
        if self._end(ULEvent.ABORT_REQUEST, EndReason.ABORTED, pdu.abort(by_user=True)) and self._machine.requestor:
            end = wait_for_close(self._connection, self._machine, PATIENCE)
            self._departure = asyncio.get_running_loop().create_task(end)
        if self._departure is None:
            self._connection.close()
        self._stop_reading()

    async def gone(self) -> None:
        """Wait until the peer has closed the connection of an aborted association, or had its time to."""
        if self._departure is not None:
            await asyncio.wait({self._departure})

    async def release(self) -> None:
        """End in order (A-RELEASE, PS3.8 7.2); a peer that does not answer in time is simply closed."""
        if not self._machine.over and self._reader is not None:
            with contextlib.suppress(BrokerError, TimeoutError):
                async with asyncio.timeout(min(RELEASE_TIMEOUT, self._limits.response_timeout)):
                    if self._machine.allows(ULEvent.RELEASE_REQUEST):  # else a release is under way already
                        self._machine.on(ULEvent.RELEASE_REQUEST)  # AR-1
                        await self._connection.write(pdu.release_request())
                    await self._over.wait()
        waits = self._machine.allows(ULEvent.ARTIM_EXPIRED)
        self._end(ULEvent.ARTIM_EXPIRED if waits else ULEvent.TRANSPORT_CLOSED, EndReason.RELEASED)
        self._connection.close()
        self._stop_reading()

    def _end(self, event: ULEvent, reason: str, word: bytes = b"") -> bool:
        """End the association by an event, `word` is our last PDU; False if it is over already."""
        if self._machine.over:
            return False
        self._machine.on(event)
        self._say_last(reason, word)
        return True

    def _violated(self, error: ProtocolViolation) -> None:
        """Abort as the service provider (AA-8). The machine is in Sta13 already."""
        telemetry.logger().debug("dicom.violation", peer=self.peer.address, reason=error.code)
        self._say_last(error.code, pdu.complaint(error))

    def _say_last(self, reason: str, word: bytes) -> None:
        self.ended_by = self.ended_by or reason
        self._connection.last_word(word)

    def _all_served(self) -> None:
        """No request is being served any more, and none will be: answer a release that waits for that, or end."""
        if self._machine.over:
            return
        if self._machine.state is ULState.STA8:
            self._respond_to_release()
        self._stop_reading()

    def _respond_to_release(self) -> None:
        self._end(ULEvent.RELEASE_RESPONSE, EndReason.RELEASED, pdu.release_response())  # AR-4

    def _stop_reading(self) -> None:
        if self._reader is not None:
            self._reader.cancel()

    # --- reading -----------------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Take PDUs until the association is over."""
        limits, machine = self._limits, self._machine
        takes_more = not machine.over
        while takes_more:
            inside = self._assembly.inside
            try:
                idle = limits.idle_timeout if self._server.begun else min(self._first_timeout, limits.idle_timeout)
                kind, body = await self._connection.read_pdu(limits.pdu_timeout if inside else idle, limits.pdu_timeout)
            except IdlePassed:
                if not inside and (self._server.busy or self._invocations):
                    continue  # the peer waits for our answer; for its answers there are timers of their own
                raise
            if kind == pdu.P_DATA and machine.takes_data:
                for fragment in pdu.fragments(body):
                    await self._take(fragment)
                continue
            cut = kind == pdu.RELEASE_RQ and inside  # a message cannot end so
            await self._act(machine.on(ULEvent.INVALID_PDU if cut else EVENT_OF_PDU[kind]))
            takes_more = not machine.over

    async def _act(self, action: ULAction) -> None:
        """Take an action of the state machine upon a PDU that is not data."""
        match action:
            case ULAction.AR_2:
                self._fail_invocations()  # the peer answers no more, and a handler may wait for that
                if self._server.busy:
                    self._server.finish(self._all_served)
                else:
                    self._respond_to_release()
            case ULAction.AR_3:
                self._say_last(EndReason.RELEASED, b"")
            case ULAction.AR_8 if self._machine.requestor:  # Sta9: the requestor answers first
                self._machine.on(ULEvent.RELEASE_RESPONSE)  # AR-9
                await self._connection.write(pdu.release_response())
            case ULAction.AR_8:  # Sta10: the acceptor waits for the answer to its own request
                pass
            case ULAction.AR_10:
                self._respond_to_release()
            case ULAction.AA_3:
                self._say_last(EndReason.ABORTED_BY_PEER, b"")
                self._connection.kill()
            case _:  # AA-8
                self._violated(ProtocolViolation("PDU out of place", code="unexpected-pdu"))

    async def _take(self, fragment: pdu.Fragment) -> None:
        complete = self._assembly.take(fragment)
        if complete is None:
            if not fragment.is_command and self._receiver is not None:
                await self._receiver.feed(fragment.data, fragment.is_last)
            return
        command, context = complete
        if command.is_response:
            self._receiver = await self._responded(command)
        elif command.field == cmd.C_CANCEL_RQ:
            self._receiver = None
            self._server.cancel(command.responded_to)
        else:
            self._receiver = await self._server.begin(command, context)

    # --- requests of ours --------------------------------------------------------------------------------

    def context(
        self, abstract_syntax: str, transfer_syntax: str = "", *, as_scp: bool = False
    ) -> PresentationContext | None:
        """See Operations."""
        if as_scp:
            served = (c for c in self.contexts.values() if c.serves and c.abstract_syntax == abstract_syntax)
            return next((c for c in served if transfer_syntax in ("", c.transfer_syntax)), None)
        if transfer_syntax:
            return self._by_syntax.get((abstract_syntax, transfer_syntax))
        return self._by_class.get(abstract_syntax)

    async def invoke(
        self, context: PresentationContext, values: Mapping[int, cmd.Value], data: Data = None
    ) -> Invocation:
        """See Operations."""
        await self._slots.acquire()
        if self._machine.state is not ULState.STA6:  # a peer that has asked for release answers no more
            self._slots.release()
            raise self._reason()
        message_id = self._message_id = self._message_id % 0xFFFF + 1
        several = values[cmd.COMMAND_FIELD] in cmd.QUERIES
        invocation = self._invocations[message_id] = Invocation(message_id, context.id, several=several)
        kind = cmd.NO_DATA if data is None else 1
        command = cmd.encode({**values, cmd.MESSAGE_ID: message_id, cmd.DATA_SET_TYPE: kind})
        try:
            await self._sender.message(context.id, command, data)
        except BaseException:
            self.abort()  # half a message cannot be taken back
            raise
        return invocation

    async def response(self, invocation: Invocation) -> Response:
        """See Operations."""
        try:
            return await invocation.next(self._limits.response_timeout)
        except DeadlinePassed:
            self.abort()
            raise

    def abandon(self, invocation: Invocation) -> None:
        """See Operations."""
        invocation.abandon()
        if not self._machine.over:
            task = asyncio.get_running_loop().create_task(self._cancel(invocation))
            self._cancelling.add(task)
            task.add_done_callback(self._cancelling.discard)

    async def _cancel(self, invocation: Invocation) -> None:
        values: dict[int, cmd.Value] = {
            cmd.COMMAND_FIELD: cmd.C_CANCEL_RQ,
            cmd.MESSAGE_ID_RESPONDED: invocation.message_id,
            cmd.DATA_SET_TYPE: cmd.NO_DATA,
        }
        try:
            await self._sender.message(invocation.context_id, cmd.encode(values))
            await invocation.ended(self._limits.response_timeout)
        except DeadlinePassed:
            self.abort()  # its place in the window would never be free again
        except BrokerError:
            return

    async def _responded(self, command: cmd.Command) -> Invocation:
        invocation = self._invocations.get(command.responded_to)
        if invocation is None:
            raise ProtocolViolation("a response to no request of ours", code="wrong-message-id")
        if st.is_pending(command.status) and not invocation.several:
            raise ProtocolViolation("a pending response of a service that has none", code="unexpected-pending")
        if not st.is_pending(command.status):
            del self._invocations[command.responded_to]
            self._slots.release()
        await invocation.begin(command)
        return invocation

    def _fail_invocations(self) -> None:
        waiting, self._invocations = self._invocations, {}
        for invocation in waiting.values():
            invocation.fail(self._reason())
            self._slots.release()
        if isinstance(self._receiver, Invocation):  # ended inside the data set of its last response
            self._receiver.fail(self._reason())

    def _reason(self) -> PeerFault:
        """The error that a caller gets once the association has ended."""
        if self.ended_by in ("", EndReason.CLOSED, EndReason.RELEASED, EndReason.STOPPING):
            return ConnectionLost("the association has ended")
        if self.ended_by == EndReason.DEADLINE:
            return DeadlinePassed("the peer was silent")
        if self.ended_by in (EndReason.ABORTED, EndReason.ABORTED_BY_PEER):
            return PeerFault("association aborted", code="aborted")
        return PeerFault("the peer broke the protocol", code=self.ended_by)
