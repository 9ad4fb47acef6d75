"""The worklist door: C-FIND of the Modality Worklist SOP class (PS3.4 K.4.1)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING

from broker import telemetry
from broker.errors import BadContent, PeerFault, ProtocolViolation, Unavailable
from broker.site.device import DEFAULT, Device
from broker.store.database import Database
from broker.store.outage import WorklistCopy
from broker.store.worklist import Criteria, Found, search
from broker.worklist.answer import AnswerEncoder
from broker.worklist.device import adapt
from broker.worklist.identifier import MAX_BYTES, decode_identifier
from broker.worklist.match import matches
from broker.worklist.memory import Outcome, QueryMemory
from broker.worklist.negotiation import Agreed, agreed
from broker.worklist.plan import plan
from broker.worklist.query import Query, parse
from broker.worklist.refusal import BadKey
from broker.worklist.timezone import differs, in_offset

if TYPE_CHECKING:
    from broker.dicom.request import Request

SUCCESS, PENDING, PENDING_WARNING, CANCEL = 0x0000, 0xFF00, 0xFF01, 0xFE00
OUT_OF_RESOURCES, IDENTIFIER_MISMATCH, UNABLE_TO_PROCESS = 0xA700, 0xA900, 0xC001
PAGE = 200  # candidates of one statement
PATIENCE, HURRY = 10.0, 2.0  # seconds for the database before the copy answers: at first, and once it was away
INLINE = 16  # so few candidates, or bytes of an identifier below 4 KiB, are not worth a thread


@dataclass(slots=True)
class _Course:
    """What a query came to, for the log."""

    device: Device = DEFAULT
    query: Query | None = None  # as it was asked
    count: int = 0
    status: int = UNABLE_TO_PROCESS
    comment: str = ""
    copied: bool = False  # answered from the copy, the database being away
    offending: int = 0  # tag of the key that could not be read
    seen: set[int] = field(default_factory=set)  # a step rescheduled meanwhile must not come twice


class WorklistService:
    """Answers worklist queries from the database."""

    def __init__(
        self, database: Database, *, max_answers: int, charset: str, zone: tzinfo = UTC,
        profile: Callable[[str, str], Device] = lambda calling_ae, address: DEFAULT, memory: QueryMemory | None = None,
        copy: WorklistCopy | None = None,
    ) -> None:  # fmt: skip
        """`max_answers` per query, then A700; `charset` of answers where the request's own set does not do.

        `profile`: of a device by calling AE title and address; `zone`: of the site, whose wall clock the orders hold;
        `memory` keeps what was asked; `copy` answers while the database is away.
        """
        self._profile = profile
        self._memory = memory
        self._copy = copy
        self._patience = PATIENCE
        self._database = database
        self._max_answers = max_answers
        self._charset = charset
        self._zone = zone

    async def find(self, request: Request) -> None:
        """Handle one C-FIND: pending answers, then the final status.

        Raises PeerFault or ProtocolViolation when the association is lost: nobody is left to answer.
        """
        started = time.perf_counter()
        course = _Course()
        peer = request.peer
        try:
            course.device = self._profile(peer.calling_ae, peer.address)
            course.query = await self._understand(request)
            asked = adapt(course.query, course.device, peer.calling_ae, datetime.now(self._zone))
            course.status = await self._answer(request, asked, course)
        except (ProtocolViolation, PeerFault, OSError):
            raise
        except BadContent as error:
            course.status, course.comment = IDENTIFIER_MISMATCH, str(error)[:64]
            course.offending = error.tag if isinstance(error, BadKey) else 0
        except Unavailable as error:
            telemetry.logger().warning("worklist.unavailable", error=telemetry.describe(error))
            course.status, course.comment = OUT_OF_RESOURCES, "database not available"
        except Exception as error:
            telemetry.logger().error("worklist.failed", error=telemetry.describe(error))
            course.comment = "internal error"
        duration = time.perf_counter() - started
        telemetry.QUERIES.observe(duration)
        self._log(request, course, duration)
        if self._memory is not None:
            outcome = Outcome(time.time(), course.query, course.count, course.status, duration, course.comment)
            self._memory.remember(peer.calling_ae, peer.address, outcome)
        await request.respond(course.status, comment=course.comment, offending=course.offending)

    async def _understand(self, request: Request) -> Query:
        data = await request.data.read_all(MAX_BYTES)
        syntax = request.context.transfer_syntax
        options = agreed(request.peer.extended.get(request.context.abstract_syntax))
        if len(data) < 4096:
            return _read(data, syntax, options)
        return await asyncio.to_thread(_read, data, syntax, options)

    async def _answer(self, request: Request, query: Query, course: _Course) -> int:
        """Send the matches; the final status."""
        if query.view.empty:
            return SUCCESS
        criteria = plan(query)
        device = course.device
        most = device.max_answers or self._max_answers
        encoder = AnswerEncoder(
            query, request.context.transfer_syntax, self._charset, device.charset, device.max_lengths
        )
        pending = PENDING if query.supported else PENDING_WARNING
        after: tuple[str, int] | None = None
        while True:
            if request.cancelled:
                return CANCEL
            found = await self._page(criteria, after, course)
            fresh = [one for one in found if one.id not in course.seen]
            if len(fresh) <= INLINE:
                answers = _prepare(fresh, query, encoder, self._zone)
            else:
                answers = await asyncio.to_thread(_prepare, fresh, query, encoder, self._zone)
            for step, data in answers:
                if request.cancelled:
                    return CANCEL
                if course.count >= most:
                    course.comment = f"more than {most} matches"
                    return OUT_OF_RESOURCES
                await request.respond(pending, data)
                course.count += 1
                course.seen.add(step)
            if len(found) < PAGE:
                return CANCEL if request.cancelled else SUCCESS
            after = (found[-1].start_at, found[-1].id)

    async def _page(self, criteria: Criteria, after: tuple[str, int] | None, course: _Course) -> list[Found]:
        """The next candidates: of the database, of the copy while that is away or does not answer in time."""
        read = self._database.read(search, criteria, after, PAGE)
        if self._copy is None:
            return await asyncio.wrap_future(read)
        try:
            async with asyncio.timeout(self._patience):
                found = await asyncio.wrap_future(read)
        except (Unavailable, TimeoutError):
            self._patience = HURRY
            try:
                found = await asyncio.to_thread(self._copy.search, criteria, after, PAGE)
            except Unavailable:
                telemetry.WORKLIST_COPY_QUERIES.labels("refused").inc()
                raise
            if not course.copied:
                telemetry.WORKLIST_COPY_QUERIES.labels("answered").inc()
            course.copied = True
            return found
        self._patience = PATIENCE
        return found

    def _log(self, request: Request, course: _Course, duration: float) -> None:
        query = course.query
        remarks = list(query.remarks) if query else []
        if query is not None and query.said_offset is not None and differs(query.said_offset, self._zone):
            remarks.append("other-timezone")
        telemetry.logger().info(
            "worklist.query",
            calling_ae=request.peer.calling_ae,
            count=course.count,
            status=f"{course.status:04X}",
            duration=round(duration, 4),
            mode=",".join(query.named) if query else "",
            state="copy" if course.copied else None,
            reason=",".join(remarks) or None,
        )


def _read(data: bytes, transfer_syntax: str, options: Agreed) -> Query:
    return parse(decode_identifier(data, transfer_syntax), options)


def _prepare(found: Sequence[Found], query: Query, encoder: AnswerEncoder, zone: tzinfo) -> list[tuple[int, bytes]]:
    """Ids and encoded answers of those candidates that match.

    A step whose document cannot be used is left out with an error in the log: it must not hide all others.
    """
    answers: list[tuple[int, bytes]] = []
    for one in found:
        try:
            document = in_offset(json.loads(one.answer), zone, query.offset)
            if matches(document, query):
                answers.append((one.id, encoder.encode(document)))
        except Exception as error:
            telemetry.logger().error("worklist.step_unusable", error=telemetry.describe(error), key=one.id)
    return answers
