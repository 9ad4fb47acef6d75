"""Serves the requests of a peer: handlers as tasks, at most as many at once as negotiated."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping

from broker import correlation, telemetry
from broker.dicom.dimse import command as cmd
from broker.dicom.dimse import status as st
from broker.dicom.dimse.message import MessageSender, PeerAE, PresentationContext
from broker.dicom.dimse.operations import Operations
from broker.dicom.dimse.request import Request, Service
from broker.dicom.dimse.stream import DataStream
from broker.dicom.wire.connection import ConnectionLost, DeadlinePassed
from broker.errors import ProtocolViolation
from broker.traces import spans
from broker.traces.spans import SpanKey, TracedStep

# requests about one object, whose log lines and jobs are named after it
_OF_OBJECT = frozenset({cmd.C_STORE_RQ, cmd.N_CREATE_RQ, cmd.N_SET_RQ})
_MEASURED = {
    cmd.C_STORE_RQ: TracedStep.STORE,
    cmd.C_FIND_RQ: TracedStep.FIND,
    cmd.N_CREATE_RQ: TracedStep.MPPS_CREATE,
    cmd.N_SET_RQ: TracedStep.MPPS_SET,
}
# before the handler of a service is asked, for requests of every kind
ANSWERED = (
    st.AnsweredStatus(st.UNRECOGNIZED_OPERATION, "The service of the presentation context has no such request."),
    st.AnsweredStatus(st.SOP_CLASS_NOT_SUPPORTED, "The SOP class of the request is not that of its context."),
)


class RequestServer:
    """The requests of one association that are being served."""

    def __init__(
        self,
        association: Operations,
        peer: PeerAE,
        sender: MessageSender,
        services: Mapping[int, Service],
        *,
        window: int,
        max_object: int,
    ) -> None:
        """`services` by context id; `window`: requests served at once; `max_object` in bytes."""
        self._association = association
        self._peer = peer
        self._sender = sender
        self._services = services
        self._window = window
        self._max_object = max_object
        self._running: dict[int, tuple[Request, asyncio.Task[None]]] = {}
        self._closing: Callable[[], None] | None = None
        self.begun = False  # there was a request

    @property
    def busy(self) -> bool:
        """A request is being served."""
        return bool(self._running)

    def finish(self, then: Callable[[], None]) -> None:
        """Begin nothing more; call `then` once nothing is being served."""
        self._closing = then
        if not self._running:
            then()

    async def begin(self, command: cmd.Command, context: PresentationContext) -> DataStream:
        """Start the handler of a request as soon as the window allows; where its data set goes.

        Raises ProtocolViolation for a message ID that is in use, CancelledError once `finish` was called.
        """
        await self.below(self._window)
        if self._closing is not None:
            raise asyncio.CancelledError
        if command.message_id in self._running:
            raise ProtocolViolation("message ID of a request that is not answered yet", code="repeated-message-id")
        self.begun = True
        data = DataStream(limit=self._max_object, present=command.has_data)
        request = Request(
            command=command,
            context=context,
            peer=self._peer,
            data=data,
            association=self._association,
            sender=self._sender,
        )
        task = asyncio.get_running_loop().create_task(self._handle(request))
        self._running[command.message_id] = (request, task)
        task.add_done_callback(lambda task: self._handled(command.message_id, task))
        return data

    def cancel(self, message_id: int) -> None:
        """Mark a request as cancelled (C-CANCEL); one that is answered already is past that."""
        if message_id in self._running:
            self._running[message_id][0].cancelled = True

    async def below(self, number: int) -> None:
        """Wait until fewer than `number` requests are being served."""
        while len(self._running) >= number:
            await asyncio.wait({task for _, task in self._running.values()}, return_when=asyncio.FIRST_COMPLETED)

    async def close(self, grace: float) -> None:
        """The association is over: end what runs. A request whose data has arrived may finish within `grace` s."""
        tasks = {task for _, task in self._running.values()}
        for request, _ in self._running.values():
            request.cancelled = True
            request.data.fail(ConnectionLost("the association ended inside a data set"))
        try:
            if tasks and grace:
                await asyncio.wait(tasks, timeout=grace)
        finally:  # also when the broker's own grace ends during this wait
            for task in tasks:
                task.cancel()

    def established(self) -> None:
        """The association is there: tell the services."""
        for service in self._each():
            service.begun(self._peer, self._association)

    def ended(self, *, released: bool) -> None:
        """The association is over and nothing runs any more: tell the services."""
        for service in self._each():
            service.ended(self._peer, released)

    def _each(self) -> Iterable[Service]:
        """The services of all contexts, each once."""
        return {id(service): service for service in self._services.values()}.values()

    async def _handle(self, request: Request) -> None:
        """Serve a request under its name in the log and in traces."""
        command = request.command
        if command.field in _OF_OBJECT and command.sop_instance:
            correlation.begin(telemetry.hashed(command.sop_instance))
        with spans.span(_MEASURED.get(command.field)) as span:
            await self._serve(request)
            span.note(SpanKey.STATUS, request.status)

    async def _serve(self, request: Request) -> None:
        """Run the handler; whatever happens the peer gets exactly one final answer."""
        context, command = request.context, request.command
        service = self._services.get(context.id)
        handler = service.handlers.get(command.field) if service else None
        by_scp = command.field == cmd.N_EVENT_REPORT_RQ  # the one request that an SCP sends (PS3.7 10.1.1)
        try:
            if service is None or handler is None or not (context.uses if by_scp else context.serves):
                await request.respond(st.UNRECOGNIZED_OPERATION)
            elif command.sop_class not in ("", context.abstract_syntax) and command.sop_class not in service.members:
                await request.respond(st.SOP_CLASS_NOT_SUPPORTED)
            else:
                await handler(request)
        except (ConnectionLost, DeadlinePassed):
            return
        except Exception as error:
            await self._fail(request, error)
        finally:
            request.data.discard()
        if not request.answered:
            await self._fail(request, RuntimeError("handler ended without an answer"))

    async def _fail(self, request: Request, error: BaseException) -> None:
        status, comment = request.failure(error)
        telemetry.logger().warning(
            "dicom.failed",
            command=cmd.NAMES.get(request.command.field, "unknown"),
            status=f"{status:04X}",
            error=telemetry.describe(error),
            calling_ae=self._peer.calling_ae,
            peer=self._peer.address,
        )
        if request.answered:
            return
        with contextlib.suppress(ConnectionLost, DeadlinePassed):
            await request.respond(status, comment=comment)

    def _handled(self, message_id: int, task: asyncio.Task[None]) -> None:
        del self._running[message_id]
        if not task.cancelled() and task.exception() is not None:
            telemetry.logger().error("dicom.defect", error=telemetry.describe(task.exception() or Exception()))
        if self._closing is not None and not self._running:
            self._closing()
