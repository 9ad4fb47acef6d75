"""Finds objects that wait for a person, were discarded, or came of late, page by page; changes what becomes of them.

The index of states and times of reception leads, so that the time grows with what is held.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, func, literal, select, tuple_, update

from broker.store.db.pace import padded
from broker.store.images.instances import InstanceState, Place
from broker.store.schema import tables

_t, _content = tables.instance, tables.content
FIRST: Place = (-1.0, 0)  # before all objects
LAST: Place = (1e12, 2**63 - 1)  # behind all objects
WAITING = (InstanceState.HELD, InstanceState.DISCARDED, InstanceState.WAITING)  # what a person may decide about


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFilter:
    """Which objects: held, discarded or waiting for their study, for one reason, of one study or device.

    `before`: received before (s since the epoch). Empty: any.
    """

    state: InstanceState = InstanceState.HELD
    reason: str = ""
    study: str = ""
    device: str = ""
    before: float | None = None

    def condition(self) -> ColumnElement[bool]:
        """The filter on the instance table."""
        exact = (_t.c.reason, self.reason), (_t.c.study_instance_uid, self.study), (_t.c.calling_ae, self.device)
        found = [column == value for column, value in exact if value]
        if self.before is not None:
            found.append(_t.c.received_at < self.before)
        return and_(_t.c.state == self.state, *found)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldObject:
    """An object that is held or discarded, and why. Length in bytes, time in seconds since the epoch.

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
    rules_version: int
    facts: str

    @property
    def place(self) -> Place:
        """Where it stands in the list."""
        return self.received_at, self.id

    @property
    def key(self) -> str:
        """Its place as a text, for `place_of`."""
        return f"{self.received_at!r},{self.id}"


def place_of(key: str) -> Place | None:
    """The place that a text means, the first one for an empty text; None for a text that is none."""
    if not key:
        return FIRST
    found = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,9})?),([0-9]{1,18})", key, re.ASCII)
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


def change(
    connection: Connection, row: int, before: Sequence[InstanceState], state: InstanceState, reason: str
) -> bool:
    """Give an object another state and reason; False if it was in none of the states before."""
    done = connection.execute(
        update(_t).where(_t.c.id == row, _t.c.state.in_(before)).values(state=state, reason=reason)
    )
    return bool(done.rowcount)


def judged(connection: Connection, row: int, rules_version: int, outcomes: str, facts: str) -> None:
    """Keep by which rules an object was judged again, what each test gave, and what they saw (JSON)."""
    values = {"rules_version": rules_version, "trace": outcomes, "facts": facts}
    connection.execute(update(_t).where(_t.c.id == row).values(values))
