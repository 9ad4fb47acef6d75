"""Reads what is stored around one exam: its audit rows, messages, MPPS, images, deliveries, news for the RIS.

Every look is bounded, so that an order of ten thousand images is read as fast as any.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, select

from broker.model.audit import AuditRecord
from broker.model.lane import JobKind
from broker.store.audit.trail import record_of
from broker.store.db import documents
from broker.store.db.pace import padded
from broker.store.db.prepared import Prepared
from broker.store.schema import tables

MOST_CHANGES = 300  # audit rows; the first ones
MOST_OBJECTS = 5_000  # of one study
_audit, _message, _mpps, _link = tables.audit, tables.message, tables.mpps, tables.mpps_link
_mpps_message, _instance, _job = tables.mpps_message, tables.instance, tables.job
_committed = tables.committed
_VIEWS = ("viewed", "listed", "explained", "compared", "exported")
# the limit lets the study lead to its objects, and these to their deliveries
_OBJECTS = select(_instance.c.id).where(_instance.c.study_instance_uid == bindparam("study")).limit(bindparam("most"))
_OF_OBJECTS = _OBJECTS.subquery()
_GROUPED = (_job.c.lane, _job.c.state, _job.c.last_error)
_DELIVERIES = Prepared(
    any=select(
        *_GROUPED, func.count(), func.min(_job.c.created_at), func.max(_job.c.done_at), func.count(_committed.c.job)
    )
    .select_from(_OF_OBJECTS)
    .join(_job, (_job.c.subject == _OF_OBJECTS.c.id) & (_job.c.kind == JobKind.DELIVER.value))
    .outerjoin(_committed, _committed.c.job == _job.c.id)
    .group_by(*_GROUPED)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldMessage:
    """A message of the journal that is still kept. `received_at` in s since the epoch."""

    row: int
    received_at: float
    sender: str
    message_type: str
    answer_code: str
    accepted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedWork:
    """A performed step (row) of the exam with the times of its messages (kind, s since the epoch)."""

    row: int
    status: str
    linking: str
    calling_ae: str
    messages: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageGroup:
    """Objects of one study from one device that have one state; times in s since the epoch."""

    study: str
    calling_ae: str
    state: str
    reason: str
    count: int
    first_at: float
    last_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryGroup:
    """Deliveries of objects of one study on one lane that are in one state with one error.

    `committed`: those of which the destination has proven that it has the object.
    """

    study: str
    lane: str
    state: str
    error: str
    count: int
    first_at: float
    last_at: float | None  # of those that are done
    committed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldNews:
    """A message to a RIS: `event` of the order, what became of it, and its answer or error."""

    job: int
    lane: str
    event: str
    state: str
    error: str
    attempts: int
    at: float
    done_at: float | None


def changes(connection: Connection, order: int, patient: int) -> list[AuditRecord]:
    """What was done to an order and to its patient (rows), oldest first; nothing that was only looked at."""
    found: list[AuditRecord] = []
    for kind, row in (("order", order), ("patient", patient)):
        query = select(_audit).where(
            _audit.c.object_kind == kind,
            _audit.c.object_id == row,
            _audit.c.action.not_in([f"{kind}.{verb}" for verb in _VIEWS]),
        )
        rows = connection.execute(query.order_by(_audit.c.at, _audit.c.id).limit(MOST_CHANGES))
        found += [record_of(one) for one in rows]
    return sorted(found, key=lambda one: (one.at, one.row))


def messages(connection: Connection, rows: Iterable[int]) -> dict[int, ToldMessage]:
    """Messages of the journal by their rows; those that are no longer kept are left out."""
    wanted = padded(list(dict.fromkeys(rows)))
    names = ("received_at", "sender", "message_type", "answer_code", "accepted")
    query = select(_message.c.id, *(_message.c[name] for name in names)).where(_message.c.id.in_(wanted))
    told = connection.execute(query).mappings() if wanted else ()
    return {one["id"]: ToldMessage(row=one["id"], **{name: one[name] for name in names}) for one in told}


def work(connection: Connection, steps: Sequence[int]) -> list[ReportedWork]:
    """The performed steps that are linked to steps (rows), oldest first."""
    if not steps:
        return []
    linked = select(_link.c.mpps).where(_link.c.step.in_(padded(steps)))
    query = select(_mpps.c.id, _mpps.c.status, _mpps.c.linking, _mpps.c.calling_ae).where(_mpps.c.id.in_(linked))
    found = connection.execute(query.order_by(_mpps.c.id).limit(100)).all()
    said: dict[int, list[tuple[str, float]]] = {}
    if found:
        rows = padded([one.id for one in found])
        told = select(_mpps_message.c.mpps, _mpps_message.c.kind, _mpps_message.c.at).where(
            _mpps_message.c.mpps.in_(rows)
        )
        for row, kind, at in connection.execute(told.order_by(_mpps_message.c.id).limit(1000)):
            said.setdefault(row, []).append((kind, at))
    return [
        ReportedWork(
            row=one.id,
            status=one.status,
            linking=one.linking,
            calling_ae=one.calling_ae,
            messages=tuple(said.get(one.id, ())),
        )
        for one in found
    ]


def images(connection: Connection, studies: Iterable[str]) -> list[ImageGroup]:
    """The objects of studies, of each MOST_OBJECTS at most."""
    columns = ("calling_ae", "state", "reason")
    found = []
    for study in studies:
        some = (
            select(*(_instance.c[name] for name in columns), _instance.c.received_at)
            .where(_instance.c.study_instance_uid == study)
            .limit(MOST_OBJECTS)
            .subquery()
        )
        grouped = [some.c[name] for name in columns]
        query = select(*grouped, func.count(), func.min(some.c.received_at), func.max(some.c.received_at))
        for row in connection.execute(query.group_by(*grouped)):
            found.append(
                ImageGroup(
                    study=study,
                    calling_ae=row[0],
                    state=row[1],
                    reason=row[2],
                    count=row[3],
                    first_at=row[4],
                    last_at=row[5],
                )
            )
    return found


def deliveries(connection: Connection, studies: Iterable[str], most: int = MOST_OBJECTS) -> list[DeliveryGroup]:
    """What became of the deliveries of the objects of studies, of each `most` objects at most."""
    found = []
    for study in studies:
        for row in _DELIVERIES.rows(connection, {"study": study, "most": most}):
            found.append(
                DeliveryGroup(
                    study=study,
                    lane=row[0],
                    state=row[1],
                    error=row[2],
                    count=row[3],
                    first_at=row[4],
                    last_at=row[5],
                    committed=row[6],
                )
            )
    return found


def news(connection: Connection, order: int, procedures: Sequence[int]) -> list[ToldNews]:
    """What RIS were told of an order (row) and of the images of its procedures (rows), oldest first."""
    event, step, procedure = tables.step_event, tables.scheduled_step, tables.requested_procedure
    events = (
        select(event.c.id)
        .join_from(procedure, step)
        .join(event, event.c.step == step.c.id)
        .where(procedure.c.request == order)
    )
    of_order = (_job.c.kind == JobKind.FEEDBACK.value) & _job.c.subject.in_(events)
    of_images = (_job.c.kind == JobKind.IMAGES.value) & _job.c.subject.in_(padded(procedures))
    names = ("id", "lane", "detail", "state", "last_error", "attempts", "created_at", "done_at")
    found = []
    for where in (of_order, *([of_images] if procedures else [])):
        query = select(*(_job.c[name] for name in names)).where(where).order_by(_job.c.id).limit(200)
        for row in connection.execute(query):
            found.append(
                ToldNews(
                    job=row.id,
                    lane=row.lane,
                    event=str(documents.decode(row.detail).get("event", "")),
                    state=row.state,
                    error=row.last_error,
                    attempts=row.attempts,
                    at=row.created_at,
                    done_at=row.done_at,
                )
            )
    return sorted(found, key=lambda one: (one.at, one.job))
