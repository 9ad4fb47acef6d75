"""Finds objects that wait for a person, were discarded, or came of late, page by page; changes what becomes of them.

The index of states and times of reception leads, so that the time grows with what is held.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    FromClause,
    Select,
    and_,
    delete,
    func,
    literal,
    or_,
    select,
    tuple_,
    union,
    update,
)

from broker.store.db.pace import padded
from broker.store.images.instances import InstanceState, Place
from broker.store.schema import tables
from broker.store.studies.registering import searchable

_t, _content = tables.instance, tables.content
FIRST: Place = (-1.0, 0)  # before all objects
LAST: Place = (1e12, 2**63 - 1)  # behind all objects
WAITING = (InstanceState.HELD, InstanceState.DISCARDED, InstanceState.WAITING)  # what a person may decide about


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFilter:
    """Which objects: held, discarded or waiting for their study, for one reason, of one study, order or device.

    `before`: received before (s since the epoch). Empty: any.
    `senders`: AE titles of a node that may have sent them; None for any. `order`: the row of an order; 0 for any.
    """

    state: InstanceState = InstanceState.HELD
    reason: str = ""
    study: str = ""
    accession: str = ""
    device: str = ""
    senders: tuple[str, ...] | None = None
    before: float | None = None
    order: int = 0

    def condition(self) -> ColumnElement[bool]:
        """The filter on the instance table."""
        exact = (_t.c.reason, self.reason), (_t.c.study_instance_uid, self.study), (_t.c.calling_ae, self.device)
        found = [column == value for column, value in exact if value]
        if self.before is not None:
            found.append(_t.c.received_at < self.before)
        if self.accession:
            found.append(of_accession(self.accession))
        if self.order:
            found.append(_t.c.study_instance_uid.in_(of_row(self.order)))
        if self.senders is not None:
            found.append(_t.c.calling_ae.in_(self.senders))
        return and_(_t.c.state == self.state, *found)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldObject:
    """An object that is held or discarded, and why. Length in bytes, times in seconds since the epoch.

    `facts` as JSON text: what the rules saw of it.
    """

    id: int
    sop_instance_uid: str
    sop_class_uid: str
    study_instance_uid: str
    series_instance_uid: str
    calling_ae: str
    data_length: int
    received_at: float
    state: str
    reason: str
    discarded_at: float
    rules_version: int
    facts: str

    @property
    def place(self) -> Place:
        """Where it stands in the list."""
        return self.received_at, self.id

    @property
    def key(self) -> str:
        """Its place as a text, for `place_of`."""
        return f"{self.received_at!r}:{self.id}"


def of_accession(accession: str, table: FromClause = _t) -> ColumnElement[bool]:
    """Objects that name an accession number, or that are of a study of the order with it. `table`: of instances."""
    written = f'"tag.AccessionNumber": {json.dumps([accession], ensure_ascii=False)}'
    named = func.replace(table.c.facts, written, "") != table.c.facts
    # the study is looked at first, since facts are long; a study without a UID has no row
    study, uid = tables.study, table.c.study_instance_uid
    key = tables.study_key
    said = select(study.c.study_instance_uid).join(key, key.c.study == study.c.id)
    may = or_(uid == "", uid.in_(said.where(key.c.accession == searchable(accession))))
    return or_(uid.in_(of_order(accession)), and_(may, named))


def of_order(accession: str) -> CompoundSelect[str]:
    """The Study Instance UIDs of the orders with an accession number."""
    procedure, request, step = tables.requested_procedure, tables.service_request, tables.scheduled_step
    studies = select(procedure.c.study_instance_uid)
    return union(
        studies.join(request, procedure.c.request == request.c.id).where(request.c.accession == accession),
        studies.join(step, step.c.procedure == procedure.c.id).where(step.c.accession == accession),
    )


def of_row(order: int) -> Select[str]:
    """The Study Instance UIDs of an order (row)."""
    procedure = tables.requested_procedure
    return select(procedure.c.study_instance_uid).where(procedure.c.request == order)


def place_of(key: str) -> Place | None:
    """The place that a text means, the first one for an empty text; None for a text that is none."""
    if not key:
        return FIRST
    found = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)[,:]([0-9]{1,18})", key, re.ASCII)
    return (float(found[1]), int(found[2])) if found else None


_COLUMNS = [_t.c[name] for name in HeldObject.__slots__]


def find(connection: Connection, wanted: ObjectFilter, after: Place, limit: int) -> list[HeldObject]:
    """Objects behind a place, the oldest first."""
    query = (
        select(*_COLUMNS)
        .where(wanted.condition(), tuple_(_t.c.received_at, _t.c.id) > tuple_(*after))
        .order_by(_t.c.received_at, _t.c.id)
        .limit(limit)
    )
    return [HeldObject(**row) for row in connection.execute(query).mappings()]


def count(connection: Connection, wanted: ObjectFilter, limit: int) -> int:
    """How many match, at most `limit`."""
    some = select(literal(1)).select_from(_t).where(wanted.condition()).limit(limit).subquery()
    return int(connection.execute(select(func.count()).select_from(some)).scalar_one())


def rows(connection: Connection, wanted: ObjectFilter, limit: int) -> list[int]:
    """The rows that match, the oldest first, at most `limit`."""
    query = select(_t.c.id).where(wanted.condition()).order_by(_t.c.received_at, _t.c.id).limit(limit)
    return list(connection.execute(query).scalars())


def load(connection: Connection, ids: Sequence[int]) -> list[HeldObject]:
    """Those of some rows that are held or discarded, or wait for their study."""
    query = select(*_COLUMNS).where(_t.c.id.in_(padded(ids)), (_t.c.state + "").in_(WAITING)).order_by(_t.c.id)
    return [HeldObject(**row) for row in connection.execute(query).mappings()]


def of_rows(connection: Connection, ids: Sequence[int]) -> list[HeldObject]:
    """Objects by their rows, whatever became of them."""
    query = select(*_COLUMNS).where(_t.c.id.in_(padded(ids))).order_by(_t.c.id)
    return [HeldObject(**row) for row in connection.execute(query).mappings()]


def received(connection: Connection, since: float, before: Place, limit: int) -> list[HeldObject]:
    """All objects received since a time (s since the epoch) and before a place, the newest first."""
    here = tuple_(_t.c.received_at, _t.c.id) < tuple_(*before)
    query = (
        select(*_COLUMNS)
        .where(_t.c.received_at >= since, _t.c.received_at <= before[0], here)
        .order_by(_t.c.received_at.desc(), _t.c.id.desc())
        .limit(limit)
    )
    return [HeldObject(**row) for row in connection.execute(query).mappings()]


def of_study(connection: Connection, study_instance_uid: str, limit: int) -> list[HeldObject]:
    """Objects of a study, whatever became of them, the newest first."""
    newest = (_t.c.id + 0).desc()  # by the index of studies, never backwards through all objects
    query = select(*_COLUMNS).where(_t.c.study_instance_uid == study_instance_uid).order_by(newest)
    return [HeldObject(**row) for row in connection.execute(query.limit(limit)).mappings()]


def change(
    connection: Connection, row: int, before: Sequence[InstanceState], state: InstanceState, reason: str, at: float
) -> bool:
    """Give an object another state and reason at a time; False if it was in none of the states before."""
    discarded = at if state == InstanceState.DISCARDED else 0.0
    done = connection.execute(
        update(_t)
        .where(_t.c.id == row, _t.c.state.in_(before))
        .values(state=state, reason=reason, discarded_at=discarded)
    )
    return bool(done.rowcount)


def purged(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Those of some rows whose bytes were deleted."""
    query = select(_t.c.id).where(_t.c.id.in_(padded(ids)), (_t.c.state + "") == InstanceState.PURGED)
    return set(connection.execute(query).scalars())


