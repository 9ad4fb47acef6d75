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
from broker.store.worklist import Found, search
from broker.worklist.answer import AnswerEncoder
from broker.worklist.device import adapt
from broker.worklist.identifier import MAX_BYTES, decode_identifier
from broker.worklist.match import matches
from broker.worklist.memory import Outcome, QueryMemory
from broker.worklist.plan import plan
from broker.worklist.query import Query, parse

if TYPE_CHECKING:
    from broker.dicom.request import Request

SUCCESS, PENDING, PENDING_WARNING, CANCEL = 0x0000, 0xFF00, 0xFF01, 0xFE00
OUT_OF_RESOURCES, IDENTIFIER_MISMATCH, UNABLE_TO_PROCESS = 0xA700, 0xA900, 0xC001
PAGE = 200  # candidates of one statement
INLINE = 16  # so few candidates, or bytes of an identifier below 4 KiB, are not worth a thread


@dataclass(slots=True)
class _Course:
    """What a query came to, for the log."""

    device: Device = DEFAULT
    query: Query | None = None  # as it was asked
    count: int = 0
    status: int = UNABLE_TO_PROCESS
    comment: str = ""
    seen: set[int] = field(default_factory=set)  # a step rescheduled meanwhile must not come twice


class WorklistService:
    """Answers worklist queries from the database."""

    def __init__(
        self, database: Database, *, max_answers: int, charset: str, zone: tzinfo = UTC,
        profile: Callable[[str, str], Device] = lambda calling_ae, address: DEFAULT, memory: QueryMemory | None = None,
    ) -> None:  # fmt: skip
        """`max_answers` per query, then A700; `charset` of answers where the request's own set does not do.

        `profile`: of a device by calling AE title and address; `zone`: of the site; `memory` keeps what was asked.
        """
        self._profile = profile
        self._zone = zone
        self._memory = memory
        self._database = database
        self._max_answers = max_answers
        self._charset = charset

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
        await request.respond(course.status, comment=course.comment)

    async def _understand(self, request: Request) -> Query:
        data = await request.data.read_all(MAX_BYTES)
        syntax = request.context.transfer_syntax
        if len(data) < 4096:
            return _read(data, syntax)
        return await asyncio.to_thread(_read, data, syntax)

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
            found = await asyncio.wrap_future(self._database.read(search, criteria, after, PAGE))
            fresh = [one for one in found if one.id not in course.seen]
            if len(fresh) <= INLINE:
                answers = _prepare(fresh, query, encoder)
            else:
                answers = await asyncio.to_thread(_prepare, fresh, query, encoder)
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

    def _log(self, request: Request, course: _Course, duration: float) -> None:
        query = course.query
        telemetry.logger().info(
            "worklist.query",
            calling_ae=request.peer.calling_ae,
            count=course.count,
            status=f"{course.status:04X}",
            duration=round(duration, 4),
            mode=",".join(query.named) if query else "",
            reason=",".join(query.remarks) if query and query.remarks else None,
        )


def _read(data: bytes, transfer_syntax: str) -> Query:
    return parse(decode_identifier(data, transfer_syntax))


def _prepare(found: Sequence[Found], query: Query, encoder: AnswerEncoder) -> list[tuple[int, bytes]]:
    """Ids and encoded answers of those candidates that match.

    A step whose document cannot be used is left out with an error in the log: it must not hide all others.
    """
    answers: list[tuple[int, bytes]] = []
    for one in found:
        try:
            document = json.loads(one.answer)
            if matches(document, query):
                answers.append((one.id, encoder.encode(document)))
        except Exception as error:
            telemetry.logger().error("worklist.step_unusable", error=telemetry.describe(error), key=one.id)
    return answers
