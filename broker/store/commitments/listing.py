"""Lists requests of modalities with how far each is, and shows one with its objects and what archives were asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Select, func, or_, select

from broker.model.lane import JobKind, JobState
from broker.store.commitments.packing import unpack_numbers, unpack_references
from broker.store.commitments.states import OPEN, CommitmentState, ObjectReference
from broker.store.schema import tables

Progress = Literal["waiting", "telling", "held", "told", "given-up"]
_t, _job, _object, _ask = tables.commitment, tables.job, tables.commitment_object, tables.commitment_ask
_BY_JOB: dict[str | None, Progress] = {
    JobState.READY: "telling",
    JobState.LEASED: "telling",
    JobState.HELD: "held",
    JobState.DONE: "told",
    JobState.DISCARDED: "given-up",
    None: "told",  # its job is old, and is kept no more
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentLine:
    """A request and how far it is. `duplicate`: another one had its Transaction UID. Times in s since the epoch.

    `progress`: `waiting` until all objects are judged, `telling` while its node is to be told, `held` if that needs a
    person, `told`, or `given-up` by a person. `error`: why it was not told yet. `judged_at` is None while it waits.
    """

    id: int
    transaction_uid: str
    node: str
    calling_ae: str
    peer: str
    received_at: float
    objects: int
    committed: int
    failed: int
    progress: Progress
    error: str
    tries: int
    duplicate: bool
    judged_at: float | None


@dataclass(frozen=True, slots=True)
class JudgedObject:
    """An object of a request, by its place in the list, and its result: OPEN, COMMITTED or a failure reason."""

    position: int
    reference: ObjectReference
    reason: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AskLine:
    """What a node was asked for. Times in seconds since the epoch, 0 for never."""

    node: str
    attempt: int
    state: str
    objects: int
    asked_at: float
    answered_at: float


def lines(
    connection: Connection, node: str, progress: Progress | None, before: int, limit: int
) -> list[CommitmentLine]:
    """The newest requests before a row; of one node, and that are so far, if that is named."""
    query = _lines().where(_t.c.id < before).order_by(_t.c.id.desc()).limit(limit)
    if node:
        query = query.where(_t.c.node == node)
    if progress == "waiting":
        query = query.where(_t.c.state == CommitmentState.OPEN)
    elif progress is not None:
        states = [state for state, word in _BY_JOB.items() if word == progress]
        told: ColumnElement[bool] = _job.c.state.in_([state for state in states if state is not None])
        told = or_(told, _job.c.state.is_(None)) if None in states else told
        query = query.where(_t.c.state == CommitmentState.JUDGED, told)
    return _with_counts(connection, query)


def line(connection: Connection, row: int) -> CommitmentLine | None:
    """A request; None for an unknown row."""
    return next(iter(_with_counts(connection, _lines().where(_t.c.id == row))), None)


def objects(connection: Connection, row: int, after: int, limit: int) -> list[JudgedObject]:
    """The objects of a request behind a place in its list."""
    found = connection.execute(select(_t.c.listed, _t.c.verdict).where(_t.c.id == row)).first()
    if found is None:
        return []
    listed, verdict = unpack_references(found.listed), unpack_numbers(found.verdict)
    places = range(after + 1, min(after + 1 + limit, len(listed)))
    if not verdict:
        here = _object.c.commitment == row, _object.c.position > after, _object.c.position <= after + limit
        rows = connection.execute(select(_object.c.position, _object.c.reason).where(*here))
        known: dict[int, int] = {row[0]: row[1] for row in rows}
        return [JudgedObject(place, listed[place], known.get(place, OPEN)) for place in places]
    return [JudgedObject(place, listed[place], verdict[place]) for place in places]


def questions(connection: Connection, row: int) -> list[AskLine]:
    """What nodes were asked for a request, the first one first."""
    query = select(_ask).where(_ask.c.commitment == row).order_by(_ask.c.id)
    return [
        AskLine(
            node=one.node,
            attempt=one.attempt,
            state=one.state,
            objects=len(unpack_numbers(one.positions)),
            asked_at=one.asked_at,
            answered_at=one.answered_at,
        )
        for one in connection.execute(query)
    ]


def _lines() -> Select[Any]:
    told = (_job.c.subject == _t.c.id) & (_job.c.kind == JobKind.COMMITMENT_REPORT.value)
    columns = (_t.c.id, _t.c.transaction_uid, _t.c.repeat, _t.c.node, _t.c.calling_ae, _t.c.peer, _t.c.received_at)
    more = (_t.c.count.label("objects"), _t.c.state, _t.c.committed, _t.c.judged_at)
    of_job = (_job.c.state.label("job"), _job.c.last_error, _job.c.attempts)
    return select(*columns, *more, *of_job).outerjoin(_job, told)


def _with_counts(connection: Connection, query: Select[Any]) -> list[CommitmentLine]:
    rows = connection.execute(query).all()
    judged = _settled(connection, [row.id for row in rows if row.state == CommitmentState.OPEN])
    found = []
    for row in rows:
        waits = row.state == CommitmentState.OPEN
        committed, failed = judged.get(row.id, (0, 0)) if waits else (row.committed, row.objects - row.committed)
        progress: Progress = "waiting" if waits else _BY_JOB[row.job]
        found.append(
            CommitmentLine(
                id=row.id,
                transaction_uid=row.transaction_uid,
                node=row.node,
                calling_ae=row.calling_ae,
                peer=row.peer,
                received_at=row.received_at,
                objects=row.objects,
                committed=committed,
                failed=failed,
                progress=progress,
                error=row.last_error or "" if progress in ("telling", "held") else "",
                tries=row.attempts or 0,
                duplicate=row.repeat > 0,
                judged_at=row.judged_at,
            )
        )
    return found


def _settled(connection: Connection, requests: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Of requests (rows) that wait: how many objects are committed, and how many have failed."""
    found: dict[int, tuple[int, int]] = {}
    for row in requests:
        here = _object.c.commitment == row, _object.c.reason != OPEN
        reasons = select(_object.c.reason, func.count()).where(*here).group_by(_object.c.reason)
        counts: dict[int, int] = {row[0]: row[1] for row in connection.execute(reasons)}
        found[row] = counts.get(0, 0), sum(counts.values()) - counts.get(0, 0)
    return found
