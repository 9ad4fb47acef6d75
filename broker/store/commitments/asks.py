"""Keeps requests of ours to archives. Each try has a Transaction UID of its own, which is stored before it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, insert, select, update

from broker.model.lane import JobKind, Lane, LaneKind
from broker.store import jobs
from broker.store.commitments.packing import pack_numbers, unpack_numbers, unpack_references
from broker.store.commitments.states import AskState, ObjectReference
from broker.store.jobs import NewJob
from broker.store.schema import tables

_t, _uid, _request = tables.commitment_ask, tables.commitment_uid, tables.commitment
_AWAITED = (AskState.WAITING, AskState.ASKED, AskState.UNANSWERED)  # a report that comes is taken


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveAsk:
    """A request to a node for objects of a request, by their places in its list. Times in s since the epoch.

    `answer`: of each object in the same order; empty until the node has reported.
    """

    id: int
    node: str
    attempt: int
    positions: Sequence[int]
    state: AskState
    asked_at: float
    answered_at: float
    answer: Sequence[int]


@dataclass(frozen=True, slots=True)
class AskedObjects:
    """A request to a node as it is sent or reported: the objects that it names, in its order."""

    id: int
    node: str
    state: AskState
    references: Sequence[ObjectReference]


def of_request(connection: Connection, request: int) -> list[ArchiveAsk]:
    """All requests to archives that a request of a modality has caused, the first one first."""
    query = select(_t).where(_t.c.commitment == request).order_by(_t.c.id)
    return [
        ArchiveAsk(
            id=row.id,
            node=row.node,
            attempt=row.attempt,
            positions=unpack_numbers(row.positions),
            state=AskState(row.state),
            asked_at=row.asked_at,
            answered_at=row.answered_at,
            answer=unpack_numbers(row.answer),
        )
        for row in connection.execute(query)
    ]


def add(connection: Connection, request: int, node: str, attempt: int, positions: Sequence[int], now: float) -> None:
    """Let a node be asked for objects."""
    values = {
        "commitment": request,
        "node": node,
        "attempt": attempt,
        "positions": pack_numbers(positions),
        "state": AskState.WAITING.value,
        "made_at": now,
        "asked_at": 0.0,
        "answered_at": 0.0,
        "answer": b"",
    }
    row = connection.execute(insert(_t).values(values).returning(_t.c.id)).scalar_one()
    lane = Lane(LaneKind.COMMITMENT, node).name
    jobs.enqueue(connection, [NewJob(kind=JobKind.COMMITMENT_ASK, lane=lane, subject=row, detail={})], now)


def begin(connection: Connection, ask: int, transaction_uid: str) -> AskedObjects | None:
    """Store the Transaction UID of a try; what is asked, or None for a request that is gone."""
    found = _named(connection, _t.c.id == ask)
    if found is not None:
        connection.execute(insert(_uid).values(transaction_uid=transaction_uid, ask=ask))
    return found


def asked(connection: Connection, ask: int, now: float) -> None:
    """The node has taken the request. It may have reported already."""
    waiting = _t.c.id == ask, _t.c.state == AskState.WAITING
    connection.execute(update(_t).where(*waiting).values(state=AskState.ASKED, asked_at=now))


def end(connection: Connection, ask: int, state: AskState, now: float) -> None:
    """A request ends without a report: the node did not take it, or did not report in time."""
    open_ = _t.c.id == ask, _t.c.state.in_((AskState.WAITING, AskState.ASKED))
    connection.execute(update(_t).where(*open_).values(state=state))
    _look(connection, ask, now)


def by_uid(connection: Connection, transaction_uid: str) -> AskedObjects | None:
    """The request that was sent with a Transaction UID; None for one that we have not sent."""
    found = select(_uid.c.ask).where(_uid.c.transaction_uid == transaction_uid)
    return _named(connection, _t.c.id == found.scalar_subquery())


def answer(connection: Connection, ask: int, results: Sequence[int], now: float) -> bool:
    """Keep what a node has reported of the objects of a request, in its order. False if it has reported before."""
    awaited = _t.c.id == ask, _t.c.state.in_(_AWAITED)
    values = {"state": AskState.ANSWERED.value, "answer": pack_numbers(results), "answered_at": now}
    taken = bool(connection.execute(update(_t).where(*awaited).values(values)).rowcount)
    if taken:
        _look(connection, ask, now)
    return taken


def _named(connection: Connection, condition: ColumnElement[bool]) -> AskedObjects | None:
    query = select(_t.c.id, _t.c.node, _t.c.state, _t.c.positions, _request.c.listed)
    row = connection.execute(query.join(_request, _request.c.id == _t.c.commitment).where(condition)).first()
    if row is None:
        return None
    references = unpack_references(row.listed)
    named = [references[position] for position in unpack_numbers(row.positions)]
    return AskedObjects(row.id, row.node, AskState(row.state), named)


def _look(connection: Connection, ask: int, now: float) -> None:
    """Let the request that caused one to an archive be looked at."""
    mine = select(_t.c.commitment).where(_t.c.id == ask).scalar_subquery()
    connection.execute(update(_request).where(_request.c.id == mine).values(due_at=now))
