"""Measures pieces of work as spans of a trace. Without `[traces] endpoint` nothing is kept: each call asks that first.

The trace of a piece of work has the number of its correlation (`broker.correlation`), in hexadecimal digits as the log
writes it, with zeros in front. So a line of the log leads to its trace and back, and whatever one message or object
causes is one trace, in each process and after a restart, with nothing but the correlation that a job keeps anyway.

What a span tells comes from closed lists: `Step`, `Key`, codes of ours, names of nodes of the site. Nothing that a peer
chose freely is kept, and nothing of a patient.
"""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Literal, Protocol, Self

from broker import correlation
from broker.errors import BrokerError

MESSAGES = frozenset({"ORM", "OMI", "OMG", "OML", "ORU", "OUL", "ADT", "SIU", "MDM", "DFT", "BAR", "ACK", "QRY"})
NOTED = 64  # characters of a text


class TracedStep(StrEnum):
    """The name of a span."""

    HL7 = "HL7 message"
    CONVERT = "convert"
    WRITE = "write"
    ANSWER = "answer"
    STORE = "C-STORE"
    FIND = "C-FIND"
    MPPS_CREATE = "MPPS N-CREATE"
    MPPS_SET = "MPPS N-SET"
    HTTP = "HTTP request"
    QUEUED = "queued"
    DELIVERY = "delivery"


ENTERS = frozenset(
    {TracedStep.HL7, TracedStep.STORE, TracedStep.FIND, TracedStep.MPPS_CREATE, TracedStep.MPPS_SET, TracedStep.HTTP}
)  # from outside
LEAVES = frozenset({TracedStep.DELIVERY})  # to another system
ROOTS = frozenset(
    {TracedStep.DELIVERY, TracedStep.QUEUED}
)  # the task of a lane may have begun in a request about something else


class SpanKey(StrEnum):
    """What a span may tell."""

    CORRELATION = "broker.correlation"
    NODE = "broker.node"
    KIND = "broker.kind"
    ATTEMPT = "broker.attempt"
    OUTCOME = "broker.outcome"
    REASON = "broker.reason"
    TYPE = "hl7.type"
    CODE = "hl7.answer"
    STATUS = "dicom.status"
    METHOD = "http.request.method"
    ROUTE = "http.route"
    HTTP_STATUS = "http.response.status_code"
    ERROR = "error.type"


class Work(Protocol):
    """What a job tells of itself: `lane` is its kind and its node, `correlation` the name of the work that made it."""

    @property
    def kind(self) -> str:
        """What is delivered, like `object`."""
        ...

    @property
    def lane(self) -> str:
        """The kind and the node, as `kind:node`."""
        ...

    @property
    def attempts(self) -> int:
        """How often it was tried before."""
        ...

    @property
    def created_at(self) -> float:
        """When it was queued, in seconds since 1970."""
        ...

    @property
    def correlation(self) -> str:
        """The name of the work that made it."""
        ...


class Sink(Protocol):
    """Takes spans that are over. It does not wait, and raises nothing."""

    def take(self, span: TraceSpan) -> None:
        """Keep a span, or count it as dropped."""


_sink: Sink | None = None  # of this process, as its metrics and loggers are
_current: ContextVar[TraceSpan | None] = ContextVar("span", default=None)


def use(sink: Sink | None) -> None:
    """Give spans to this sink from now on; None: measure nothing."""
    global _sink  # like loggers: every door asks for it
    _sink = sink


class NoSpan:
    """Stands for a span where none is kept."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> Literal[False]:
        return False

    def note(self, key: SpanKey, value: str | int) -> None:
        """Forget it."""

    def follow(self, link: str) -> None:
        """Forget it."""


@dataclass(slots=True, eq=False)
class TraceSpan:
    """A piece of work. A context: it begins and ends with it. Its trace is that of the correlation at its end."""

    step: TracedStep
    number: int = 0
    parent: int = 0
    correlation: str = ""
    began: int = 0  # ns since 1970
    ended: int = 0
    failed: bool = False
    link: str = ""  # the traceparent of a caller, of the right form
    notes: dict[SpanKey, str | int] = field(default_factory=dict)
    _token: Token[TraceSpan | None] | None = None

    def __enter__(self) -> Self:
        above = None if self.step in ROOTS else _around()
        self.number, self.parent = int.from_bytes(os.urandom(8)) or 1, above.number if above is not None else 0
        self.began = self.began or time.time_ns()
        self._token = _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        if self._token is not None:
            _current.reset(self._token)
            self._token = None
        if error is not None:
            self.failed = True
            self.note(SpanKey.ERROR, error.code if isinstance(error, BrokerError) else type(error).__name__)
        self.ended, self.correlation = time.time_ns(), correlation.current()
        if _sink is not None:
            _sink.take(self)
        return False

    def note(self, key: SpanKey, value: str | int) -> None:
        """Tell something: a word of a closed list, a number, or the name of a node."""
        self.notes[key] = value[:NOTED] if isinstance(value, str) else value

    def follow(self, link: str) -> None:
        """Name the span of a caller that had this one done, as W3C traceparent. It decides nothing here."""
        self.link = link


_NOTHING = NoSpan()


def _around() -> TraceSpan | None:
    """The span around, unless it is over: a task that it began lives longer."""
    above = _current.get()
    return None if above is None or above.ended else above


def measuring() -> bool:
    """Spans are kept in this process."""
    return _sink is not None


def span(step: TracedStep | None) -> TraceSpan | NoSpan:
    """A span for the work in a `with`; None: of work that is not measured."""
    return _NOTHING if _sink is None or step is None else TraceSpan(step)


def note(key: SpanKey, value: str | int) -> None:
    """Tell something of the span around, if there is one."""
    if _sink is not None and (above := _around()) is not None:
        above.note(key, value)


def attempt(job: Work) -> AbstractContextManager[object]:
    """Try a job: under its correlation, in a span. The first try tells how long it waited in the queue too."""
    return correlation.during(job.correlation) if _sink is None else _Attempt(job)


class _Attempt:
    def __init__(self, job: Work) -> None:
        self._job = job
        self._during = correlation.during(job.correlation)
        self._span = TraceSpan(TracedStep.DELIVERY)

    def __enter__(self) -> TraceSpan:
        self._during.__enter__()
        _, _, node = self._job.lane.partition(":")
        if self._job.attempts == 1:
            with TraceSpan(TracedStep.QUEUED, began=int(self._job.created_at * 1e9)) as queued:
                queued.note(SpanKey.NODE, node)
        self._span.note(SpanKey.NODE, node)
        self._span.note(SpanKey.KIND, self._job.kind)
        self._span.note(SpanKey.ATTEMPT, self._job.attempts)
        return self._span.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self._span.__exit__(kind, error, trace)
        self._during.__exit__(kind, error, trace)
        return False


def tell_message(kind: str, answer: str) -> None:
    """Tell the type of an HL7 message (MSH-9.1) and its acknowledgement."""
    if _sink is not None:
        note(SpanKey.TYPE, word(kind, MESSAGES))
        note(SpanKey.CODE, answer)


def word(value: str, words: frozenset[str]) -> str:
    """A word that somebody else chose, if it is one of these."""
    return value if value in words else "other"