def walk(connection: Connection, state: InstanceState, after: Place, limit: int) -> list[tuple[Place, float]]:
    """The next objects in a state behind a place, each with when it was discarded, in the order of reception."""
    query = (
        select(_t.c.received_at, _t.c.id, _t.c.discarded_at)
        .where(_t.c.state == state, tuple_(_t.c.received_at, _t.c.id) > tuple_(*after))
        .order_by(_t.c.received_at, _t.c.id)
        .limit(limit)
    )
    return [((row[0], row[1]), row[2]) for row in connection.execute(query)]


def purge(connection: Connection, ids: Sequence[int], before: float) -> list[tuple[int, str]]:
    """Record that the bytes of objects that were discarded before a time go away: rows and paths of those.

    A path is empty for one without a file. Commit before deleting a file.
    """
    these = _t.c.id.in_(padded(ids))
    connection.execute(select(_t.c.id).where(these).order_by(_t.c.id).with_for_update()).all()
    gone = connection.execute(
        update(_t)
        .where(these, (_t.c.state + "") == InstanceState.DISCARDED, _t.c.discarded_at < before)
        .values(state=InstanceState.PURGED)
        .returning(_t.c.id, _t.c.path)
    ).all()
    connection.execute(delete(_content).where(_content.c.instance.in_(padded([row.id for row in gone]))))
    return [(row.id, row.path) for row in gone]


def discard_old(connection: Connection, ids: Sequence[int], before: float, at: float, reason: str) -> list[int]:
    """Discard those objects that are held and were received before a time; their rows."""
    done = connection.execute(
        update(_t)
        .where(_t.c.id.in_(padded(ids)), (_t.c.state + "") == InstanceState.HELD, _t.c.received_at < before)
        .values(state=InstanceState.DISCARDED, reason=reason, discarded_at=at)
        .returning(_t.c.id)
    )
    return list(done.scalars())


def judged(connection: Connection, row: int, rules_version: int, outcomes: str, facts: str) -> None:
    """Keep by which rules an object was judged again, what each test gave, and what they saw (JSON)."""
    values = {"rules_version": rules_version, "trace": outcomes, "facts": facts}
    connection.execute(update(_t).where(_t.c.id == row).values(values))
