"""Keeps back objects that a performed procedure step lists, and counts how many of them were received."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, select, text, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from broker.model.lane import JobKind, JobState
from broker.store.db.prepared import Prepared
from broker.store.schema import tables

WRONG_ENTRY = "wrong-entry"  # why a person must look, and error of deliveries that are held for it
MISSING = "images-missing"  # finding, and why a person must look
_LONGEST = 64  # characters of a UID (PS3.5 9.1)
AT_ONCE = 500  # UIDs in one question
_mpps, _instance, _job, _kept = tables.mpps, tables.instance, tables.job, tables.kept_back
# the job of an object that waits still, in one lane: both by index, whatever the backlog
_HOLD = Prepared(
    any=update(_job)
    .where(
        _job.c.kind == JobKind.DELIVER,
        _job.c.lane == bindparam("to"),
        _job.c.state == JobState.READY,
        _job.c.subject.in_(
            select(_instance.c.id).where(_instance.c.sop_instance_uid == bindparam("uid")).scalar_subquery()
        ),
    )
    .values(state=JobState.HELD, last_error=bindparam("why"))
)
_OPEN = text("status = 'COMPLETED' AND compared_at IS NULL")  # bare, as the partial index says it
_VALUES: dict[str, Any] = {"sop_instance_uid": bindparam("uid"), "mpps": bindparam("row")}
_KEEP = Prepared(
    sqlite=sqlite.insert(_kept).values(_VALUES).on_conflict_do_nothing(),
    postgresql=postgresql.insert(_kept).values(_VALUES).on_conflict_do_nothing(),
)
_IS_KEPT = Prepared(any=select(_kept.c.mpps).where(_kept.c.sop_instance_uid == bindparam("uid")))


@dataclass(frozen=True, slots=True)
class ListedObjects:
    """Of the objects that an MPPS lists: how many, how many of them are here, how many more its series have here."""

    listed: int
    here: int
    more: int
    study: bool  # anything of its studies is here

    @property
    def missing(self) -> int:
        """Listed and not here."""
        return self.listed - self.here


@dataclass(frozen=True, slots=True)
class ToCompare:
    """An MPPS (row) whose objects are to be looked for; `updated_at` in seconds since the epoch."""

    row: int
    calling_ae: str
    updated_at: float


def keep_back(connection: Connection, row: int, uids: Iterable[str], lanes: Sequence[str]) -> None:
    """Hold the deliveries of these SOP instances that have not begun, in these lanes, and of those that come later.

    `row` is the MPPS that lists them: made by a wrong worklist entry.
    """
    for uid in uids:
        if len(uid) > _LONGEST:  # nothing of that name can come, and no index takes any length
            continue
        _KEEP.rows(connection, {"uid": uid, "row": row})
        for lane in lanes:
            _HOLD.count(connection, {"to": lane, "uid": uid, "why": WRONG_ENTRY})


def is_kept_back(connection: Connection, uid: str) -> bool:
    """Whether a SOP instance that comes now is to be held. In the path of every object: one look into a small table."""
    return bool(_IS_KEPT.rows(connection, {"uid": uid}))


def to_compare(connection: Connection, before: float, place: tuple[float, int], limit: int) -> list[ToCompare]:
    """The next completed MPPS that nobody compared yet, last heard of before a time but after `place`."""
    here = tuple_(_mpps.c.updated_at, _mpps.c.id) > tuple_(*place)
    return _page(connection, and_(_OPEN, _mpps.c.updated_at <= before, here), limit)


def lacking(connection: Connection, place: tuple[float, int], limit: int) -> list[ToCompare]:
    """The next MPPS that lacked objects when they were compared, last heard of after `place`."""
    here = tuple_(_mpps.c.updated_at, _mpps.c.id) > tuple_(*place)
    return _page(connection, and_(_mpps.c.attention == MISSING, here), limit)


def _page(connection: Connection, which: ColumnElement[bool], limit: int) -> list[ToCompare]:
    at, row = _mpps.c.updated_at, _mpps.c.id
    query = select(row, _mpps.c.calling_ae, at).where(which).order_by(at, row).limit(limit)
    return [ToCompare(*row) for row in connection.execute(query)]


def compared(connection: Connection, row: int, at: float) -> None:
    """Note that an MPPS (row) was compared, `at` seconds since the epoch."""
    connection.execute(update(_mpps).where(_mpps.c.id == row).values(compared_at=at))


def here(connection: Connection, listed: set[str]) -> int:
    """How many of these SOP instances were received."""
    uid = _instance.c.sop_instance_uid
    found: set[str] = set()
    for part in _parts(listed):
        found.update(connection.execute(select(uid).where(uid.in_(part))).scalars())
    return len(found)


def count(connection: Connection, listed: set[str], series: set[str], studies: set[str]) -> ListedObjects:
    """What of these SOP instances, series and studies was received."""
    uid, study = _instance.c.sop_instance_uid, _instance.c.study_instance_uid
    here: set[str] = set()
    for part in _parts(listed):
        here.update(connection.execute(select(uid).where(uid.in_(part))).scalars())
    more: set[str] = set()
    for part in _parts(series):
        query = select(uid).where(study.in_(studies), _instance.c.series_instance_uid.in_(part))
        more.update(connection.execute(query).scalars())
    any_ = connection.execute(select(_instance.c.id).where(study.in_(studies)).limit(1)).first()
    return ListedObjects(len(listed), len(here), len(more - listed), any_ is not None)


def _parts(values: set[str]) -> Iterator[list[str]]:
    every = sorted(values)
    return (every[start : start + AT_ONCE] for start in range(0, len(every), AT_ONCE))
