"""Keeps the messages that were sent to a RIS with the answers that came, and the jobs that send them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from broker.model.lane import JobKind, JobState, parts_of
from broker.model.message import SentMessage
from broker.store.db import documents
from broker.store.db.prepared import Prepared
from broker.store.schema import tables

MOST = 500  # of one order
_t, _job = tables.sent_message, tables.job
_RECORD = Prepared(any=insert(_t).values({c.name: bindparam(c.name) for c in _t.c if c.name != "id"}))
_ENDED = (JobState.DONE, JobState.DISCARDED, JobState.HELD)  # of jobs that may be begun again


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackJob:
    """A job that tells a RIS of an order. `error`: of the last try; times in seconds since the epoch."""

    id: int
    kind: str
    lane: str
    state: JobState
    failures: int
    due_at: float
    error: str
    created_at: float
    done_at: float | None
    detail: dict[str, Any]

    @property
    def node(self) -> str:
        """The RIS that is told."""
        return parts_of(self.lane)[1]

    @property
    def event(self) -> str:
        """What it is told (`orders.telling.feedback.OrderEvent`)."""
        return str(self.detail.get("event", ""))

    @property
    def ended(self) -> bool:
        """It may be begun again."""
        return self.state in _ENDED


def record(connection: Connection, message: SentMessage) -> None:
    """Append a try with its answer."""
    values = asdict(message)
    del values["row"]
    _RECORD.rows(connection, values)


def load(connection: Connection, row: int) -> SentMessage | None:
    """A row of the journal with its bytes."""
    found = connection.execute(select(_t).where(_t.c.id == row)).mappings().one_or_none()
    return SentMessage(**{"row" if name == "id" else name: value for name, value in found.items()}) if found else None


def jobs_of(connection: Connection, order: int, lanes: Sequence[str]) -> list[FeedbackJob]:
    """Jobs of some lanes that tell of an order (row), the newest first."""
    found = []
    for lane in lanes:  # each is a range of the index
        query = select(_job).where(_job.c.lane == lane, _job.c.group_key == f"order:{order}")
        found += [_of(row) for row in connection.execute(query.order_by(_job.c.id.desc()).limit(MOST))]
    return sorted(found, key=lambda job: job.id, reverse=True)


def load_job(connection: Connection, job: int) -> FeedbackJob | None:
    """A job that tells a RIS of an order; None for another one."""
    kinds = (JobKind.FEEDBACK, JobKind.IMAGES)
    row = connection.execute(select(_job).where(_job.c.id == job, _job.c.kind.in_(kinds))).one_or_none()
    return _of(row) if row is not None else None


def begin_again(connection: Connection, job: int, detail: dict[str, Any], now: float) -> bool:
    """Make a job ready again, with another detail, as if it were new; False if it has not ended."""
    fresh: dict[str, Any] = {"state": JobState.READY, "due_at": now, "created_at": now, "done_at": None}
    fresh |= {"failures": 0, "last_error": "", "detail": documents.encode(detail)}
    done = connection.execute(update(_job).where(_job.c.id == job, _job.c.state.in_(_ENDED)).values(**fresh))
    return bool(done.rowcount)


def _of(row: Any) -> FeedbackJob:
    return FeedbackJob(
        id=row.id,
        kind=row.kind,
        lane=row.lane,
        state=JobState(row.state),
        failures=row.failures,
        due_at=row.due_at,
        error=row.last_error,
        created_at=row.created_at,
        done_at=row.done_at,
        detail=documents.decode(row.detail),
    )
