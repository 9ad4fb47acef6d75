"""The worklist door: C-FIND of the Modality Worklist SOP class (PS3.4 K.4.1)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from broker import telemetry
from broker.errors import BadContent, PeerFault, ProtocolViolation, Unavailable
from broker.store.database import Database
from broker.store.worklist import Found, search
from broker.worklist.answer import AnswerEncoder
from broker.worklist.identifier import MAX_BYTES, decode_identifier
from broker.worklist.match import matches
from broker.worklist.memory import Asked, Key, Known, Memory
from broker.worklist.plan import plan
from broker.worklist.query import Query, parse

if TYPE_CHECKING:
    from broker.dicom.request import Request

P = ParamSpec("P")
T = TypeVar("T")
SUCCESS, PENDING, PENDING_WARNING, CANCEL = 0x0000, 0xFF00, 0xFF01, 0xFE00
OUT_OF_RESOURCES, IDENTIFIER_MISMATCH, UNABLE_TO_PROCESS = 0xA700, 0xA900, 0xC001
PAGE = 200  # candidates of one statement
INLINE = 16  # so few candidates, or bytes of an identifier below 4 KiB, are not worth a thread


@dataclass(slots=True)
class _Course:
    """What a query came to, for the log."""

    query: Query | None = None
    count: int = 0
    status: int = UNABLE_TO_PROCESS
    comment: str = ""
    seen: set[int] = field(default_factory=set)  # a step rescheduled meanwhile must not come twice


class WorklistService:
    """Answers worklist queries from the database."""

    def __init__(self, database: Database, *, max_answers: int, charset: str) -> None:
        """`max_answers` per query, then A700; `charset` of answers where the request's own set does not do."""
        self._database = database
        self._max_answers = max_answers
        self._charset = charset
        self._memory = Memory()

    async def find(self, request: Request) -> None:
        """Handle one C-FIND: pending answers, then the final status.

        Raises PeerFault or ProtocolViolation when the association is lost: nobody is left to answer.
        """
        started = time.perf_counter()
        course = _Course()
        try:
            key = await self._key(request)
            asked = await self._understand(key, request)
            course.query = asked.query
            course.status = await self._answer(request, key, asked, course)
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
        await request.respond(course.status, comment=course.comment)

    @staticmethod
    async def _key(request: Request) -> Key:
        """The identifier, and all else that its reading and its answers depend on beside the steps."""
        return await request.data.read_all(MAX_BYTES), request.context.transfer_syntax

    async def _understand(self, key: Key, request: Request) -> Asked:
        asked = self._memory.get(key)
        if asked is None:
            syntax = request.context.transfer_syntax
            query = await _here_or_aside(len(key[0]) < 4096, _read, key[0], syntax)
            asked = Asked(query, plan(query), AnswerEncoder(query, syntax, self._charset))
            self._memory.add(key, asked)
        return asked

    async def _answer(self, request: Request, key: Key, asked: Asked, course: _Course) -> int:
        """Send the matches; the final status."""
        pending = PENDING if asked.query.supported else PENDING_WARNING
        known = dict(asked.answers)  # as it is now: a query like this one may change it meanwhile
        after: tuple[str, int] | None = None
        while True:
            if request.cancelled:
                return CANCEL
            found = await asyncio.wrap_future(self._database.read(search, asked.criteria, after, PAGE, known))
            answers = await self._answers(key, asked, known, [one for one in found if one.id not in course.seen])
            room = self._max_answers - course.count
            sent = await request.respond_all(pending, [data for _, data in answers[:room]])
            course.count += sent
            course.seen.update(step for step, _ in answers[:sent])
            if request.cancelled:
                return CANCEL
            if len(answers) > room:
                course.comment = f"more than {self._max_answers} matches"
                return OUT_OF_RESOURCES
            if len(found) < PAGE:
                return SUCCESS
            after = (found[-1].start_at, found[-1].id)

    async def _answers(self, key: Key, asked: Asked, known: Known, found: Sequence[Found]) -> list[tuple[int, bytes]]:
        """Steps and encoded answers of those candidates that match; what is known is not worked out again."""
        ready = {
            one.id: known[one.id][1] for one in found if one.id in known and known[one.id][0] == one.revision
        }  # fmt: skip
        fresh = [one for one in found if one.id not in ready]
        if fresh:
            made = await _here_or_aside(len(fresh) <= INLINE, _prepare, fresh, asked.query, asked.encoder)
            self._memory.keep(key, made)
            ready.update((step, data) for step, (_, data) in made.items())
        return [(one.id, data) for one in found if (data := ready.get(one.id)) is not None]

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


async def _here_or_aside(little: bool, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work` returns; in a thread unless it is so little that a thread costs more."""
    return work(*args, **kwargs) if little else await asyncio.to_thread(work, *args, **kwargs)


def _read(data: bytes, transfer_syntax: str) -> Query:
    return parse(decode_identifier(data, transfer_syntax))


def _prepare(found: Sequence[Found], query: Query, encoder: AnswerEncoder) -> Known:
    """What the candidates say to a query.

    A step whose document cannot be used is left out with an error in the log: it must not hide all others.
    """
    answers: Known = {}
    for one in found:
        try:
            document = json.loads(one.answer)
            answers[one.id] = (one.revision, encoder.encode(document) if matches(document, query) else None)
        except Exception as error:
            telemetry.logger().error("worklist.step_unusable", error=telemetry.describe(error), key=one.id)
    return answers
