"""Keeps what the same request was answered before. Devices ask the same every few seconds.

An answer stands for one revision of a step, and the revision comes with every row that a search finds, so what is
remembered is never stale. Bounded in requests and bytes, the request that was asked longest ago goes first. Used from
the event loop alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field

from broker import telemetry
from broker.store.worklist.candidates import Criteria
from broker.worklist.answer.encoder import AnswerEncoder
from broker.worklist.query.keys import Query

MAX_REQUEST = 4096  # bytes of an identifier; a longer one is read anew each time
MAX_REQUESTS = 1024
MAX_BYTES = 32 * 1024 * 1024  # of answers, and of requests as they were understood
MAX_ANSWERS = 10_000  # to one request; beyond, it begins anew
_UNDERSTOOD = 40  # bytes of a request as it was understood, for each of its identifier
_OVERHEAD = 160  # bytes of an entry beside its answer
_BYTES = telemetry.CACHE_BYTES.labels("worklist-answers")  # of all doors together

RequestKey = tuple[bytes, object]  # the identifier as it came, and all else that its reading and its answers depend on
Known = dict[int, tuple[int, bytes | None]]  # by step: its revision, the encoded answer or None where it does not match


@dataclass(slots=True)
class PreparedQuery:
    """A request as it was understood, and as its device is served; with its answers by step."""

    query: Query
    served: Query
    criteria: Criteria
    encoder: AnswerEncoder
    answers: Known = field(default_factory=dict)
    size: int = 0


class AnswerCache:
    """Prepared queries with their answers, in the order of their last use."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        """`max_bytes`: of all that is remembered."""
        self._prepared: OrderedDict[RequestKey, PreparedQuery] = OrderedDict()
        self._max_bytes = max_bytes
        self.size = 0

    def get(self, key: RequestKey) -> PreparedQuery | None:
        """The request, if it was prepared before."""
        prepared = self._prepared.get(key)
        if prepared is not None:
            self._prepared.move_to_end(key)
        return prepared

    def add(self, key: RequestKey, prepared: PreparedQuery) -> None:
        """Remember a request, unless it is long."""
        if len(key[0]) > MAX_REQUEST:
            return
        before = self.size
        self._forget(key)
        prepared.size = _request_cost(key)
        self._prepared[key] = prepared
        self.size += prepared.size
        while len(self._prepared) > MAX_REQUESTS or self.size > self._max_bytes:
            self._forget(next(iter(self._prepared)))
        _BYTES.inc(self.size - before)

    def keep(self, key: RequestKey, answers: Known) -> None:
        """Remember answers to a request that is still remembered itself."""
        prepared = self._prepared.get(key)
        if prepared is None:
            return
        whole = self.size
        for step, (revision, data) in answers.items():
            if len(prepared.answers) >= MAX_ANSWERS:
                self._resize(prepared, _request_cost(key) - prepared.size)
                prepared.answers.clear()
            before = prepared.answers.get(step)
            self._resize(prepared, _cost(data) - (_cost(before[1]) if before is not None else 0))
            prepared.answers[step] = (revision, data)
        while self.size > self._max_bytes and self._prepared:
            self._forget(next(iter(self._prepared)))
        _BYTES.inc(self.size - whole)

    def drop_all_but(self, key: RequestKey, steps: Collection[int]) -> None:
        """Forget answers of steps that a request does not find any more: they have ended or were moved."""
        prepared = self._prepared.get(key)
        if prepared is None or len(prepared.answers) <= len(steps):
            return
        found, before = set(steps), self.size
        for step in [step for step in prepared.answers if step not in found]:
            self._resize(prepared, -_cost(prepared.answers.pop(step)[1]))
        _BYTES.inc(self.size - before)

    def _resize(self, prepared: PreparedQuery, by: int) -> None:
        prepared.size += by
        self.size += by

    def _forget(self, key: RequestKey) -> None:
        gone = self._prepared.pop(key, None)
        if gone is not None:
            self.size -= gone.size


def _request_cost(key: RequestKey) -> int:
    return _OVERHEAD + _UNDERSTOOD * len(key[0])


def _cost(data: bytes | None) -> int:
    return _OVERHEAD + len(data or b"")
