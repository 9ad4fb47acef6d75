"""Serves C-FIND of the Modality Worklist SOP class (PS3.4 K.4.1)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from broker import telemetry
from broker.audit.tally import Tally
from broker.dicom.dataset.read import MAX_BYTES, BadElement
from broker.dicom.dimse import status as st
from broker.errors import BadContent, PeerFault, ProtocolViolation, StoreUnavailable, Unavailable
from broker.model.audit import AuditRecord
from broker.site.device import DEFAULT, Device
from broker.store.db.database import Database
from broker.store.worklist.candidates import Criteria, Found, search
from broker.store.worklist.outage import WorklistCopy
from broker.worklist.answer.cache import AnswerCache, Known, PreparedQuery, RequestKey
from broker.worklist.answering import PAGE, AnswerList, answers, prepared, understood
from broker.worklist.explain import recall
from broker.worklist.explain.memory import QueryMemory, QueryOutcome
from broker.worklist.query.keys import Query
from broker.worklist.query.negotiation import Agreed, agreed
from broker.worklist.query.timezone import differs

if TYPE_CHECKING:
    from broker.dicom.dimse.request import Request

P = ParamSpec("P")
T = TypeVar("T")
PATIENCE, HURRY = 5.0, 2.0  # seconds for the database before the copy answers: at first, and once it was away
NO_COPY = 9.0  # seconds for the database where there is no copy
RECENT = 60.0  # seconds for which a query without an answer tells of the next one
ANSWERED = (
    st.AnsweredStatus(st.PENDING, "A step matches. All keys of the query are supported."),
    st.AnsweredStatus(
        st.PENDING_WARNING,
        "A step matches. A key of the query is not known, or is not used for matching and has a value: it is returned "
        "without having been matched.",
    ),
    st.AnsweredStatus(st.SUCCESS, "All steps that match have been sent."),
    st.AnsweredStatus(st.CANCEL, "The device has cancelled the query by C-CANCEL."),
    st.AnsweredStatus(
        st.OUT_OF_RESOURCES,
        "More steps match than a query is answered with, or neither the database nor its copy answers. The Error "
        "Comment says which.",
    ),
    st.AnsweredStatus(
        st.DATASET_MISMATCH,
        "The identifier cannot be read, or a key has a value that cannot be read. Offending Element names the key.",
    ),
    st.AnsweredStatus(st.UNABLE_TO_PROCESS, "An internal error."),
)
INLINE = 16  # so few candidates, or bytes of an identifier below 4 KiB, are not worth a thread


@dataclass(slots=True)
class _Course:
    """The state of one query while it is answered, for the log."""

    device: Device = DEFAULT
    query: Query | None = None  # as it was asked
    size: int = 0  # bytes of its identifier
    listed: AnswerList = field(default_factory=lambda: AnswerList(0))
    status: int = st.UNABLE_TO_PROCESS
    comment: str = ""
    copied: bool = False  # answered from the copy, the database being away
    offending: int = 0  # tag of the key that could not be read
    asked: int = 0  # tells this identifier from others


class WorklistService:
    """Answers worklist queries from the database."""

    def __init__(
        self,
        database: Database,
        *,
        max_answers: int,
        charset: str,
        zone: tzinfo = UTC,
        profile: Callable[[str, str], Device] = lambda calling_ae, address: DEFAULT,
        memory: QueryMemory | None = None,
        copy: WorklistCopy | None = None,
        tally: Tally | None = None,
    ) -> None:
        """`max_answers` per query, then A700; `charset` of answers where the request's own set does not do.

        `profile`: of a device by calling AE title and address; `zone`: of the site, whose wall clock the orders hold;
        `memory` keeps what was asked; `copy` answers while the database is away;
        `tally` counts queries for the audit trail.
        """
        self._profile = profile
        self._memory = memory
        self._tally = tally or Tally()
        self._cache = AnswerCache()
        self._copy = copy
        self._patience = PATIENCE if copy else NO_COPY
        self._database = database
        self._max_answers = max_answers
        self._charset = charset
        self._zone = zone
        self._unanswered = 0  # queries in a row that trouble of ours left without an answer
        self._unanswered_at = 0.0

    @property
    def unanswered(self) -> int:
        """How many queries in a row had no answer by trouble of ours; 0 after a minute without one."""
        return self._unanswered if time.monotonic() - self._unanswered_at < RECENT else 0

    async def find(self, request: Request) -> None:
        """Handle one C-FIND: pending answers, then the final status.

        Raises PeerFault or ProtocolViolation when the association is lost: nobody is left to answer.
        """
        started = time.perf_counter()
        course = _Course()
        peer = request.peer
        try:
            course.device = self._profile(peer.calling_ae, peer.address)
            options = agreed(request.peer.extended.get(request.context.abstract_syntax))
            key = await self._key(request, course.device, options)
            course.size, course.asked = len(key[0]), hash(key[0])
            ready = await self._understand(key, request, course.device, options)
            course.query = ready.query
            course.status = await self._answer(request, key, ready, course)
            course.comment = course.listed.comment
            self._unanswered = 0
        except (ProtocolViolation, PeerFault, OSError):
            raise
        except BadContent as error:
            course.status, course.comment = st.DATASET_MISMATCH, str(error)[:64]
            course.offending = error.tag if isinstance(error, BadElement) else 0
        except Unavailable as error:
            telemetry.logger().warning("worklist.unavailable", error=telemetry.describe(error))
            course.status, course.comment = st.OUT_OF_RESOURCES, "database not available"
            self._failed()
        except Exception as error:
            telemetry.logger().error("worklist.failed", error=telemetry.describe(error))
            course.comment = "internal error"
            self._failed()
        duration = time.perf_counter() - started
        telemetry.QUERIES.observe(duration)
        self._log(request, course, duration)
        self._note(peer.calling_ae, peer.address, course)
        if self._memory is not None:
            outcome = QueryOutcome(
                time.time(), course.query, course.listed.count, course.status, duration, course.comment, course.size
            )
            self._memory.remember(peer.calling_ae, peer.address, outcome)
        await request.respond(course.status, comment=course.comment, offending=course.offending)

    def _note(self, calling_ae: str, address: str, course: _Course) -> None:
        """Let the audit trail know. The same query again is counted; a single step that it shows is named."""
        step = next(iter(course.listed.seen)) if len(course.listed.seen) == 1 else 0
        query, count, status, at = course.query, course.listed.count, f"{course.status:04X}", time.time()

        def record() -> AuditRecord:
            keys = recall.summary(recall.encode(query, b"")) if query is not None else None
            detail = {"keys": keys or {}, "count": count, "status": status}
            actor = f"dicom:{calling_ae}"
            return AuditRecord(
                at=at,
                actor=actor,
                action="worklist.queried",
                kind="worklist",
                object_id=step,
                detail=detail,
                address=address,
            )

        self._tally.repeated((calling_ae, address, course.asked, step), record)

    def _failed(self) -> None:
        self._unanswered = self.unanswered + 1
        self._unanswered_at = time.monotonic()

    @staticmethod
    async def _key(request: Request, device: Device, options: Agreed) -> RequestKey:
        """The identifier, and all else that its reading and its answers depend on beside the steps."""
        data = await request.data.read_all(MAX_BYTES)
        own = None if device is DEFAULT else (request.peer.calling_ae, device.digest)
        return data, (request.context.transfer_syntax, options, own)

    async def _understand(self, key: RequestKey, request: Request, device: Device, options: Agreed) -> PreparedQuery:
        """The request made ready to be answered; kept for the next one that is the same."""
        ready = self._cache.get(key)
        if ready is None:
            syntax, calling = request.context.transfer_syntax, request.peer.calling_ae
            query = await _here_or_aside(len(key[0]) < 4096, understood, key[0], syntax, options)
            ready = prepared(query, device, calling, datetime.now(self._zone), syntax, self._charset)
            if query.named or not device.windowed:  # a window moves with the clock
                self._cache.add(key, ready)
        return ready

    async def _answer(self, request: Request, key: RequestKey, ready: PreparedQuery, course: _Course) -> int:
        """Send the matches; the final status."""
        if ready.served.view.empty:
            return st.SUCCESS
        listed = course.listed = AnswerList(course.device.max_answers or self._max_answers)
        pending = st.PENDING if ready.served.supported else st.PENDING_WARNING
        known = dict(ready.answers)  # as it is now: a query like this one may change it meanwhile
        while True:
            if request.cancelled:
                return st.CANCEL
            candidates = await self._page(ready.criteria, listed.after, known, course)
            made = await self._answers(key, ready, known, listed.fresh(candidates))
            due = listed.due(made)
            gone = await request.respond_all(pending, [data for _, data in due])
            listed.sent(due[:gone])
            if request.cancelled:
                return st.CANCEL
            status = listed.status(candidates, len(made) - len(due))
            if status == st.SUCCESS:
                self._cache.drop_all_but(key, listed.found)
            if status is not None:
                return status

    async def _answers(
        self, key: RequestKey, ready: PreparedQuery, known: Known, candidates: Sequence[Found]
    ) -> list[tuple[int, bytes]]:
        """Steps and encoded answers of those candidates that match; what is known is not worked out again."""
        data_of = {
            candidate.id: known[candidate.id][1]
            for candidate in candidates
            if candidate.id in known and known[candidate.id][0] == candidate.revision
        }
        fresh = [candidate for candidate in candidates if candidate.id not in data_of]
        if fresh:
            little = len(fresh) <= INLINE
            worked_out = await _here_or_aside(little, answers, fresh, ready.served, ready.encoder, self._zone)
            self._cache.keep(key, worked_out)
            data_of.update((step, data) for step, (_, data) in worked_out.items())
        return [(candidate.id, data) for candidate in candidates if (data := data_of.get(candidate.id)) is not None]

    async def _page(
        self, criteria: Criteria, after: tuple[str, int] | None, known: Known, course: _Course
    ) -> list[Found]:
        """The next candidates: of the database, of the copy while that is away or does not answer in time."""
        read = self._database.read(search, criteria, after, PAGE, known)
        try:
            async with asyncio.timeout(self._patience):
                candidates = await asyncio.wrap_future(read)
        except (Unavailable, TimeoutError):
            if self._copy is None:
                raise StoreUnavailable("the database does not answer") from None
            self._patience = HURRY
            try:
                candidates = await asyncio.to_thread(self._copy.search, criteria, after, PAGE)
            except Unavailable:
                telemetry.WORKLIST_COPY_QUERIES.labels("refused").inc()
                raise
            if not course.copied:
                telemetry.WORKLIST_COPY_QUERIES.labels("answered").inc()
            course.copied = True
            return candidates
        self._patience = PATIENCE if self._copy else NO_COPY
        return candidates

    def _log(self, request: Request, course: _Course, duration: float) -> None:
        query = course.query
        remarks = list(query.remarks) if query else []
        if query is not None and query.said_offset is not None and differs(query.said_offset, self._zone):
            remarks.append("other-timezone")
        telemetry.logger().info(
            "worklist.query",
            calling_ae=request.peer.calling_ae,
            count=course.listed.count,
            status=f"{course.status:04X}",
            duration=round(duration, 4),
            mode=",".join(query.named) if query else "",
            state="copy" if course.copied else None,
            reason=",".join(remarks) or None,
        )


async def _here_or_aside(little: bool, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work` returns; in a thread unless it is so little that a thread costs more."""
    return work(*args, **kwargs) if little else await asyncio.to_thread(work, *args, **kwargs)
