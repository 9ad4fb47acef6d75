"""Deletes old rows that nobody needs any more, in small steps. A rule says which; `service.housekeeping` when.

A rule finds rows in pages and deletes them by their keys, and asks its condition again in the transaction that deletes.
Tables that grow at their end are walked by row number: the walk ends at the first page without an old row, so that it
reads what is old and no more. The others are read by an index of their age. What a condition asks of another table is a
scalar subquery: of EXISTS PostgreSQL may hash the whole of that table.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, and_, delete, func, or_, select, text

from broker.model.lane import JobKind, JobState
from broker.model.order import StepStatus
from broker.model.performed import PerformedStatus
from broker.store.audit.adding import add_audit
from broker.store.db.pace import Pace, padded
from broker.store.images.gatherings import GatheringPhase
from broker.store.images.instances import InstanceState
from broker.store.schema import tables

PAGE = 500  # rows looked at together
Condition = Callable[[float], ColumnElement[bool]]
_message, _sent = tables.message, tables.sent_message
_notice = tables.notice
_job, _instance, _event, _step = tables.job, tables.instance, tables.step_event, tables.scheduled_step
_study = tables.study
_mpps, _link, _gathering = tables.mpps, tables.mpps_link, tables.gathering
_commitment, _ask = tables.commitment, tables.commitment_ask
_ENDED = (StepStatus.COMPLETED, StepStatus.DISCONTINUED, StepStatus.CANCELED)
_NAMED = text("mpps_link.study_instance_uid <> ''")  # as the partial index says it, and the next two
_DONE, _REFUSED = text("gathering.state = 'done'"), text("NOT accepted")


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinningRule:
    """Which rows of a table go. `over` says it for a time (seconds since the epoch) before which a row is old.

    `grows`: rows are added at the end, and are walked by the number of the row. `noted`: that rows went stands in the
    audit trail, as something that was done to objects of this kind; empty where they say nothing of a patient.
    `ordered`: where a page has no old row, there is none behind it; else the whole table is walked.
    `beside` deletes what belongs to rows that go, by their numbers, in the same transaction before them.
    `among`: the rows that the index of the age has, where it has not all of them.
    """

    name: str
    age: Column[Any]
    over: Condition
    grows: bool = True
    ordered: bool = True
    noted: str = ""
    beside: Callable[[Connection, Sequence[int]], None] | None = None
    among: ColumnElement[bool] | None = None

    @property
    def key(self) -> tuple[Column[Any], ...]:
        """The primary key."""
        return tuple(self.age.table.primary_key.columns)


def _job_is_over(before: float) -> ColumnElement[bool]:
    """Done or discarded before; its object is purged, so that a purge has no more to ask of it.

    That an image was told is remembered for ever: it is told once for a study.
    """
    state = select(_instance.c.state).where(_instance.c.id == _job.c.subject).scalar_subquery()
    ended = _job.c.state + ""  # an expression: SQLite would look at all done jobs, by the index of states
    return and_(
        or_(
            and_(ended == JobState.DONE, _job.c.done_at < before),
            and_(ended == JobState.DISCARDED, _job.c.due_at < before),
        ),
        _job.c.kind != JobKind.IMAGES,
        or_(_job.c.kind != JobKind.DELIVER, state == InstanceState.PURGED),
        _job.c.id < select(func.max(_job.c.id)).scalar_subquery(),  # SQLite would give its number again
    )


def _notice_is_over(before: float) -> ColumnElement[bool]:
    """Made before, and its job is gone. An object that comes for its study later is told again."""
    job = select(_job.c.id).where(_job.c.subject == _notice.c.id, _job.c.kind == JobKind.NOTIFY.value).limit(1)
    return and_(_notice.c.at < before, job.scalar_subquery().is_(None))


def _commitment_is_over(before: float) -> ColumnElement[bool]:
    """Judged before, and the jobs that told of it or asked for it are gone."""
    told = select(_job.c.id).where(_job.c.subject == _commitment.c.id, _job.c.kind == JobKind.COMMITMENT_REPORT.value)
    asking = (_job.c.subject == _ask.c.id) & (_job.c.kind == JobKind.COMMITMENT_ASK.value)
    asked = select(_job.c.id).join(_ask, asking).where(_ask.c.commitment == _commitment.c.id)
    jobs = (one.limit(1).scalar_subquery().is_(None) for one in (told, asked))
    last = select(func.max(_commitment.c.id)).scalar_subquery()  # SQLite would give its number again
    return and_(_commitment.c.judged_at < before, *jobs, _commitment.c.id < last)


def _event_is_over(before: float) -> ColumnElement[bool]:
    """Of a step that ended before and has not changed since."""
    step = select(_step.c.id).where(_step.c.status.in_(_ENDED), _step.c.status_at < before, _step.c.id == _event.c.step)
    last = select(func.max(_event.c.id)).scalar_subquery()  # SQLite would give its number again, and jobs name events
    return and_(_event.c.at < before, step.limit(1).scalar_subquery().is_not(None), _event.c.id < last)


def _study_is_over(before: float) -> ColumnElement[bool]:
    """All of its objects are purged, and the last one came before. What it was found by goes with it."""
    stays = or_((_instance.c.state + "") != InstanceState.PURGED, _instance.c.received_at >= before)
    here = select(_instance.c.id).where(_instance.c.study_instance_uid == _study.c.study_instance_uid, stays)
    last = select(func.max(_study.c.id)).scalar_subquery()  # SQLite would give its number again, and the audit has it
    return and_(_study.c.first_at < before, here.limit(1).scalar_subquery().is_(None), _study.c.id < last)


def _object_is_over(before: float) -> ColumnElement[bool]:
    """Purged, received before, without a delivery, and nothing of its study counts objects still.

    That is an open step, which images may end, an MPPS that is not compared yet or waits for a person, and a series or
    study that is not complete. Nothing brings a purged object back: the same one that comes again is a new row.
    """
    study = _instance.c.study_instance_uid
    delivery = select(_job.c.id).where(_job.c.subject == _instance.c.id, _job.c.kind == JobKind.DELIVER.value)
    step = select(_step.c.id).where(_step.c.study_instance_uid == study, _step.c.status.not_in(_ENDED))
    compares = or_(
        _mpps.c.status == PerformedStatus.IN_PROGRESS,
        and_(_mpps.c.status == PerformedStatus.COMPLETED, _mpps.c.compared_at.is_(None)),
        _mpps.c.attention != "",
    )
    performed = (
        select(_link.c.mpps)
        .join(_mpps, _mpps.c.id == _link.c.mpps)
        .where(_NAMED, _link.c.study_instance_uid == study, compares)
    )
    waits = select(_gathering.c.state).where(
        _gathering.c.study_instance_uid == study, _gathering.c.state != GatheringPhase.DONE.value
    )
    return and_(
        (_instance.c.state + "") == InstanceState.PURGED,
        _instance.c.received_at < before,
        _instance.c.id < select(func.max(_instance.c.id)).scalar_subquery(),  # SQLite would give its number again
        *(one.limit(1).scalar_subquery().is_(None) for one in (delivery, step, performed, waits)),
    )


def _gathering_is_over(before: float) -> ColumnElement[bool]:
    """It is judged, nothing came since, and no object of its study is left. What comes later is a new study."""
    here = select(_instance.c.id).where(_instance.c.study_instance_uid == _gathering.c.study_instance_uid).limit(1)
    return and_(_DONE, _gathering.c.last_at < before, here.scalar_subquery().is_(None))


def _older(age: Column[Any]) -> Condition:
    return lambda before: age < before


def _message_is_over(before: float) -> ColumnElement[bool]:
    last = select(func.max(_message.c.id)).scalar_subquery()  # SQLite would give its number again, and the audit has it
    return and_(_message.c.received_at < before, _message.c.id < last)


def _sent_is_over(before: float) -> ColumnElement[bool]:
    last = select(func.max(_sent.c.id)).scalar_subquery()  # as of a received message
    return and_(_sent.c.at < before, _sent.c.id < last)


def _refused_is_over(before: float) -> ColumnElement[bool]:
    return and_(_REFUSED, _message_is_over(before))


JOBS = ThinningRule(name="jobs", age=_job.c.created_at, over=_job_is_over)
NOTICES = ThinningRule(name="notices", age=_notice.c.at, over=_notice_is_over)
COMMITMENTS = ThinningRule(
    name="commitments", age=_commitment.c.received_at, over=_commitment_is_over, noted="commitment"
)
STUDIES = ThinningRule(name="studies", age=_study.c.first_at, over=_study_is_over, noted="study")
STEP_EVENTS = ThinningRule(name="step-events", age=_event.c.at, over=_event_is_over)
OBJECTS = ThinningRule(name="objects", age=_instance.c.received_at, over=_object_is_over, noted="objects")
GATHERINGS = ThinningRule(
    name="gatherings", age=_gathering.c.last_at, over=_gathering_is_over, grows=False, among=and_(_DONE)
)
AUDIT = ThinningRule(name="audit", age=tables.audit.c.at, over=_older(tables.audit.c.at), noted="audit")
IMPORT_NOTES = ThinningRule(
    name="import-notes", age=tables.import_item.c.last_at, over=_older(tables.import_item.c.last_at), grows=False
)
MESSAGES = ThinningRule(name="messages", age=_message.c.received_at, over=_message_is_over, noted="message")
SENT = ThinningRule(name="sent-messages", age=_sent.c.at, over=_sent_is_over, noted="message")
REFUSED = ThinningRule(
    name="refused-messages",
    age=_message.c.received_at,
    over=_refused_is_over,
    grows=False,
    noted="message",
    among=and_(_REFUSED),
)
KNOCKS = ThinningRule(name="knocks", age=tables.knock.c.last_at, over=_older(tables.knock.c.last_at), grows=False)
ANSWERS = ThinningRule(
    name="idempotency", age=tables.idempotency.c.at, over=_older(tables.idempotency.c.at), grows=False
)
CANCELS = ThinningRule(
    name="cancels", age=tables.tombstone.c.at, over=_older(tables.tombstone.c.at), grows=False, noted="tombstone"
)


def appointments(start_before: str) -> ThinningRule:
    """Those whose order never came, and of the others those that began before a wall clock time `YYYYMMDDHHMMSS`."""
    table = tables.appointment.c
    no_longer = or_(table.request.is_(None), table.start_at < start_before)
    return ThinningRule(
        name="appointments",
        age=table.at,
        over=lambda before: and_(table.at < before, no_longer),
        grows=False,
        noted="appointment",
    )


def thin(pace: Pace, rule: ThinningRule, before: float) -> int:
    """Delete what is over by a rule and a time (seconds since the epoch); how many rows. Raises StoreUnavailable.

    What the rule says is noted in the audit trail.
    """

    def drop(connection: Connection, keys: Sequence[Any]) -> int:
        return _drop(connection, rule, keys, before)

    total, place = 0, 0
    while not pace.stopped:
        page = pace.read(_page, rule, before, place)
        keys = [key for key, over in page.rows if over]
        gone = sum(pace.write(drop, keys))
        total += gone
        if page.last or not (rule.grows or gone):
            break
        place = page.rows[-1][0] if rule.grows else 0
    if total and rule.noted:
        list(pace.write(lambda connection, counts: _note(connection, rule, counts[0], before), [total]))
    return total


def _note(connection: Connection, rule: ThinningRule, count: int, before: float) -> None:
    detail = {"rows": count, "before": before, "rule": rule.name}
    add_audit(connection, time.time(), "broker", f"{rule.noted}.thinned", rule.noted, 0, detail)


@dataclass(frozen=True, slots=True)
class _Page:
    """Keys of rows and whether they are over; `last`: there is nothing old behind them."""

    rows: list[tuple[Any, bool]]
    last: bool


def _page(connection: Connection, rule: ThinningRule, before: float, place: int) -> _Page:
    if rule.grows:
        (row,) = rule.key
        query = select(row, rule.over(before), rule.age < before).where(row > place).order_by(row).limit(PAGE)
        found = connection.execute(query).all()
        last = not any(old for _, _, old in found) if rule.ordered else len(found) < PAGE
        return _Page([(key, bool(over)) for key, over, _ in found], last)
    keys = select(*rule.key).where(rule.over(before)).order_by(rule.age).limit(PAGE)
    rows = [(tuple(key), True) for key in connection.execute(keys)]
    return _Page(rows, len(rows) < PAGE)


def _drop(connection: Connection, rule: ThinningRule, keys: Sequence[Any], before: float) -> int:
    """Delete rows by their keys, as far as they are still over; how many."""
    table = rule.age.table
    if rule.beside is not None:
        own = rule.key[0]
        over = select(own).where(own.in_(padded(keys)), rule.over(before))
        rows = list(connection.execute(over).scalars())
        if rows:
            rule.beside(connection, rows)
        return connection.execute(delete(table).where(own.in_(padded(rows)))).rowcount if rows else 0
    if rule.grows:
        return connection.execute(delete(table).where(rule.key[0].in_(padded(keys)), rule.over(before))).rowcount
    gone = 0
    for key in keys:  # one by one: of a list of pairs SQLite makes no use of the index
        here = (column == value for column, value in zip(rule.key, key, strict=True))
        gone += connection.execute(delete(table).where(*here, rule.over(before))).rowcount
    return gone
