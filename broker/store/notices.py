"""Keeps what nodes are told of rules: one row for each node, rule and study, which the unique key of the table ensures.

A row and its job are written in the transaction of the decision. Whoever comes second, in this process or another one,
finds the row and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite

from broker.model.lane import JobKind, Lane, LaneKind
from broker.store import jobs
from broker.store.db import documents
from broker.store.db.prepared import Prepared
from broker.store.schema import tables

_t, _job, _instance = tables.notice, tables.job, tables.instance
_NEW: dict[str, Any] = {column.name: bindparam(column.name) for column in _t.c if column.name != "id"}
_ADD = Prepared(
    sqlite=sqlite.insert(_t).values(_NEW).on_conflict_do_nothing().returning(_t.c.id),
    postgresql=postgresql.insert(_t).values(_NEW).on_conflict_do_nothing().returning(_t.c.id),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleNotice:
    """What a rule did with a study, as far as its first object tells it. No patient data is in it.

    `action`: send, hold, discard, or notify where the rule does nothing else. `destinations`: nodes that it sends
    to, or holds deliveries for. `level`: what it judges. `device`: the calling AE title. `key`: the same for each try.
    """

    rule: str
    rules_version: int
    action: str
    destinations: tuple[str, ...]
    level: str
    device: str
    modality: str
    key: str

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"destinations": list(self.destinations)}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> RuleNotice:
        """The notice that `document` made."""
        return cls(**{**document, "destinations": tuple(document["destinations"])})


@dataclass(frozen=True, slots=True)
class NewNotice:
    """What a node is to be told of a study (UID). Time in seconds since the epoch."""

    node: str
    study: str
    at: float
    notice: RuleNotice

    @property
    def key(self) -> tuple[str, str, str]:
        """Of several with one key the first is told."""
        return self.node, self.notice.rule, self.study


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredNotice:
    """A notice as it is to be told now. `objects`: of the study so far; `order`: the row of its order, 0 for none."""

    at: float
    notice: RuleNotice
    objects: int
    order: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeState:
    """How far a notice of a study is: the state of its job, empty where that is no longer kept."""

    node: str
    rule: str
    at: float
    state: str
    error: str


def enqueue(connection: Connection, new: Iterable[NewNotice], now: float) -> int:
    """Write what was not told yet, each with its job; how many. In one order, so that nobody waits in a circle."""
    made = []
    for one in sorted(new, key=lambda one: one.key):
        values = {
            "node": one.node,
            "rule": one.notice.rule,
            "study": one.study,
            "at": one.at,
            "detail": documents.encode(one.notice.document()),
        }
        lane = Lane(LaneKind.NOTIFY, one.node).name
        made += [
            jobs.NewJob(kind=JobKind.NOTIFY, lane=lane, subject=row[0], detail={"rule": one.notice.rule})
            for row in _ADD.rows(connection, values)
        ]
    return jobs.enqueue(connection, made, now)


def load(connection: Connection, row: int) -> StoredNotice | None:
    """A notice with what is known of its study now; None if it is not there."""
    found = connection.execute(select(_t.c.at, _t.c.study, _t.c.detail).where(_t.c.id == row)).one_or_none()
    if found is None:
        return None
    of_study = select(func.count(func.distinct(_instance.c.sop_instance_uid)))
    objects = connection.execute(of_study.where(_instance.c.study_instance_uid == found.study)).scalar_one()
    procedure = tables.requested_procedure
    order = select(procedure.c.request).where(procedure.c.study_instance_uid == found.study).limit(1)
    return StoredNotice(
        at=found.at,
        notice=RuleNotice.of(documents.decode(found.detail)),
        objects=max(1, int(objects)),
        order=int(connection.execute(order).scalar() or 0),
    )


def of_study(connection: Connection, study: str) -> list[NoticeState]:
    """The notices of a study (UID), in the order in which they were made."""
    query = (
        select(_t.c.node, _t.c.rule, _t.c.at, _job.c.state, _job.c.last_error)
        .outerjoin(_job, (_job.c.subject == _t.c.id) & (_job.c.kind == JobKind.NOTIFY.value))
        .where(_t.c.study == study)
        .order_by(_t.c.id)
    )
    return [
        NoticeState(node=row[0], rule=row[1], at=row[2], state=row[3] or "", error=row[4] or "")
        for row in connection.execute(query)
    ]
