"""Lists steps that wait and that no device shows: by reason, page by page, each page by an index.

Steps without a start and past ones are found by status and start, the latest first, and those that the RIS holds by an
index of their own; those of a station by station and start. Stations are found one after the other in their index,
which costs as much as there are stations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
)

from broker.model.exam import UnseenGround, UnseenReason, UnseenStep
from broker.store.db.pace import padded
from broker.store.schema import tables

LOOK, LOOK_FAR = 256, 1024  # steps of a station at a time, for a page and for a count
MOST_STATIONS = 2_000  # that are looked at, in the order of their titles
_step, _station = tables.scheduled_step, tables.step_station
_BY_START = (UnseenReason.HELD, UnseenReason.UNSCHEDULED, UnseenReason.PAST)


def page(
    connection: Connection, ground: UnseenGround, reason: UnseenReason | None, after: UnseenStep | None, limit: int
) -> list[UnseenStep]:
    """At most `limit` steps behind a place: of one reason, or of one reason after the other."""
    found: list[UnseenStep] = []
    reasons = [reason] if reason else list(UnseenReason)
    if after is not None:
        reasons = reasons[reasons.index(after.reason) :] if after.reason in reasons else []
    for one in reasons:
        behind = after if after is not None and after.reason == one else None
        room = limit - len(found)
        if one in _BY_START:
            found += _latest(connection, ground, one, behind, room)
        else:
            found += islice(_of_stations(connection, ground, one, behind, LOOK), room)
        if len(found) >= limit:
            break
    return found


def count(connection: Connection, ground: UnseenGround, reason: UnseenReason, most: int) -> int:
    """How many steps have a reason, counted up to `most`."""
    if reason not in _BY_START:
        return sum(1 for _ in islice(_of_stations(connection, ground, reason, None, LOOK_FAR), most))
    total = 0
    for status in ground.statuses:
        # in the order of the index: without one PostgreSQL may read the whole table
        ordered = select(literal(1)).where(*_at(ground, reason, status)).order_by(_step.c.start_at)
        some = ordered.limit(most - total).subquery()
        total += int(connection.execute(select(func.count()).select_from(some)).scalar_one())
        if total >= most:
            break
    return total


def _latest(
    connection: Connection, ground: UnseenGround, reason: UnseenReason, after: UnseenStep | None, limit: int
) -> list[UnseenStep]:
    """Of each status the first ones, met and cut together."""
    found: list[tuple[str, int]] = []
    for status in ground.statuses:
        where = _at(ground, reason, status)
        if after is not None:
            behind = or_(_step.c.start_at < after.start_at, _step.c.id < after.step)
            where += [_step.c.start_at <= after.start_at, behind]
        query = select(_step.c.start_at, _step.c.id).where(*where)
        ordered = query.order_by(_step.c.start_at.desc(), _step.c.id.desc()).limit(limit)
        found += [(row[0], row[1]) for row in connection.execute(ordered)]
    first = sorted(found, reverse=True)[:limit]
    return [UnseenStep(reason=reason, station="", start_at=start, step=step) for start, step in first]


def _at(ground: UnseenGround, reason: UnseenReason, status: str) -> list[ColumnElement[bool]]:
    if reason is UnseenReason.HELD:
        return [_step.c.status == status, _step.c.held]  # as the index of held steps is written
    free = [_step.c.status == status, _step.c.held.is_(False)]
    if reason is UnseenReason.UNSCHEDULED:
        return [*free, _step.c.start_at == ""]
    return [*free, _step.c.start_at > "", _step.c.start_at < ground.today]


def _of_stations(
    connection: Connection, ground: UnseenGround, reason: UnseenReason, after: UnseenStep | None, look: int
) -> Iterator[UnseenStep]:
    """The steps whose station is the reason, station by station, each from today on."""
    for title in _titles(connection, ground, reason):
        if after is None or title >= after.station:
            place = (after.start_at, after.step) if after is not None and title == after.station else None
            for start, step in _of_station(connection, ground, title, place, look):
                yield UnseenStep(reason=reason, station=title, start_at=start, step=step)


def _of_station(
    connection: Connection, ground: UnseenGround, title: str, after: tuple[str, int] | None, look: int
) -> Iterator[tuple[str, int]]:
    """Start and row of the steps of a station that wait and have no known station too, `look` at a time."""
    here = select(_station.c.start_at, _station.c.step).where(
        _station.c.ae_title == title, _station.c.start_at >= ground.today
    )
    ordered = here.order_by(_station.c.start_at, _station.c.step).limit(look)
    while True:
        query = ordered
        if after is not None:
            behind = or_(_station.c.start_at > after[0], _station.c.step > after[1])
            query = ordered.where(_station.c.start_at >= after[0], behind)
        places = [(row[0], row[1]) for row in connection.execute(query)]
        unseen = _unseen(connection, ground, title, [step for _, step in places])
        yield from (place for place in places if place[1] in unseen)
        if len(places) < look:
            return
        after = places[-1]


def _unseen(connection: Connection, ground: UnseenGround, title: str, steps: Sequence[int]) -> set[int]:
    """Of steps (rows) of a station those that wait and have no known one too. Of several stations the first counts."""
    if not steps:
        return set()
    rows = padded(steps)
    waiting = select(_step.c.id).where(
        _step.c.id.in_(rows), func.coalesce(_step.c.status, "").in_(ground.statuses), _step.c.held.is_(False)
    )
    found = set(connection.execute(waiting).scalars())
    others = select(_station.c.step, _station.c.ae_title).where(_station.c.step.in_(rows), _station.c.ae_title != title)
    return found - {step for step, other in connection.execute(others) if other < title or other in ground.known}


def _titles(connection: Connection, ground: UnseenGround, reason: UnseenReason) -> Sequence[str]:
    """The stations that are the reason, in their order."""
    if reason is UnseenReason.UNASSIGNED:
        return () if ground.default in ground.known else (ground.default,)
    columns: Any = (func.min(_station.c.ae_title).label("title"), literal_column("1", Integer).label("place"))
    titles = select(*columns).cte("titles", recursive=True)
    following = select(func.min(_station.c.ae_title)).where(_station.c.ae_title > titles.c.title).scalar_subquery()
    titles = titles.union_all(
        select(following, titles.c.place + 1).where(titles.c.title.is_not(None), titles.c.place < MOST_STATIONS)
    )
    ahead = exists().where(_station.c.ae_title == titles.c.title, _station.c.start_at >= ground.today)
    rows = connection.execute(select(titles.c.title).where(titles.c.title.is_not(None), ahead)).scalars()
    return sorted(title for title in rows if title not in ground.known and title != ground.default)
