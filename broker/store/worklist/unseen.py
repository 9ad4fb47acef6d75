"""Lists steps that wait and that no device shows: by reason, page by page, each page by an index.

Steps without a start and past ones are found by status and start, the latest first; those of a station by station and
start. Stations are found one after the other in their index, which costs as much as there are stations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
)

from broker.model.unseen import UnseenGround, UnseenReason, UnseenStep
from broker.store.db.pace import padded
from broker.store.schema import tables

MOST_STATIONS = 2_000  # that are looked at, in the order of their titles
_step, _station = tables.scheduled_step, tables.step_station
_other = _station.alias("other")
_BY_START = (UnseenReason.UNSCHEDULED, UnseenReason.PAST)


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
        for part in _parts(connection, ground, one, behind, limit):
            found += part
            if len(found) >= limit:
                return found[:limit]
    return found


def count(connection: Connection, ground: UnseenGround, reason: UnseenReason, most: int) -> int:
    """How many steps have a reason, counted up to `most`."""
    if reason in _BY_START:
        # in the order of the index: without one PostgreSQL may read the whole table
        ordered = select(literal(1)).order_by(_step.c.start_at)
        queries = [ordered.where(*_at(ground, reason, status)) for status in ground.statuses]
    else:
        queries = [_of_station(ground, title, literal(1)) for title in _titles(connection, ground, reason)]
    total = 0
    for query in queries:
        some = query.limit(most - total).subquery()
        total += int(connection.execute(select(func.count()).select_from(some)).scalar_one())
        if total >= most:
            break
    return total


def _parts(
    connection: Connection, ground: UnseenGround, reason: UnseenReason, after: UnseenStep | None, limit: int
) -> Iterator[list[UnseenStep]]:
    """The steps of one reason in their order."""
    if reason in _BY_START:
        yield _latest(connection, ground, reason, after, limit)
        return
    for title in _titles(connection, ground, reason):
        if after is None or title >= after.station:
            behind = after if after is not None and title == after.station else None
            yield _of_one_station(connection, ground, reason, title, behind, limit)


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
    if reason is UnseenReason.UNSCHEDULED:
        return [_step.c.status == status, _step.c.start_at == ""]
    return [_step.c.status == status, _step.c.start_at > "", _step.c.start_at < ground.today]


def _of_one_station(
    connection: Connection,
    ground: UnseenGround,
    reason: UnseenReason,
    title: str,
    after: UnseenStep | None,
    limit: int,
) -> list[UnseenStep]:
    query = _of_station(ground, title, _station.c.start_at, _station.c.step)
    if after is not None:
        behind = or_(_station.c.start_at > after.start_at, _station.c.step > after.step)
        query = query.where(_station.c.start_at >= after.start_at, behind)
    ordered = query.order_by(_station.c.start_at, _station.c.step).limit(limit)
    return [
        UnseenStep(reason=reason, station=title, start_at=start, step=step)
        for start, step in connection.execute(ordered)
    ]


def _of_station(ground: UnseenGround, title: str, *columns: Any) -> Select[Any]:
    """The steps from today on of a station that have no known one too. Of several stations the first one counts."""
    seen = [_other.c.ae_title < title]
    if ground.known:
        seen.append(_other.c.ae_title.in_(padded(sorted(ground.known))))
    # a limit, so that PostgreSQL looks by the index for each step and hashes no whole table
    other = select(literal(1)).where(_other.c.step == _station.c.step, or_(*seen)).limit(1).scalar_subquery()
    return (
        select(*columns)
        .select_from(_station.join(_step, _station.c.step == _step.c.id))
        .where(
            _station.c.ae_title == title,
            _station.c.start_at >= ground.today,
            func.coalesce(_step.c.status, "").in_(ground.statuses),
            other.is_(None),
        )
    )


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
