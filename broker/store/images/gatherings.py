"""Keeps series and studies whose objects wait for a rule of that level: what came, when to look, what was decided.

A gathering is open while it waits, judged while its decision is being carried out, and done. An object that comes makes
it open again. Who looks at one takes it first: nobody else does before `due_at`, which was moved ahead, and the fence
tells who took it last. What is written holds only if nothing arrived meanwhile.

Times in seconds since the epoch. An empty Series Instance UID means the study.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Self

from sqlalchemy import Connection, Integer, bindparam, case, false, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from broker.store.db.engine import is_sqlite
from broker.store.db.pace import padded
from broker.store.db.prepared import Prepared
from broker.store.schema import tables

AT_ONCE = 500  # studies in one statement
_t = tables.gathering


class GatheringPhase(StrEnum):
    """Says how far a gathering is."""

    OPEN = "open"
    JUDGED = "judged"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An object for a gathering: when it is complete by its quiet time, or if this is the last one expected.

    `most`: seconds from its first object to the cap.
    """

    study: str
    series: str
    at: float
    quiet_at: float
    settled_at: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathering:
    """A row: see `store.schema.gatherings`."""

    study_instance_uid: str
    series_instance_uid: str
    state: str
    arrived: int
    instances: int
    first_at: float
    opened_at: float
    last_at: float
    due_at: float
    fence: int
    ended: int
    again: int
    person: int
    waits: str
    complete: str
    rules_version: int
    trace: str
    facts: str
    applied_to: int
    judged_at: float | None
    judged_to: int
    sent_to: str

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Marks of the rules that were tried."""
        return tuple(json.loads(self.trace))

    @property
    def had(self) -> frozenset[str]:
        """The nodes that got it by rules of its level."""
        return frozenset(json.loads(self.sent_to))

    @classmethod
    def of_row(cls, row: Any) -> Self:
        """The value of a row of `_COLUMNS`."""
        return cls(**dict(zip(cls.__slots__, row, strict=True)))


_COLUMNS = [_t.c[field.name] for field in fields(Gathering)]
_CAP = _t.c.opened_at + bindparam("most")
_NEXT = case(
    (_t.c.state != GatheringPhase.OPEN, bindparam("quiet_at")),
    (
        (_t.c.expected.is_not(None)) & (_t.c.instances + 1 >= _t.c.expected),
        case((bindparam("settled_at") > _CAP, _CAP), else_=bindparam("settled_at")),
    ),
    (bindparam("quiet_at") > _CAP, _CAP),
    else_=bindparam("quiet_at"),
)
_FRESH: dict[str, Any] = {"fence": 0, "ended": -1, "again": 0, "person": 0, "rules_version": 0, "applied_to": 0}
_FRESH |= {"judged_to": 0, "waits": "", "complete": "", "trace": "[]", "facts": "{}", "sent_to": "[]"}
_NEW: dict[str, Any] = _FRESH | {
    "study_instance_uid": bindparam("study"),
    "series_instance_uid": bindparam("series"),
    "state": GatheringPhase.OPEN.value,
    "arrived": 1,
    "instances": 1,
    "first_at": bindparam("at"),
    "opened_at": bindparam("at"),
    "last_at": bindparam("at"),
    "due_at": bindparam("quiet_at"),
}
_MORE: dict[str, Any] = {
    "state": GatheringPhase.OPEN.value,
    "arrived": _t.c.arrived + 1,
    "instances": _t.c.instances + 1,
    "opened_at": case((_t.c.state == GatheringPhase.OPEN, _t.c.opened_at), else_=bindparam("at")),
    "last_at": bindparam("at"),
    "due_at": _NEXT,
    "person": 0,  # more comes than the person knew
}
_KEY = ["study_instance_uid", "series_instance_uid"]
_ARRIVED = Prepared(
    sqlite=sqlite.insert(_t).values(_NEW).on_conflict_do_update(index_elements=_KEY, set_=_MORE),
    postgresql=postgresql.insert(_t).values(_NEW).on_conflict_do_update(index_elements=_KEY, set_=_MORE),
)


def arrived(connection: Connection, arrival: Arrival) -> None:
    """An object has come, and waits for its series or study."""
    _ARRIVED.count(connection, {name: getattr(arrival, name) for name in Arrival.__slots__})


def came_again(connection: Connection, arrival: Arrival, *, again: bool) -> None:
    """The bytes of an object have come once more: what is open waits on; with `again` what was judged is opened."""
    here = _t.c.study_instance_uid == arrival.study, _t.c.series_instance_uid == arrival.series
    open_ = _t.c.state == GatheringPhase.OPEN
    cap = _t.c.opened_at + arrival.most
    values: dict[str, Any] = {"arrived": _t.c.arrived + 1, "last_at": arrival.at}
    due = case((cap < arrival.quiet_at, cap), else_=arrival.quiet_at)
    connection.execute(update(_t).where(*here, open_).values(values | {"due_at": due}))
    if again:
        values |= {"state": GatheringPhase.OPEN, "again": 1, "opened_at": arrival.at, "due_at": arrival.quiet_at}
        connection.execute(update(_t).where(*here, _t.c.state == GatheringPhase.DONE).values(values))


def let_go(connection: Connection, study: str, series: str, at: float, *, whole: bool) -> None:
    """A person lets an object go by the rules: its series or study is judged now, and waits for nothing more.

    One that is open waits on, unless the person says that it is whole.
    """
    dialect = sqlite if is_sqlite(connection) else postgresql
    new: dict[str, Any] = {"study_instance_uid": study, "series_instance_uid": series, "arrived": 1, "instances": 0}
    new |= dict.fromkeys(("first_at", "opened_at", "last_at", "due_at"), at) | {"person": 1}
    open_ = _t.c.state == GatheringPhase.OPEN
    stays = false() if whole else open_ & (_t.c.person == 0)
    more: dict[str, Any] = {
        "state": GatheringPhase.OPEN.value,
        "arrived": _t.c.arrived + 1,
        "opened_at": case((open_, _t.c.opened_at), else_=at),
        "due_at": case((stays, _t.c.due_at), else_=at),
        "person": case((stays, 0), else_=1),
    }
    statement = dialect.insert(_t).values(new | {"state": GatheringPhase.OPEN.value})
    connection.execute(statement.on_conflict_do_update(index_elements=_KEY, set_=more))


def ended(connection: Connection, studies: Collection[str], at: float) -> None:
    """The association that brought objects of these studies is over: whoever looks next knows it."""
    every = sorted(studies)
    for start in range(0, len(every), AT_ONCE):
        here = _t.c.study_instance_uid.in_(padded(every[start : start + AT_ONCE]))
        values = {"ended": _t.c.arrived, "due_at": at}
        connection.execute(update(_t).where(here, _t.c.state == GatheringPhase.OPEN).values(values))


def hurry(connection: Connection, studies: Collection[str], at: float) -> int:
    """Something was heard of these studies: look at what is open of them; how many."""
    if not studies:
        return 0
    here = _t.c.study_instance_uid.in_(padded(sorted(studies))), _t.c.state == GatheringPhase.OPEN
    return int(connection.execute(update(_t).where(*here).values(due_at=at)).rowcount)


def is_due(connection: Connection, now: float) -> bool:
    """Something is due. Reads only: most walks find nothing."""
    query = select(_t.c.due_at).where(_t.c.state != GatheringPhase.DONE, _t.c.due_at <= now).limit(1)
    return connection.execute(query).first() is not None


def take(connection: Connection, now: float, until: float) -> Gathering | None:
    """Take one that is due; nobody else does before `until`. None if none is due."""
    due = (
        select(_t.c.study_instance_uid, _t.c.series_instance_uid)
        .where(_t.c.state != GatheringPhase.DONE, _t.c.due_at <= now)
        .order_by(_t.c.due_at, _t.c.series_instance_uid.desc())  # a series before its study
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    found = connection.execute(due).first()
    return None if found is None else take_one(connection, found[0], found[1], until)


def take_one(connection: Connection, study: str, series: str, until: float) -> Gathering | None:
    """Take a certain one, if it is not done."""
    taken = (
        update(_t)
        .where(*_is(study, series), _t.c.state != GatheringPhase.DONE)
        .values(fence=_t.c.fence + 1, due_at=until)
        .returning(*_COLUMNS)
    )
    row = connection.execute(taken).first()
    return None if row is None else Gathering.of_row(row)


def _is(study: str, series: str) -> tuple[Any, ...]:
    return _t.c.study_instance_uid == study, _t.c.series_instance_uid == series


def _seen(gathering: Gathering, phase: GatheringPhase) -> tuple[Any, ...]:
    """It is as it was when it was taken: nothing arrived, and nobody else took it."""
    return (
        *_is(gathering.study_instance_uid, gathering.series_instance_uid),
        _t.c.state == phase,
        _t.c.arrived == gathering.arrived,
        _t.c.fence == gathering.fence,
    )


def put_off(connection: Connection, gathering: Gathering, due_at: float, waits: str, expected: int | None) -> bool:
    """Look again later; `expected`: objects with which it may be complete. False if it has changed meanwhile."""
    values = {"due_at": due_at, "waits": waits, "expected": expected}
    done = connection.execute(update(_t).where(*_seen(gathering, GatheringPhase.OPEN)).values(values))
    return bool(done.rowcount)


def judge(
    connection: Connection, gathering: Gathering, complete: str, rules_version: int, trace: str, facts: str
) -> bool:
    """Keep what was decided, to be carried out. False if it has changed meanwhile: look again."""
    values = {
        "state": GatheringPhase.JUDGED,
        "complete": complete,
        "waits": "",
        "rules_version": rules_version,
        "trace": trace,
        "facts": facts,
        "applied_to": 0,
    }
    done = connection.execute(update(_t).where(*_seen(gathering, GatheringPhase.OPEN)).values(values))
    return bool(done.rowcount)


def reopen(connection: Connection, gathering: Gathering, at: float) -> None:
    """Judge it once more: the rules that judged it are not in force any more, and it was not carried out."""
    connection.execute(
        update(_t).where(*_seen(gathering, GatheringPhase.JUDGED)).values(state=GatheringPhase.OPEN, due_at=at)
    )


def applied(connection: Connection, gathering: Gathering, to: int, until: float) -> bool:
    """The objects up to a row are done; the gathering stays taken. False if somebody else took it."""
    here = _is(gathering.study_instance_uid, gathering.series_instance_uid)
    due = case((_t.c.state == GatheringPhase.JUDGED, until), else_=_t.c.due_at)
    done = connection.execute(update(_t).where(*here, _t.c.fence == gathering.fence).values(applied_to=to, due_at=due))
    return bool(done.rowcount)


def finish(connection: Connection, gathering: Gathering, at: float, judged_to: int, sent_to: Sequence[str]) -> None:
    """All is carried out. What arrived meanwhile keeps it open, as late."""
    same = (_t.c.state == GatheringPhase.JUDGED) & (_t.c.arrived == gathering.arrived)
    values: dict[str, Any] = {
        "state": case((same, GatheringPhase.DONE.value), else_=_t.c.state),
        "again": case((same, 0), else_=_t.c.again),
        "person": case((same, 0), else_=_t.c.person),
        "judged_at": func.coalesce(_t.c.judged_at, at),
        "judged_to": judged_to,
        "sent_to": json.dumps(list(sent_to)),
        "applied_to": 0,
    }
    here = _is(gathering.study_instance_uid, gathering.series_instance_uid)
    connection.execute(update(_t).where(*here, _t.c.fence == gathering.fence).values(values))


def of_study(connection: Connection, study: str) -> list[Gathering]:
    """The gatherings of a study, its series before it."""
    query = select(*_COLUMNS).where(_t.c.study_instance_uid == study).order_by(_t.c.first_at, _t.c.series_instance_uid)
    return [Gathering.of_row(row) for row in connection.execute(query)]


def open_series(connection: Connection, study: str) -> list[str]:
    """Series of a study that are not done."""
    here = _t.c.study_instance_uid == study, _t.c.series_instance_uid > "", _t.c.state != GatheringPhase.DONE
    return list(connection.execute(select(_t.c.series_instance_uid).where(*here)).scalars())


def in_series(connection: Connection, study: str) -> tuple[int, int]:
    """How many series of a study have come, and how many objects in them."""
    here = _t.c.study_instance_uid == study, _t.c.series_instance_uid > ""
    query = select(func.count(), func.coalesce(func.sum(_t.c.instances), 0)).where(*here)
    row = connection.execute(query).one()
    return int(row[0]), int(row[1])


def first_at(connection: Connection, study: str) -> float | None:
    """When the first object of a study came."""
    query = select(func.min(_t.c.first_at)).where(_t.c.study_instance_uid == study)
    value: float | None = connection.execute(query).scalar()
    return value


def waiting(connection: Connection, limit: int) -> tuple[int, float | None]:
    """How many are not done, at most `limit`, and since when the first of them waits."""
    undone = _t.c.state != GatheringPhase.DONE
    some = select(_t.c.opened_at).where(undone).order_by(_t.c.due_at).limit(bindparam("most", type_=Integer)).subquery()
    row = connection.execute(select(func.count(), func.min(some.c.opened_at)).select_from(some), {"most": limit}).one()
    return int(row[0]), row[1]


def make_due(connection: Connection, now: float) -> None:
    """Whatever is not done is due now, and waits anew if it has to."""
    connection.execute(update(_t).where(_t.c.state != GatheringPhase.DONE).values(due_at=now))
