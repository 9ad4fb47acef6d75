"""The HL7 door: one message in, one answer out. Nothing positive leaves before the commit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar
from zoneinfo import ZoneInfo

from broker import correlation, faults, telemetry
from broker.errors import Unavailable
from broker.hl7 import acknowledgement, batch, work
from broker.hl7.batch import File
from broker.hl7.codes import AckCode, ErrorCode
from broker.hl7.findings import Finding
from broker.hl7.header import Header, log_names
from broker.hl7.mllp.framing import parts
from broker.hl7.mllp.server import Answer, Peer
from broker.model.tokens import random_token
from broker.orders.allowance import Allowance
from broker.orders.core.authorities import AuthorityMemory
from broker.orders.core.context import StoryContext
from broker.orders.core.values import Conversion
from broker.orders.inbound import reception
from broker.orders.inbound.reception import Examined, Interface, OnTransient, Opened, Profiles
from broker.orders.stories import intake
from broker.orders.stories.intake import Outcome
from broker.pace import LinePace
from broker.site.nodes import Node
from broker.site.tables.roles import BLOCKED
from broker.store.db.database import Database
from broker.threads import long_work
from broker.traces import spans
from broker.traces.spans import TracedStep

SINGLY = 10  # messages of a batch that are refused one by one, even if all of them are
T = TypeVar("T")


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
        refused_bytes: int = 10 * 1024**2,
        share: Callable[[str], str] = str,
        heard: Callable[[str, str, str], None] = lambda application, facility, refusal: None,
        barred: Callable[[str, str], str] = lambda application, facility: "",
    ) -> None:
        """`subscribers` are the nodes that may want to hear of changes of status just then; see `StoryContext`.

        `barred` says of a sender (MSH-3, MSH-4) whether it is `disabled` (it keeps its messages, as while the database
        is away) or `blocked` (they are refused).
        `heard` is told MSH-3 and MSH-4 of each message, and the code of the acknowledgement if that refuses it.
        `refused_bytes`: of refused messages of strangers, that the journal keeps in an hour for one address (`share`).
        """
        self._database = database
        self._interface = interface
        self._profiles = profiles
        self._zone = zone
        self._default_station = default_station
        self._subscribers = subscribers
        self._without_results = without_results
        self._authorities = AuthorityMemory()
        self._heard = heard
        self._barred = barred
        self._allowance = Allowance(refused_bytes, share)
        self._pace = LinePace(1)
        self._turns = {known: asyncio.Semaphore(1) for known in (True, False)}

    async def handle(self, raw: bytes, peer: Peer) -> Answer:
        """Answer a message or a batch: bytes, empty for none (to an acknowledgement), None to close the connection."""
        return await self._batch(raw, peer) if batch.begins(raw) else await self._message(raw, peer)

    async def _read(self, peer: Peer, read: Callable[..., T], *arguments: object) -> T:
        """Read something long in a thread: one at a time, and strangers do not keep those waiting that are known."""
        async with self._turns[peer.known]:
            with long_work:
                return await asyncio.to_thread(read, *arguments)

    async def _batch(self, raw: bytes, peer: Peer) -> Answer:
        """Each message on its own. Trouble of ours ends it: what was taken before is a repeat when it comes again.

        A batch of which nothing can be taken gets one refusal, and so does one whose answer would be much longer.
        """
        context = self._begin(peer)
        try:
            file, refusal = await self._read(peer, self._open_batch, raw)
            if refusal is not None:
                return await self._refuse_batch(raw, file, refusal, peer, context)
            return await self._messages(raw, file, peer, context)
        except Exception as error:
            failed = await self._failed(raw, None, peer, context, error)
            return failed.answer if failed else None

    def _open_batch(self, raw: bytes) -> tuple[File, Finding | None]:
        """Take a batch apart, and say why all of it is refused."""
        file = batch.read(raw)
        assert file is not None
        if file.excess:
            return file, Finding("BHS^1", ErrorCode.DATA_TYPE, file.excess)
        if file.messages <= SINGLY:
            return file, None
        refused = (self._refused(message) for part in file.batches for message in part.messages)
        finding = next(refused)
        return file, finding if finding is not None and all(other is not None for other in refused) else None

    def _refused(self, raw: bytes) -> Finding | None:
        """Why a message is refused by its MSH alone."""
        opened = self._open(raw)
        return reception.check_opened(opened, self._interface)[1] if opened else reception.NO_MSH

    async def _refuse_batch(
        self, raw: bytes, file: File, finding: Finding, peer: Peer, context: StoryContext
    ) -> Answer:
        answer = batch.refuse(file, finding, token=context.token, at=context.at)
        return (await self._journal_unreadable(raw, answer, peer)).answer

    async def _messages(self, raw: bytes, file: File, peer: Peer, context: StoryContext) -> Answer:
        size, most = 0, work.room(len(raw))
        acknowledgements: list[list[bytes]] = []
        for part in file.batches:
            acknowledgements.append([])
            for message in part.messages:
                await asyncio.sleep(0)  # between messages that nothing is written for
                reply = await self._message(message, peer)
                if reply is None:
                    return None
                size += len(reply)
                if size > most and b"\rMSA|AA|" not in reply:
                    finding = Finding("BHS^1", ErrorCode.DATA_TYPE, "Too many messages of the batch are refused")
                    return await self._refuse_batch(raw, file, finding, peer, context)
                acknowledgements[-1] += parts(reply)
        incomplete = sum(not part.complete for part in file.batches)
        log = telemetry.logger().warning if incomplete else telemetry.logger().info
        log("hl7.batch", listener=self._interface.name, peer=str(peer), count=file.messages, findings=incomplete)
        return batch.answer(file, acknowledgements, token=context.token, at=context.at)

    async def _message(self, raw: bytes, peer: Peer) -> Answer:
        started, context = time.monotonic(), self._begin(peer)
        header: Header | None = None
        outcome: Outcome | None
        try:
            opened = self._open(raw) if len(raw) <= work.ON_LOOP else await self._read(peer, self._open, raw)
            header = opened.header if opened else None
            if opened is None or header is None:
                answer = acknowledgement.unreadable(raw[: work.MSH], token=context.token, at=context.at)
                outcome = await self._journal_unreadable(raw, answer, peer) if answer else None
            elif header.get(9, 1) in reception.ANSWERS:  # an answer is not answered
                self._log(header, peer, "none", started)
                return b""
            else:
                outcome = await self._take(raw, opened, peer, context)
        except Exception as error:
            outcome = await self._failed(raw, header, peer, context, error)
        if outcome is not None and not outcome.refusal:  # taken, perhaps without an answer
            peer.proven = True
        self._log(header, peer, outcome.code if outcome else "closed", started, outcome)
        if header is not None:
            self._heard(header.get(3, 1), header.get(4, 1), outcome.refusal if outcome else "not taken")
        faults.point("hl7.answer")
        return outcome.answer if outcome else None

    async def on_oversize(self, head: bytes, peer: Peer) -> Answer:
        """AE for a message over the limit, of which only the first bytes are there. It is not journaled."""
        finding = Finding("MSH^1", ErrorCode.DATA_TYPE, "message exceeds the limit")
        return self._refuse_unstored(head, peer, finding)

    async def on_truncated(self, raw: bytes, peer: Peer) -> Answer:
        """AE for a message that an end block in its middle has cut: what is there is not acted on."""
        started, context = time.monotonic(), self._begin(peer)
        header: Header | None = None
        outcome: Outcome | None
        try:
            opened = await self._read(peer, self._open, raw)
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

    def _begin(self, peer: Peer) -> StoryContext:
        """The context of a message that is there; whatever it causes is named after it in the log."""
        context = self._context(peer)
        correlation.begin(context.token.hex[:12])
        return context

    def _context(self, peer: Peer) -> StoryContext:
        return StoryContext(
            random_token(),
            datetime.now(self._zone),
            self._default_station,
            subscribers=self._subscribers(),
            without_results=self._without_results(),
            authorities=self._authorities,
            address=peer.host,
        )

    def _open(self, raw: bytes) -> Opened | None:
        return reception.open_message(raw, self._interface, self._profiles)

    async def _take(self, raw: bytes, opened: Opened, peer: Peer, context: StoryContext) -> Outcome:
        state = self._barred(opened.header.get(3, 1), opened.header.get(4, 1)) if opened.header else ""
        if state == BLOCKED and opened.header:
            finding = Finding("MSH^1^3", ErrorCode.TABLE_VALUE_NOT_FOUND, "Sending application is blocked")
            refused = Examined(opened.header, AckCode.AR, Conversion((), (finding,)))
            return await self._submit(raw, refused, peer, context)
        if state:
            raise Unavailable("the sender is a node that is disabled", code="node-disabled")
        arguments = (raw, opened, self._interface, self._zone)
        with spans.span(TracedStep.CONVERT):
            if len(raw) <= work.ON_LOOP and work.repeats_little(raw, opened.header.separators.repetition):
                examined = reception.convert(*arguments)
            else:
                examined = await self._read(peer, reception.convert, *arguments)
        if examined.failure is not None:
            raise examined.failure
        if examined.header.doubt:
            charset = examined.header.codec.partition("+")[0]  # one of a fixed list
            telemetry.child(telemetry.HL7_DOUBTS, examined.header.doubt, charset).inc()
        return await self._submit(raw, examined, peer, context)

    async def _submit(self, raw: bytes, examined: Examined, peer: Peer, context: StoryContext) -> Outcome:
        at = context.at.timestamp()
        stranger = not (peer.proven or peer.known) and (self._interface.known is None or examined.code == AckCode.AR)
        if stranger and examined.code and self._allowance.spent(peer.host):
            return self._unkept(examined, context)
        arguments = (raw, examined.header, self._interface, str(peer), at, examined.control_id, stranger)
        if len(raw) <= work.ON_LOOP:
            received = reception.received(*arguments)
        else:
            received = await self._read(peer, reception.received, *arguments)
        with spans.span(TracedStep.WRITE):
            settled = self._database.submit(intake.settle, received, examined, context, self._interface)
            outcome: Outcome = await asyncio.wrap_future(settled)
        if stranger and outcome.code[-1:] != "A":
            self._allowance.take(peer.host, len(raw))
        if examined.note and not outcome.repeated:
            what, count = ("message", 1) if examined.rule else ("group", examined.groups)
            telemetry.child(telemetry.HL7_IGNORED, what).inc(count)
        return outcome

    async def _journal_unreadable(self, raw: bytes, answer: bytes, peer: Peer) -> Outcome:
        at, stranger = self._context(peer).at.timestamp(), not (peer.proven or peer.known)
        if stranger and self._allowance.spent(peer.host):
            telemetry.HL7_UNKEPT.inc()
            return Outcome(answer, AckCode.AR, 1)
        arguments = (raw, None, self._interface, str(peer), at, "", stranger)
        received = await self._read(peer, reception.received, *arguments)
        outcome: Outcome = await asyncio.wrap_future(self._database.submit(intake.keep_unreadable, received, answer))
        if stranger:
            self._allowance.take(peer.host, len(raw))
        return outcome

    def _unkept(self, examined: Examined, context: StoryContext) -> Outcome:
        """Refuse a message of a stranger of whom the journal keeps nothing more in this hour."""
        telemetry.HL7_UNKEPT.inc()
        findings = examined.conversion.findings
        code, answer = acknowledgement.reply(
            examined.header, examined.code, findings, token=context.token, at=context.at, stored=False
        )
        return Outcome(answer, code, len(findings))

    async def _failed(
        self, raw: bytes, header: Header | None, peer: Peer, context: StoryContext, error: Exception
    ) -> Outcome | None:
        """What becomes of a message that could not be taken. Never a positive answer.

        While database or disk is away the sender keeps it, by the policy of the interface. A defect would meet the same
        message again: it is refused and journaled under a reference that the log has too, and the next one is read.
        """
        if isinstance(error, Unavailable | OSError):
            return self._transient(header, context, error)
        reference = context.token.hex[:12]  # the log has it as correlation too
        telemetry.HL7_DEFECTS.inc()
        told = {"listener": self._interface.name, "reference": reference, "error": telemetry.describe(error)}
        telemetry.logger().error("hl7.internal_error", **told)
        finding = reception.defect(reference)
        at = context.at.timestamp()
        try:
            received = await self._read(peer, reception.received, raw, header, self._interface, str(peer), at)
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
        started, context = time.monotonic(), self._begin(peer)
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
        spans.tell_message(header.get(9, 1) if header else "", answer)
        unwritten = 0 if peer.proven or peer.known else self._pace.take(answer)
        if unwritten is None:  # strangers cause one line of a kind per second
            return
        telemetry.logger().info(
            "hl7.message",
            **({"count": unwritten} if unwritten else {}),
            listener=self._interface.name,
            peer=str(peer),
            **log_names(header),
            answer=answer,
            mode="repeat" if outcome and outcome.repeated else "first",
            findings=outcome.findings if outcome else 0,
            accession=telemetry.identifier(outcome.accession if outcome else None),
            duration=round(time.monotonic() - started, 4),
        )
