"""Counts what of the spool goes next, by the conditions by which `routing.sweep` deletes it. Nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, and_, func, select, true, tuple_

from broker.model.lane import JobState, LaneKind
from broker.settings import Settings
from broker.store.ageing.preview import AHEAD, MOST, RuleForecast, RuleTally
from broker.store.ageing.schedule import DAY
from broker.store.db.database import Database
from broker.store.holds.held_jobs import HeldFilter
from broker.store.images import instances
from broker.store.images.instances import InstanceState
from broker.store.queued import waiting_jobs
from broker.store.schema import tables
from broker.store.thinning import PAGE

_t = tables.instance
FIRST: instances.Place = (-1.0, 0)  # before all objects
DELIVERED, DISCARDED = "delivered-objects", "discarded-objects"
HELD, HELD_DELIVERIES = "held-objects", "held-deliveries"


def of_spool(database: Database, settings: Settings, now: float) -> Iterator[RuleForecast]:
    """What goes by each rule, in the order in which the duty deletes. Raises StoreUnavailable."""
    kept = settings.delivery
    yield _delivered(database, settings, now)
    yield _held(database, kept.keep_held_days, now)
    yield _deliveries(database, kept.keep_held_days, now)
    yield _discarded(database, kept.keep_discarded_days, now)


def _delivered(database: Database, settings: Settings, now: float) -> RuleForecast:
    """Files of objects that every destination has had. 0 days: as soon as they have."""
    kept = settings.delivery

    def may_go(at: float) -> ColumnElement[bool]:
        given_up = at - kept.keep_discarded_days * DAY if kept.keep_discarded_days else instances.NEVER
        return instances.may_go(at - kept.keep_days * DAY, given_up)

    walk = FileWalk(InstanceState.ROUTED, _t.c.received_at, kept.keep_days, now, may_go)
    return _counted(database, DELIVERED, "delivery.keep_days", walk)


def _held(database: Database, days: float, now: float) -> RuleForecast:
    """Objects that nobody decided on: they are discarded, and their files go with the discarded ones."""
    walk = FileWalk(InstanceState.HELD, _t.c.received_at, days, now)
    return _counted(database, HELD, "delivery.keep_held_days", walk, never=not days)


def _discarded(database: Database, days: float, now: float) -> RuleForecast:
    """Files of objects that were discarded, counted from that."""
    walk = FileWalk(InstanceState.DISCARDED, _t.c.discarded_at, days, now)
    return _counted(database, DISCARDED, "delivery.keep_discarded_days", walk, never=not days)


def _deliveries(database: Database, days: float, now: float) -> RuleForecast:
    """Held deliveries: they are given up."""
    tally, before = RuleTally(), now - days * DAY
    oldest = []
    for lane in database.read(waiting_jobs.held_lanes, LaneKind.DELIVER).result():
        oldest.append(database.read(first_held, lane).result())
        if days:
            over, then = (
                database.read(waiting_jobs.count, HeldFilter(lane=lane, before=at), "held", MOST).result()
                for at in (before, before + AHEAD * DAY)
            )
            tally.over += over
            tally.soon += max(0, then - over)
            tally.more = tally.more or then >= MOST
    first = min((at for at in oldest if at is not None), default=None)
    return tally.forecast(HELD_DELIVERIES, "delivery.keep_held_days", days, first)


def first_held(connection: Connection, lane: str) -> float | None:
    """When the first of the held jobs of a lane was made, of MOST of them."""
    here = tables.job.c.lane == lane, tables.job.c.state == JobState.HELD
    some = select(tables.job.c.created_at).where(*here).limit(MOST).subquery()
    return connection.execute(select(func.min(some.c.created_at))).scalar()


def always(at: float) -> ColumnElement[bool]:
    """Nothing more is asked."""
    return true()


@dataclass(frozen=True, slots=True)
class FileWalk:
    """Objects in a state that go so many days after a time in their row, if they `may_go` at a moment."""

    state: InstanceState
    age: Column[Any]
    days: float
    now: float
    may_go: Callable[[float], ColumnElement[bool]] = always

    def page(self, connection: Connection, place: instances.Place) -> list[Any]:
        """The next objects in the order of reception: their place, bytes, are they old, do they go now, and later."""
        then = self.now + AHEAD * DAY
        old, later = (self.age < at - self.days * DAY for at in (self.now, then))
        query = select(
            _t.c.received_at,
            _t.c.id,
            _t.c.data_offset + _t.c.data_length,
            old,
            and_(old, self.may_go(self.now)),
            and_(later, self.may_go(then)),
        ).where(_t.c.state == self.state, tuple_(_t.c.received_at, _t.c.id) > tuple_(*place))
        if self.age is _t.c.received_at:
            query = query.where(later)
        return list(connection.execute(query.order_by(_t.c.received_at, _t.c.id).limit(PAGE)))

    def oldest(self, connection: Connection) -> float | None:
        """When the first of them was received."""
        query = select(_t.c.received_at).where(_t.c.state == self.state).order_by(_t.c.received_at).limit(1)
        return connection.execute(query).scalar()


def _counted(database: Database, name: str, key: str, walk: FileWalk, *, never: bool = False) -> RuleForecast:
    """What goes by a walk; nothing by one that is `never` made."""
    tally, place = RuleTally(files=True), FIRST
    while not never and (rows := database.read(walk.page, place).result()):
        place = rows[-1][0], rows[-1][1]
        for _, _, size, old, over, later in rows:
            tally.add(old=bool(old), over=bool(over), later=bool(later), size=size)
        if len(rows) < PAGE or tally.full:
            break
    return tally.forecast(name, key, walk.days, database.read(walk.oldest).result())
