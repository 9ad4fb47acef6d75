"""The HL7 door: one message in, one answer out. Nothing positive leaves before the commit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from uuid import uuid4
from zoneinfo import ZoneInfo

from broker import faults, telemetry
from broker.errors import Unavailable
from broker.hl7 import acknowledgement, batch
from broker.hl7.batch import File
from broker.hl7.codes import AckCode, ErrorCode
from broker.hl7.findings import Finding
from broker.hl7.framing import parts
from broker.hl7.header import Header
from broker.hl7.server import Answer, Peer
from broker.orders.core.authorities import AuthorityMemory
from broker.orders.core.context import StoryContext
from broker.orders.core.values import Conversion
from broker.orders.inbound import reception
from broker.orders.inbound.reception import Examined, Interface, OnTransient, Opened, Profiles
from broker.orders.stories import intake
from broker.orders.stories.intake import Outcome
from broker.site.nodes import Node
from broker.store.db.database import Database

IN_THREAD = 64 * 1024  # bytes from which a message is read in a thread


class OrderDoor:
    """What one HL7 listener does with messages: `handle`, `on_oversize`, `on_truncated` for the MLLP server."""

    def __init__(
        self,
        database: Database,
        interface: Interface,
        profiles: Profiles,
        *,
        zone: ZoneInfo,
        default_station: str,
        subscribers: Callable[[], tuple[Node, ...]] = tuple,
        without_results: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        """`subscribers` are the nodes that may want to hear of changes of status just then; see `StoryContext`."""
        self._database = database
        self._interface = interface
        self._profiles = profiles
        self._zone = zone
        self._default_station = default_station
        self._subscribers = subscribers
        self._without_results = without_results
        self._authorities = AuthorityMemory()

    async def handle(self, raw: bytes, peer: Peer) -> Answer:
        """Answer a message or a batch: bytes, empty for none (to an acknowledgement), None to close the connection."""
        file = batch.read(raw)
        return await self._message(raw, peer) if file is None else await self._batch(raw, file, peer)

    async def _batch(self, raw: bytes, file: File, peer: Peer) -> Answer:
        """Each message on its own. Trouble of ours ends it: what was taken before is a repeat when it comes again."""
        context = self._context()
        if file.messages > batch.MAX_MESSAGES:
            answer = batch.refuse(file, token=context.token, at=context.at)
            try:
                return (await self._journal_unreadable(raw, answer, peer)).answer
            except Exception as error:
                failed = await self._failed(raw, None, peer, context, error)
                return failed.answer if failed else None
        acknowledgements: list[list[bytes]] = []
        for part in file.batches:
            acknowledgements.append([])
            for message in part.messages:
                reply = await self._message(message, peer)
                if reply is None:
                    return None
                acknowledgements[-1] += parts(reply)
        incomplete = sum(not part.complete for part in file.batches)
        log = telemetry.logger().warning if incomplete else telemetry.logger().info
        log("hl7.batch", listener=self._interface.name, peer=str(peer), count=file.messages, findings=incomplete)
        return batch.answer(file, acknowledgements, token=context.token, at=context.at)

    async def _message(self, raw: bytes, peer: Peer) -> Answer:
        started, context = time.monotonic(), self._context()
        header: Header | None = None
        outcome: Outcome | None
        try:
            opened = self._open(raw)
            header = opened.header if opened else None
            if opened is None or header is None:
                answer = acknowledgement.unreadable(raw, token=context.token, at=context.at)
                outcome = await self._journal_unreadable(raw, answer, peer) if answer else None
            elif header.get(9, 1) in reception.ANSWERS:  # an answer is not answered
                self._log(header, peer, "none", started)
                return b""
            else:
                outcome = await self._take(raw, opened, peer, context)
        except Exception as error:
            outcome = await self._failed(raw, header, peer, context, error)
        self._log(header, peer, outcome.code if outcome else "closed", started, outcome)
        faults.point("hl7.answer")
        return outcome.answer if outcome else None

    async def on_oversize(self, head: bytes, peer: Peer) -> Answer:
        """AE for a message over the limit, of which only the first bytes are there. It is not journaled."""
        finding = Finding("MSH^1", ErrorCode.DATA_TYPE, "message exceeds the limit")
        return self._refuse_unstored(head, peer, finding)

    async def on_truncated(self, raw: bytes, peer: Peer) -> Answer:
        """AE for a message that an end block in its middle has cut: what is there is not acted on."""
        started, context = time.monotonic(), self._context()
        header: Header | None = None
        outcome: Outcome | None
        try:
            opened = self._open(raw)
            if opened is None:
                return None
            header = opened.header
            finding = Finding("MSH^1", ErrorCode.SEGMENT_SEQUENCE, "message is cut by an end block inside it")
            examined = Examined(header, AckCode.AE, Conversion((), (finding,)))
            outcome = await self._submit(raw, examined, peer, context)
        except Exception as error:
            outcome = await self._failed(raw, header, peer, context, error)
        self._log(header, peer, outcome.code if outcome else "closed", started, outcome)
        return outcome.answer if outcome else None

    def _context(self) -> StoryContext:
        return StoryContext(
            uuid4(),
            datetime.now(self._zone),
            self._default_station,
            subscribers=self._subscribers(),
            without_results=self._without_results(),
            authorities=self._authorities,
        )

    def _open(self, raw: bytes) -> Opened | None:
        return reception.open_message(raw, self._interface, self._profiles)

    async def _take(self, raw: bytes, opened: Opened, peer: Peer, context: StoryContext) -> Outcome:
        arguments = (raw, opened, self._interface, self._zone)
        if len(raw) > IN_THREAD:
            examined = await asyncio.to_thread(reception.convert, *arguments)
        else:
            examined = reception.convert(*arguments)
        if examined.failure is not None:
            raise examined.failure
        if examined.header.doubt:
            charset = examined.header.codec.partition("+")[0]  # one of a fixed list
            telemetry.child(telemetry.HL7_DOUBTS, examined.header.doubt, charset).inc()
        return await self._submit(raw, examined, peer, context)

    async def _submit(self, raw: bytes, examined: Examined, peer: Peer, context: StoryContext) -> Outcome:
        at = context.at.timestamp()
        received = reception.received(raw, examined.header, self._interface, str(peer), at, examined.control_id)
        future = self._database.submit(intake.settle, received, examined, context, self._interface)
        outcome: Outcome = await asyncio.wrap_future(future)
        if examined.note and not outcome.repeated:
            what, count = ("message", 1) if examined.rule else ("group", examined.groups)
            telemetry.child(telemetry.HL7_IGNORED, what).inc(count)
        return outcome

    async def _journal_unreadable(self, raw: bytes, answer: bytes, peer: Peer) -> Outcome:
        at = self._context().at.timestamp()
        received = reception.received(raw, None, self._interface, str(peer), at)
        future = self._database.submit(intake.keep_unreadable, received, answer)
        return await asyncio.wrap_future(future)

    async def _failed(
        self, raw: bytes, header: Header | None, peer: Peer, context: StoryContext, error: Exception
    ) -> Outcome | None:
        """What becomes of a message that could not be taken. Never a positive answer.

        While database or disk is away the sender keeps it, by the policy of the interface. A defect would meet the same
        message again: it is refused and journaled under a reference that the log has too, and the next one is read.
        """
        if isinstance(error, Unavailable | OSError):
            return self._transient(header, context, error)
        reference = context.token.hex[:12]
        telemetry.HL7_DEFECTS.inc()
        told = {"listener": self._interface.name, "reference": reference, "error": telemetry.describe(error)}
        telemetry.logger().error("hl7.internal_error", **told)
        finding = reception.defect(reference)
        received = reception.received(raw, header, self._interface, str(peer), context.at.timestamp())
        try:
            future = self._database.submit(intake.keep_failed, received, header, finding, reference, context)
            return await asyncio.wrap_future(future)
        except Exception as again:
            return self._transient(header, context, again)

    def _transient(self, header: Header | None, context: StoryContext, error: Exception) -> Outcome | None:
        """Database or disk is away: what the interface does then."""
        level = telemetry.logger().warning if isinstance(error, Unavailable) else telemetry.logger().error
        level("hl7.not_taken", listener=self._interface.name, error=telemetry.describe(error))
        if self._interface.on_transient == OnTransient.CLOSE or header is None:
            return None
        finding = Finding("MSH^1", ErrorCode.INTERNAL_ERROR, "The message could not be stored, send it again")
        code, answer = acknowledgement.reply(
            header, AckCode(self._interface.on_transient), [finding], token=context.token, at=context.at, stored=False
        )
        return Outcome(answer, code, 1) if answer else None  # silence would look like success

    def _refuse_unstored(self, head: bytes, peer: Peer, finding: Finding) -> Answer:
        started, context = time.monotonic(), self._context()
        opened = self._open(head)
        if opened is None:
            return None
        header = opened.header
        code, answer = acknowledgement.reply(
            header, AckCode.AE, [finding], token=context.token, at=context.at, text=finding.text, stored=False
        )
        self._log(header, peer, code, started, Outcome(answer, code, 1))
        return answer

    def _log(
        self, header: Header | None, peer: Peer, answer: str, started: float, outcome: Outcome | None = None
    ) -> None:
        telemetry.child(telemetry.HL7_MESSAGES, answer).inc()
        telemetry.logger().info(
            "hl7.message",
            listener=self._interface.name,
            peer=str(peer),
            sender=header.sender if header else "",
            message_type=header.message_type if header else "",
            answer=answer,
            mode="repeat" if outcome and outcome.repeated else "first",
            findings=outcome.findings if outcome else 0,
            accession=telemetry.identifier(outcome.accession if outcome else None),
            duration=round(time.monotonic() - started, 4),
        )
