"""Finds studies of which objects were received, by what people know of them, the newest first, page by page.

Patient, accession number, study and order lead by their indexes; else the walk goes by the time of the first object.
What no index knows is told with each study, so many studies for one page (`db/newest.py`). Studies that are not
complete are led by their deliveries while these are few.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, literal, or_, select, true, tuple_

from broker.model.lane import UNFINISHED, JobKind, JobState, Lane, LaneKind
from broker.store.db import newest
from broker.store.db.newest import Place, RowKey, Source
from broker.store.db.pace import padded
from broker.store.db.prepared import Prepared
from broker.store.holds.waiting import orders_of
from broker.store.images.held_objects import of_order, of_row
from broker.store.images.instances import REROUTED, InstanceState
from broker.store.schema import tables

Item = TypeVar("Item")
LONGEST = 200  # characters of a text that is looked for
FEW = 5_000  # deliveries that are not done: so many lead to their studies
STEP, FAR = 50, 1_000  # studies whose deliveries are looked at together, and for one page
CHUNK = 500  # studies or objects of one statement
KEYS = 20  # keys of a study that are shown
_t, _key, _i, _job = tables.study, tables.study_key, tables.instance, tables.job
_STAY = (InstanceState.HELD, InstanceState.WAITING)  # objects that are not on their way yet
_KEYS = Prepared(
    any=select(_key.c.patient_id, _key.c.accession, _key.c.modality, _key.c.calling_ae)
    .where(_key.c.study == bindparam("study"))
    .limit(KEYS)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFilter:
    """Which studies; an empty text is any. `since` and `until`: of the first object, in s since the epoch.

    `device`: the calling AE title of who sent an object. `node`: a destination that objects were to be sent to; with
    `incomplete` one that does not have all. `incomplete`: an object is held or waits for its study, or a delivery
    waits, is held or was given up. `order`: a row, 0 for any.
    """

    study: str = ""
    patient: str = ""
    accession: str = ""
    modality: str = ""
    device: str = ""
    node: str = ""
    order: int = 0
    since: float | None = None
    until: float | None = None
    incomplete: bool = False

    def askable(self) -> StudyFilter:
        """The same with texts that a database takes. What no object has stays something that none has."""
        return replace(
            self,
            study=_askable(self.study),
            patient=_askable(self.patient),
            accession=_askable(self.accession),
            modality=_askable(self.modality),
            device=_askable(self.device),
            node=_askable(self.node),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyLine:
    """A study by our own number, with what its objects say. `order`: the row of its order, 0 for none."""

    id: int
    study_instance_uid: str
    first_at: float
    patients: tuple[str, ...]
    accessions: tuple[str, ...]
    modalities: tuple[str, ...]
    devices: tuple[str, ...]
    order: int


@dataclass(frozen=True, slots=True)
class StudyPage:
    """Studies, the newest first. `after`: where the next page begins; None behind the last one.

    A page may be short, and yet not be the last one: so far was looked.
    """

    lines: list[StudyLine]
    after: Place | None


def find(connection: Connection, wanted: StudyFilter, after: Place | None, limit: int) -> StudyPage:
    """At most `limit` studies behind a place."""
    wanted = wanted.askable()
    few = _few(connection, wanted) if wanted.incomplete else None
    far, step = newest.FAR, newest.LOOK
    if few is not None:
        source: Source = partial(_of_list, few)
    else:
        source = partial(_of_table, connection, _leads(wanted), _fits(wanted))
        if wanted.incomplete or wanted.node:
            far, step = FAR, STEP
    found = newest.page([source], after, limit, step, far)
    return StudyPage(lines(connection, [row for _, row in found.places]), found.after)


def lines(connection: Connection, rows: Sequence[int]) -> list[StudyLine]:
    """Studies by their rows, in the same order."""
    query = select(_t.c.id, _t.c.study_instance_uid, _t.c.first_at).where(_t.c.id.in_(padded(rows)))
    found = {row[0]: row for row in connection.execute(query)} if rows else {}
    orders = orders_of(connection, [row[1] for row in found.values()]) if found else {}
    return [_line(connection, found[row], orders) for row in rows if row in found]


def row_of(connection: Connection, study_instance_uid: str) -> int:
    """The row of a study; 0 for one of which no object came."""
    query = select(_t.c.id).where(_t.c.study_instance_uid == study_instance_uid)
    return int(connection.execute(query).scalar() or 0)


def rows_of(connection: Connection, studies: Sequence[str]) -> dict[str, int]:
    """The rows of those studies (UIDs) of which objects came."""
    wanted = list(dict.fromkeys(filter(None, studies)))
    query = select(_t.c.study_instance_uid, _t.c.id).where(_t.c.study_instance_uid.in_(padded(wanted)))
    return {row[0]: row[1] for row in connection.execute(query)} if wanted else {}


def _line(connection: Connection, row: Sequence[Any], orders: dict[str, int]) -> StudyLine:
    keys = _KEYS.rows(connection, {"study": row[0]})
    patients, accessions, modalities, devices = (
        tuple(sorted({key[place] for key in keys} - {""})) for place in range(4)
    )
    return StudyLine(
        id=row[0],
        study_instance_uid=row[1],
        first_at=row[2],
        patients=patients,
        accessions=accessions,
        modalities=modalities,
        devices=devices,
        order=orders.get(row[1], 0),
    )


def _leads(wanted: StudyFilter) -> list[ColumnElement[bool]]:
    """What an index knows."""
    found: list[ColumnElement[bool]] = []
    if wanted.study:
        found.append(_t.c.study_instance_uid == wanted.study)
    if wanted.patient:
        found.append(_t.c.id.in_(select(_key.c.study).where(_key.c.patient_id == wanted.patient)))
    if wanted.accession:
        said = select(_key.c.study).where(_key.c.accession == wanted.accession)
        found.append(or_(_t.c.id.in_(said), _t.c.study_instance_uid.in_(of_order(wanted.accession))))
    if wanted.order:
        found.append(_t.c.study_instance_uid.in_(of_row(wanted.order)))
    if wanted.since is not None:
        found.append(_t.c.first_at >= wanted.since)
    if wanted.until is not None:
        found.append(_t.c.first_at < wanted.until)
    return found


def _fits(wanted: StudyFilter) -> ColumnElement[bool]:
    """What is looked at for each study."""
    found: list[ColumnElement[bool]] = []
    for column, value in ((_key.c.modality, wanted.modality), (_key.c.calling_ae, wanted.device)):
        if value:
            said = select(literal(1)).where(_key.c.study == _t.c.id, column == value).limit(1)
            found.append(said.scalar_subquery().is_not(None))
    if wanted.incomplete:
        undelivered = _delivery(wanted.node, _undone(by_index=False))
        found.append(undelivered if wanted.node else or_(undelivered, _object_stays()))
    elif wanted.node:
        found.append(_delivery(wanted.node))
    return and_(true(), *found)


def _undone(*, by_index: bool) -> ColumnElement[bool]:
    """A delivery that waits, is held or was given up. `by_index` of states; else that of objects leads."""
    state = _job.c.state if by_index else _job.c.state.concat("")
    given_up = and_(state == JobState.DISCARDED, _job.c.last_error != REROUTED)
    return or_(state.in_(UNFINISHED), given_up)


def _delivery(node: str, *more: ColumnElement[bool]) -> ColumnElement[bool]:
    """An object of the study has such a delivery.

    By subqueries with LIMIT, so that the study leads to its objects, and these to their deliveries: a join would be
    led by all deliveries of a lane, and PostgreSQL would hash a whole table.
    """
    lane = [_job.c.lane == Lane(LaneKind.DELIVER, node).name] if node else []
    of_object = select(_job.c.id).where(_job.c.subject == _i.c.id, _job.c.kind == JobKind.DELIVER, *lane, *more)
    has = of_object.limit(1).correlate(_i).scalar_subquery().is_not(None)
    objects = select(_i.c.id).where(_i.c.study_instance_uid == _t.c.study_instance_uid, has)
    return objects.limit(1).correlate(_t).scalar_subquery().is_not(None)


def _object_stays() -> ColumnElement[bool]:
    """An object of the study is held, or waits for it."""
    here = _i.c.study_instance_uid == _t.c.study_instance_uid, _i.c.state.concat("").in_(_STAY)
    return select(_i.c.id).where(*here).limit(1).correlate(_t).scalar_subquery().is_not(None)


def _of_table(
    connection: Connection,
    leads: Sequence[ColumnElement[bool]],
    fits: ColumnElement[bool],
    after: Place | None,
    limit: int,
) -> list[RowKey]:
    place = _t.c.first_at, _t.c.id
    here = [] if after is None else [_t.c.first_at <= after[0], tuple_(*place) < tuple_(*map(literal, after))]
    query = select(*place, fits).where(*leads, *here).order_by(_t.c.first_at.desc(), _t.c.id.desc()).limit(limit)
    return [RowKey((row[0], row[1]), bool(row[2])) for row in connection.execute(query)]


def _of_list(keys: Sequence[RowKey], after: Place | None, limit: int) -> list[RowKey]:
    return [key for key in keys if after is None or key.place < after][:limit]


def _few(connection: Connection, wanted: StudyFilter) -> list[RowKey] | None:
    """The studies that are not complete, with whether they fit, the newest first; None if too much is not done."""
    objects: set[int] = set()
    for query in _undone_jobs(wanted.node):
        objects.update(connection.execute(query.limit(FEW + 1)).scalars().all())
        if len(objects) > FEW:
            return None
    studies: set[str] = set()
    for part in _chunks(sorted(objects)):
        found = select(_i.c.study_instance_uid).where(_i.c.id.in_(padded(part))).distinct()
        studies.update(connection.execute(found).scalars().all())
    for state in _STAY if not wanted.node else ():
        stays = select(_i.c.study_instance_uid).where(_i.c.state == state).limit(FEW + 1)
        found_here = connection.execute(stays).scalars().all()
        if len(found_here) > FEW:
            return None
        studies.update(found_here)
    leads, fits = _leads(wanted), _fits(_without_deliveries(wanted))
    keys: list[RowKey] = []
    for names in _chunks(sorted(studies)):
        rows = select(_t.c.first_at, _t.c.id, fits).where(_t.c.study_instance_uid.in_(padded(names)), *leads)
        keys += [RowKey((row[0], row[1]), bool(row[2])) for row in connection.execute(rows)]
    return sorted(keys, key=lambda key: key.place, reverse=True)


def _undone_jobs(node: str) -> Iterator[Select[Any]]:
    """The objects of deliveries that are not done, by the index of states and lanes."""
    name = Lane(LaneKind.DELIVER, node).name
    lane = _job.c.lane == name if node else and_(_job.c.lane >= name, _job.c.lane < f"{LaneKind.DELIVER}" + ";")
    for state in (*UNFINISHED, JobState.DISCARDED):
        here = _job.c.state == state, lane, _job.c.kind.concat("") == JobKind.DELIVER, _undone(by_index=True)
        yield select(_job.c.subject).where(*here)


def _without_deliveries(wanted: StudyFilter) -> StudyFilter:
    return StudyFilter(modality=wanted.modality, device=wanted.device)


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


def _askable(text: str) -> str:
    return "".join(one if one.isprintable() else "\ufffd" for one in text.strip())[:LONGEST]
