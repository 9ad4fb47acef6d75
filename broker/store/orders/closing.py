"""Reads what the rules for ending steps look at: open steps by station or start, their images and performed steps."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, exists, func, or_, select

from broker.store.schema import tables

_step, _procedure, _station = tables.scheduled_step, tables.requested_procedure, tables.step_station
_instance, _mpps, _link = tables.instance, tables.mpps, tables.mpps_link
Place = tuple[str, int]  # start and row of a step: where a walk stands


@dataclass(frozen=True, slots=True)
class OpenStep:
    """An open step (row) and its order (row). `start_at`: wall clock of the site."""

    order: int
    step: int
    start_at: str
    status: str
    stations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Traces:
    """What there is of the steps of an order, by their rows.

    `images`: by calling AE title how many came since the step waits, and when the last (s since the epoch).
    `performed`: statuses of the MPPS that mean the step.
    """

    status_at: dict[int, float]
    images: dict[int, dict[str, tuple[int, float]]]
    performed: dict[int, list[str]]


def by_start(
    connection: Connection, status: str, until: str, stations: Collection[str] | None, after: Place, limit: int
) -> list[OpenStep]:
    """The next steps in a status that start until then, behind `after` in the order of start and row.

    `stations`: only those on one of these.
    """
    start = _step.c.start_at
    query = _candidates().where(_step.c.status == status, start > "", start >= after[0], start <= until)
    if stations is not None:
        query = query.where(exists().where(_station.c.step == _step.c.id, _station.c.ae_title.in_(stations)))
    return _page(connection, query, start, after, limit)


def with_images(
    connection: Connection, station: str, statuses: Collection[str], until: str, after: Place, limit: int
) -> list[OpenStep]:
    """The next steps on a station, in these statuses and of a study with images, that start until then."""
    start = _station.c.start_at
    images = select(_instance.c.id).where(_instance.c.study_instance_uid == _procedure.c.study_instance_uid).limit(1)
    query = _candidates().join(_station, _station.c.step == _step.c.id)
    query = query.where(_station.c.ae_title == station, start >= after[0], start <= until)
    # no EXISTS: PostgreSQL may hash all objects that ever came. The UID of the step has another collation there
    query = query.where(images.scalar_subquery().is_not(None))
    query = query.where((_step.c.status + "").in_(statuses))  # an expression: the station is the better index
    return _page(connection, query, start, after, limit)


def _candidates() -> Select[Any]:
    columns = (_procedure.c.request, _step.c.id, _step.c.start_at, _step.c.status)
    return select(*columns).join_from(_step, _procedure)


def _page(
    connection: Connection, query: Select[Any], start: ColumnElement[str], after: Place, limit: int
) -> list[OpenStep]:
    query = query.where(or_(start > after[0], _step.c.id > after[1])).order_by(start, _step.c.id).limit(limit)
    rows = connection.execute(query).all()
    stations: dict[int, list[str]] = {row[1]: [] for row in rows}
    titles = select(_station.c.step, _station.c.ae_title).where(_station.c.step.in_(list(stations)))
    for step, title in connection.execute(titles) if rows else ():
        stations[step].append(title)
    return [OpenStep(row[0], row[1], row[2], row[3], tuple(stations[row[1]])) for row in rows]


def traces(connection: Connection, order: int, waiting: Collection[str]) -> Traces:
    """Of all steps of an order (row). For one in a `waiting` status only images that came since count."""
    of_order = _procedure.c.request == order
    at = connection.execute(select(_step.c.id, _step.c.status_at).join_from(_step, _procedure).where(of_order))
    images: dict[int, dict[str, tuple[int, float]]] = {}
    counted = (
        select(_step.c.id, _instance.c.calling_ae, func.count(), func.max(_instance.c.received_at))
        .join_from(_procedure, _step, _step.c.procedure == _procedure.c.id)
        .join(_instance, _instance.c.study_instance_uid == _procedure.c.study_instance_uid)
        .where(of_order, or_(_step.c.status.not_in(waiting), _instance.c.received_at > _step.c.status_at))
        .group_by(_step.c.id, _instance.c.calling_ae)
    )
    for step, calling, count, last in connection.execute(counted):
        images.setdefault(step, {})[calling] = (int(count), float(last))
    performed: dict[int, list[str]] = {}
    said = (
        select(_link.c.step, _mpps.c.status)
        .join_from(_procedure, _step, _step.c.procedure == _procedure.c.id)
        .join(_link, _link.c.step == _step.c.id)
        .join(_mpps, _mpps.c.id == _link.c.mpps)
        .where(of_order)
    )
    for step, status in connection.execute(said):
        performed.setdefault(step, []).append(status)
    return Traces({int(row): float(moment) for row, moment in at}, images, performed)
