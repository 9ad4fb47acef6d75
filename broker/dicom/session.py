"""One connection at the provider, from the A-ASSOCIATE-RQ to its end.

A single loop reads PDUs. A complete command starts its handler as a task; the loop goes on reading, so that data set
fragments, C-CANCEL, release and abort are seen while the handler works. One request at a time (asynchronous
operations window 1:1): a second command waits for the first to be answered, and TCP makes its sender wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from broker import telemetry
from broker.dicom import command as cmd
from broker.dicom import negotiation as neg
from broker.dicom import pdu, uids
from broker.dicom import status as st
from broker.dicom.association import Context, MessageAssembly, Peer, Sender
from broker.dicom.request import Request, Service
from broker.dicom.stream import DataStream
from broker.dicom.wire import ConnectionLost, DeadlinePassed, IdlePassed, Wire
from broker.errors import BrokerError, ProtocolViolation

if TYPE_CHECKING:
    from broker.dicom.provider import Limits, Refusal

_REASONS = {"unknown-pdu": pdu.UNRECOGNIZED_PDU, "unexpected-pdu": pdu.UNEXPECTED_PDU}
Enter = Callable[[neg.AssociationRequest, Wire], "Refusal | None"]


class Session:
    """See the module's text."""

    def __init__(self, wire: Wire, services: Mapping[str, Service], limits: Limits, enter: Enter) -> None:
        self._wire = wire
        self._services = services
        self._limits = limits
        self._enter = enter
        self._current: tuple[Request, asyncio.Task[None]] | None = None
        self._finishing = False
        self._reader: asyncio.Task[None] | None = None
        self.established = False
        self.ended_by = "closed"

    def finish(self) -> None:
        """The broker stops: end after the running request."""
        self._finishing = True
        if self._current is None and self._reader is not None:
            self._reader.cancel()

    async def run(self) -> None:
        """Serve the connection until it ends; never raises for what a peer does."""
        self._reader = asyncio.current_task()
        reason = pdu.NOT_SPECIFIED
        by_user = False
        try:
            if await self._negotiate():
                await self._serve()
            return
        except ProtocolViolation as error:
            self.ended_by = error.code
            reason = _REASONS.get(error.code, pdu.INVALID_PARAMETER)
            telemetry.logger().debug("dicom.violation", peer=self._wire.address, reason=error.code)
        except ConnectionLost:
            self.ended_by = "closed"
            return
        except DeadlinePassed:
            self.ended_by = "deadline"
        except asyncio.CancelledError:
            self.ended_by, by_user = "stopping", True
        finally:
            try:
                await self._settle()
                if self.ended_by not in ("closed", "released", "refused"):
                    with contextlib.suppress(BrokerError):
                        await self._wire.write(pdu.abort(by_user=by_user, reason=reason))
            finally:
                self._wire.close()

    # --- negotiation -------------------------------------------------------------------------------------

    async def _negotiate(self) -> bool:
        timeout = self._limits.association_request_timeout
        started = time.monotonic()
        kind, body = await self._wire.read_pdu(timeout, timeout)
        if kind != pdu.ASSOCIATE_RQ:
            raise ProtocolViolation("the first PDU is not an association request", code="unexpected-pdu")
        request = neg.decode_request(bytes(body))
        refusal = self._enter(request, self._wire)
        if refusal is not None:
            self.ended_by = "refused"
            telemetry.logger().info(
                "dicom.refused", peer=self._wire.address, calling_ae=request.calling_ae,
                called_ae=request.called_ae, reason=refusal.code,
            )  # fmt: skip
            await self._wire.write(pdu.reject(refusal.result, refusal.source, refusal.reason))
            return False
        self.established = True
        self._peer = Peer(request.calling_ae, request.called_ae, self._wire.address)
        results = [self._answer(context) for context in request.contexts]
        self._contexts = {
            result.id: Context(result.id, context.abstract_syntax, result.transfer_syntax)
            for result, context in zip(results, request.contexts, strict=True)
            if result.result == neg.ACCEPTED
        }
        self._sender = Sender(self._wire, pdu.payload_per_pdu(request.user.max_length))
        user = neg.UserInformation(self._limits.max_pdu, uids.IMPLEMENTATION_CLASS, uids.IMPLEMENTATION_VERSION)
        await self._wire.write(
            neg.encode_accept(neg.AssociationAccept(request.called_ae, request.calling_ae, tuple(results), user))
        )
        telemetry.logger().debug(
            "dicom.associated", peer=self._wire.address, calling_ae=request.calling_ae,
            contexts=len(self._contexts), duration=round(time.monotonic() - started, 4),
        )  # fmt: skip
        return True

    def _answer(self, context: neg.ProposedContext) -> neg.ContextResult:
        service = self._services.get(context.abstract_syntax)
        if service is None:
            return neg.ContextResult(context.id, neg.ABSTRACT_NOT_SUPPORTED, context.transfer_syntaxes[0])
        chosen = service.choose(context.transfer_syntaxes)
        if chosen is None:
            return neg.ContextResult(context.id, neg.TRANSFER_NOT_SUPPORTED, context.transfer_syntaxes[0])
        return neg.ContextResult(context.id, neg.ACCEPTED, chosen)

    # --- requests ----------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        assembly = MessageAssembly(self._contexts)
        limits = self._limits
        while True:
            idle = limits.pdu_timeout if assembly.data_context else limits.idle_timeout
            try:
                kind, body = await self._wire.read_pdu(idle, limits.pdu_timeout)
            except IdlePassed:
                if self._current is not None and not assembly.data_context:
                    continue  # the peer waits for our answer, not we for the peer
                raise
            if kind == pdu.P_DATA:
                for fragment in pdu.fragments(body):
                    await self._take(assembly, fragment)
            elif kind == pdu.RELEASE_RQ:
                await self._drain()
                self.ended_by = "released"
                await self._wire.write(pdu.release_response())
                return
            elif kind == pdu.ABORT:
                self.ended_by = "closed"
                return
            else:
                raise ProtocolViolation("PDU out of place", code="unexpected-pdu")

    async def _take(self, assembly: MessageAssembly, fragment: pdu.Fragment) -> None:
        complete = assembly.take(fragment)
        if complete is not None:
            await self._begin(*complete)
        elif not fragment.is_command and self._current is not None:
            await self._current[0].data.feed(fragment.data, fragment.is_last)

    async def _begin(self, command: cmd.Command, context: Context) -> None:
        if command.field == cmd.C_CANCEL_RQ:
            if self._current is not None and self._current[0].command.message_id == command.responded_to:
                self._current[0].cancelled = True
            return
        if command.is_response:
            raise ProtocolViolation("a response to nothing", code="unexpected-response")
        await self._drain()
        if self._finishing:
            raise asyncio.CancelledError
        data = DataStream(limit=self._limits.max_object, present=command.has_data)
        request = Request(command, context, self._peer, data, self._sender)
        task = asyncio.get_running_loop().create_task(self._handle(request))
        self._current = (request, task)
        task.add_done_callback(self._handled)

    async def _handle(self, request: Request) -> None:
        """Run the handler; whatever happens the peer gets exactly one final answer."""
        handler = self._services[request.context.abstract_syntax].handlers.get(request.command.field)
        try:
            if handler is None:
                await request.respond(st.UNRECOGNIZED_OPERATION)
            elif request.command.sop_class and request.command.sop_class != request.context.abstract_syntax:
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
        name = cmd.NAMES.get(request.command.field, "unknown")
        telemetry.logger().warning(
            "dicom.failed", command=name, status=f"{status:04X}", error=telemetry.describe(error),
            calling_ae=self._peer.calling_ae, peer=self._peer.address,
        )  # fmt: skip
        if request.answered:
            return
        with contextlib.suppress(ConnectionLost, DeadlinePassed):
            await request.respond(status, comment=comment)

    def _handled(self, task: asyncio.Task[None]) -> None:
        self._current = None
        if not task.cancelled() and task.exception() is not None:
            telemetry.logger().error("dicom.defect", error=telemetry.describe(task.exception() or Exception()))
        if self._finishing and self._reader is not None:
            self._reader.cancel()

    async def _drain(self) -> None:
        """Wait for the running request to be answered."""
        if self._current is not None:
            await asyncio.wait({self._current[1]})

    async def _settle(self) -> None:
        """The connection is over: end the running request. One whose data has arrived may finish its work."""
        if self._current is None:
            return
        request, task = self._current
        request.cancelled = True
        request.data.fail(ConnectionLost("the association ended inside a data set"))
        try:
            if self.ended_by != "stopping":  # then the provider's grace is over already
                await asyncio.wait({task}, timeout=self._limits.pdu_timeout)
        finally:  # also when the grace ends during this wait
            task.cancel()
