"""Takes requests of modalities, and says which are to be looked at. What becomes of their objects: `judged.py`.

A request and its list are one row, which is there before the modality is answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Select, case, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from broker.dicom.dimse import status as st
from broker.model.lane import UNFINISHED, JobKind, JobState, Lane, LaneKind
from broker.store import jobs
from broker.store.commitments.packing import pack_numbers, pack_references, unpack_numbers, unpack_references
from broker.store.commitments.states import CommitmentState, ObjectReference
from broker.store.db.engine import is_sqlite
from broker.store.jobs import Job, NewJob
from broker.store.schema import tables

MOST_OPEN = 1_000  # requests of one node that are not judged
MOST_OBJECTS = 1_000_000  # that these name together
_TRIES = 5  # to insert while the same Transaction UID comes on other associations
_t, _job = tables.commitment, tables.job


class Taking(StrEnum):
    """Says what became of a request that came."""

    NEW = "new"
    REPEATED = "repeated"  # the same one came again before its result was told
    DUPLICATE = "duplicate"  # another one had its Transaction UID
    TOO_MANY = "too-many-open"  # its node waits for too many already


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCommitment:
    """A request as it came from a node. Time in seconds since the epoch; `references` name no object twice."""

    transaction_uid: str
    node: str
    calling_ae: str
    called_ae: str
    peer: str
    received_at: float
    references: Sequence[ObjectReference]


@dataclass(frozen=True, slots=True)
class TakenRequest:
    """What became of a request, and its row; 0 for none."""

    taking: Taking
    row: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCommitment:
    """A request that is not judged. `filed`: the first objects of it that have rows."""

    id: int
    node: str
    received_at: float
    references: Sequence[ObjectReference]
    due_at: float
    looks: int
    filed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentReport:
    """What a modality is to be told: of each object its result, COMMITTED or a failure reason."""

    transaction_uid: str
    node: str
    references: Sequence[ObjectReference]
    verdict: Sequence[int]


def take(connection: Connection, new: NewCommitment) -> TakenRequest:
    """Store a request; see `Taking`. A duplicate has its result at once: it failed for each object."""
    listed, digest = pack_references(new.references)
    for _ in range(_TRIES):
        before = _before(connection, new.transaction_uid)
        for row in before:
            told = row.state == CommitmentState.JUDGED and row.job not in UNFINISHED
            if row.digest == digest and row.node == new.node and not told:
                return TakenRequest(Taking.REPEATED, row.id)
        if _too_many(connection, new):
            return TakenRequest(Taking.TOO_MANY)
        duplicate = bool(before)
        values = {
            "transaction_uid": new.transaction_uid,
            "repeat": len(before),
            "node": new.node,
            "calling_ae": new.calling_ae,
            "called_ae": new.called_ae,
            "peer": new.peer,
            "received_at": new.received_at,
            "count": len(new.references),
            "listed": listed,
            "digest": digest,
            "state": (CommitmentState.JUDGED if duplicate else CommitmentState.OPEN).value,
            "due_at": new.received_at,
            "looks": 0,
            "filed": 0,
            "verdict": pack_numbers([st.DUPLICATE_TRANSACTION_UID] * len(new.references)) if duplicate else b"",
            "committed": 0,
            "judged_at": new.received_at if duplicate else None,
        }
        dialect = sqlite if is_sqlite(connection) else postgresql
        added = dialect.insert(_t).values(values).on_conflict_do_nothing().returning(_t.c.id)
        if (row := connection.execute(added).scalar()) is None:
            continue  # the same Transaction UID was committed on another association at this moment
        if duplicate:
            _tell(connection, row, new.node, new.received_at)
        return TakenRequest(Taking.DUPLICATE if duplicate else Taking.NEW, row)
    return TakenRequest(Taking.TOO_MANY)


def _before(connection: Connection, transaction_uid: str) -> Sequence[Any]:
    """Requests with a Transaction UID, the first one first, each with the state of the job that tells its result."""
    told = (_job.c.subject == _t.c.id) & (_job.c.kind == JobKind.COMMITMENT_REPORT.value)
    query = select(_t.c.id, _t.c.node, _t.c.digest, _t.c.state, _job.c.state.label("job")).outerjoin(_job, told)
    return connection.execute(query.where(_t.c.transaction_uid == transaction_uid).order_by(_t.c.repeat)).all()


def _too_many(connection: Connection, new: NewCommitment) -> bool:
    here = _t.c.node == new.node, _t.c.state == CommitmentState.OPEN
    requests, objects = connection.execute(select(func.count(), func.sum(_t.c.count)).where(*here)).one()
    return requests >= MOST_OPEN or (objects or 0) + len(new.references) > MOST_OBJECTS


def _tell(connection: Connection, row: int, node: str, now: float) -> None:
    """Let the modality be told the result of a request."""
    lane = Lane(LaneKind.COMMITMENT, node).name
    jobs.enqueue(connection, [NewJob(kind=JobKind.COMMITMENT_REPORT, lane=lane, subject=row, detail={})], now)


def due(connection: Connection, now: float, longest: float, limit: int) -> list[int]:
    """Requests (rows) that are to be looked at; one that is due later than `longest` was put off by a wrong clock."""
    open_ = _t.c.state == CommitmentState.OPEN
    late = or_(_t.c.due_at <= now, _t.c.due_at > now + longest)
    return list(connection.execute(select(_t.c.id).where(open_, late).order_by(_t.c.due_at).limit(limit)).scalars())


def load(connection: Connection, row: int) -> OpenCommitment | None:
    """A request; None for one that is judged or gone."""
    columns = (_t.c.id, _t.c.node, _t.c.received_at, _t.c.listed, _t.c.due_at, _t.c.looks, _t.c.filed)
    found = connection.execute(select(*columns).where(_t.c.id == row, _t.c.state == CommitmentState.OPEN)).first()
    if found is None:
        return None
    return OpenCommitment(
        id=found.id,
        node=found.node,
        received_at=found.received_at,
        references=unpack_references(found.listed),
        due_at=found.due_at,
        looks=found.looks,
        filed=found.filed,
    )


def put_off(connection: Connection, seen: OpenCommitment, due_at: float) -> None:
    """Look at a request again at a time, but at once if something has happened since it was `seen`."""
    again = case((_t.c.due_at == seen.due_at, due_at), else_=_t.c.due_at)
    connection.execute(update(_t).where(_t.c.id == seen.id).values(due_at=again, looks=_t.c.looks + 1))


def close(connection: Connection, row: int, verdict: Sequence[int], now: float) -> bool:
    """All objects of a request are judged: keep the results, and let its modality be told. False if it was closed."""
    values = {"state": CommitmentState.JUDGED.value, "verdict": pack_numbers(verdict), "judged_at": now}
    values["committed"] = sum(one == 0 for one in verdict)
    these = _t.c.id == row, _t.c.state == CommitmentState.OPEN
    node = connection.execute(update(_t).where(*these).values(values).returning(_t.c.node)).scalar()
    if node is None:
        return False
    _tell(connection, row, node, now)
    return True


def report(connection: Connection, row: int) -> CommitmentReport | None:
    """What a modality is to be told of a request; None for one that is not judged or gone."""
    columns = (_t.c.transaction_uid, _t.c.node, _t.c.listed, _t.c.verdict)
    found = connection.execute(select(*columns).where(_t.c.id == row, _t.c.state == CommitmentState.JUDGED)).first()
    if found is None:
        return None
    return CommitmentReport(
        transaction_uid=found.transaction_uid,
        node=found.node,
        references=unpack_references(found.listed),
        verdict=unpack_numbers(found.verdict),
    )


def is_untold(connection: Connection, node: str, *, tried: bool) -> bool:
    """A node is to be told the result of a request, and nobody tells it now. `tried`: that has failed before."""
    return connection.execute(_untold(node, tried).limit(1)).first() is not None


def take_untold(connection: Connection, node: str, owner: str, now: float, lease: float, *, tried: bool) -> Job | None:
    """Lease the oldest job that tells a node a result, whenever it is due; None without one. `tried`: see `is_untold`.

    For who has an association of the node at hand. Nobody is told while a person has paused the node.
    """
    oldest = _untold(node, tried).order_by(_job.c.id).limit(1)
    values = {"state": JobState.LEASED, "lease_owner": owner, "lease_until": now + lease}
    counted = {"attempts": _job.c.attempts + 1, "fence": _job.c.fence + 1}
    taken = (
        update(_job)
        .where(_job.c.id == oldest.scalar_subquery(), _job.c.state == JobState.READY)
        .values(values | counted)
        .returning(_job.c.id, _job.c.lane, _job.c.subject, _job.c.attempts, _job.c.failures, _job.c.fence)
    )
    row = connection.execute(taken.returning(_job.c.created_at)).first()
    if row is None:
        return None
    return Job(
        id=row.id,
        kind=JobKind.COMMITMENT_REPORT,
        lane=row.lane,
        subject=row.subject,
        detail={},
        attempts=row.attempts,
        failures=row.failures,
        fence=row.fence,
        created_at=row.created_at,
    )


def _untold(node: str, tried: bool) -> Select[tuple[int]]:
    lane = Lane(LaneKind.COMMITMENT, node).name
    here = _job.c.lane == lane, _job.c.state == JobState.READY, _job.c.kind == JobKind.COMMITMENT_REPORT
    more = (_job.c.attempts > 0,) if tried else ()
    paused = select(tables.pause.c.node).where(tables.pause.c.node == node).exists()
    return select(_job.c.id).where(*here, *more, ~paused)
