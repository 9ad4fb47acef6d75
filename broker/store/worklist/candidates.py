"""The worklist search: one indexed statement per page, a superset of what the query matches.

Columns hold values without padding; `patient_name` is folded. The caller matches every row again. A statement depends
only on the shape of what is asked, so it is compiled once for each shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Select,
    bindparam,
    exists,
    func,
    literal,
    or_,
    select,
    union_all,
)

from broker import telemetry
from broker.store.db import documents
from broker.store.db.prepared import Prepared
from broker.store.schema import tables
from broker.store.schema.base import BIG

FEW = 5000  # candidates of one index up to which they are fetched and sorted rather than met in the order of the list
_SHAPES = 512  # statements kept; a peer cannot make more of them stay
_step = tables.scheduled_step
_station = tables.step_station
_name = tables.step_name


@dataclass(frozen=True, slots=True)
class Words:
    """A column equals one of `exact` or starts with one of `prefixes`."""

    exact: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Criteria:
    """What narrows a search; None means any. Times are `YYYYMMDDHHMMSS[.f]`, both ends included."""

    statuses: tuple[str, ...] | None = None
    stations: Words | None = None
    start_from: str | None = None
    start_until: str | None = None
    modality: Words | None = None
    patient_id: Words | None = None
    accession: Words | None = None
    requested_procedure_id: Words | None = None
    study_instance_uid: Words | None = None
    name_groups: tuple[str, ...] | None = None  # folded beginnings; some component group starts with one of them


@dataclass(frozen=True, slots=True)
class Found:
    """One candidate. `answer` is the JSON text of the merged document, empty where the caller knows this revision;
    `(start_at, id)` is its place in the list.
    """

    id: int
    start_at: str
    revision: int
    answer: str

    def document(self) -> dict[str, Any]:
        """The merged document."""
        found: dict[str, Any] = documents.decode(self.answer)
        return found


_document = select(_step.c.id, _step.c.revision, _step.c.answer)
_DOCUMENTS = Prepared(
    sqlite=_document.where(_step.c.id.in_(select(func.json_each(bindparam("steps")).table_valued("value").c.value))),
    postgresql=_document.where(_step.c.id == func.any(bindparam("steps", type_=ARRAY(BIG)))),
)
_NOTHING = (-1, None)
_IDENTIFIERS = ("patient_id", "accession", "requested_procedure_id", "study_instance_uid")


def search(
    connection: Connection,
    criteria: Criteria,
    after: tuple[str, int] | None,
    limit: int,
    known: Mapping[int, tuple[int, Any]] = MappingProxyType({}),
    *,
    bare: bool = False,
) -> list[Found]:
    """The next `limit` candidates behind `after`, ordered by start, then id.

    `known`: by step, a revision whose document the caller does not need, and what it knows of it. `bare`: without any.
    """
    if after is not None and (criteria.start_from is None or criteria.start_from < after[0]):
        criteria = replace(criteria, start_from=after[0])
    values: dict[str, str | int] = {"limit": limit, "few": FEW}
    if after is not None:
        values["after_start"], values["after_id"] = after
    shape = _shape(criteria, values)
    path = _path(connection, shape, values)
    rows = _prepared(shape, after is not None, path).rows(connection, values)
    wanted = [] if bare else [step for step, _, revision in rows if known.get(step, _NOTHING)[0] != revision]
    documents = _read(connection, wanted) if wanted else {}
    return [Found(step, start, *documents.get(step, (revision, ""))) for step, start, revision in rows]


def _read(connection: Connection, steps: Sequence[int]) -> dict[int, tuple[int, str]]:
    """Revision and answer of steps. Documents are no part of the search: what sorts its rows would carry them."""
    given = list(steps) if connection.dialect.name == "postgresql" else documents.encode(steps)
    return {step: (revision, answer) for step, revision, answer in _DOCUMENTS.rows(connection, {"steps": given})}


def _shape(criteria: Criteria, values: dict[str, str | int]) -> Criteria:
    """The criteria with names in the place of values; the values by these names."""

    def named(prefix: str, texts: Sequence[str]) -> tuple[str, ...]:
        names = tuple(f"{prefix}_{number}" for number in range(len(texts)))
        values.update(zip(names, texts, strict=True))
        return names

    def words(field: str) -> Words | None:
        asked: Words | None = getattr(criteria, field)
        if asked is None:
            return None
        values.update((f"{field}_to_{number}", _behind(text)) for number, text in enumerate(asked.prefixes))
        return Words(named(f"{field}_is", asked.exact), named(f"{field}_from", asked.prefixes))

    groups = criteria.name_groups
    if groups is not None:
        values.update((f"name_to_{number}", _behind(text)) for number, text in enumerate(groups))
    bounds = {"start_from": criteria.start_from, "start_until": criteria.start_until}
    values.update({name: text for name, text in bounds.items() if text is not None})
    return Criteria(
        statuses=None if criteria.statuses is None else named("status", criteria.statuses),
        start_from=None if criteria.start_from is None else "start_from",
        start_until=None if criteria.start_until is None else "start_until",
        name_groups=None if groups is None else named("name_from", groups),
        **{field: words(field) for field in ("stations", "modality", *_IDENTIFIERS)},
    )


def _behind(prefix: str) -> str:
    """The first text behind all that begin with `prefix`, by code points."""
    for position in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[position]) + 1
        if code <= 0x10FFFF:
            return prefix[:position] + chr(0xE000 if code == 0xD800 else code)
    return prefix + "\U0010ffff" * 64  # no such text: longer than any that is stored


# --- the way to the candidates ---------------------------------------------------------------------------


def _path(connection: Connection, shape: Criteria, values: dict[str, str | int]) -> str:
    """The index that yields the candidates: a field of the criteria, `stations` by start, or "" for status and start.

    Where texts only begin somehow, the index is asked first how many there are: few are fetched and sorted, many are
    met soon in the order of the list.
    """
    for field in _IDENTIFIERS:
        words: Words | None = getattr(shape, field)
        if words is not None and words.exact and not words.prefixes:
            return field
    station = shape.stations
    one = station is not None and len(station.exact) == 1 and not station.prefixes
    if one and shape.start_from is not None and shape.start_until is not None:
        return "stations"
    unsure = [field for field in (*_IDENTIFIERS, "name_groups") if getattr(shape, field) is not None]
    for field in [*unsure, *(["stations"] if one else [])]:
        if len(_count(shape, field).rows(connection, values)) < FEW:
            return field
    return "stations" if one and shape.start_from is not None else ""


@lru_cache(_SHAPES)
def _count(shape: Criteria, field: str) -> Prepared:
    """Yields a row for each of the first FEW candidates of an index."""
    limit: Any = bindparam("few")
    if field == "name_groups":
        return Prepared(any=select(literal(1)).select_from(_named(shape).subquery()).limit(limit))
    if field == "stations":
        where = [_matches(_station.c.ae_title, "stations", shape.stations), *_starts(_station.c.start_at, shape)]
        return Prepared(any=select(literal(1)).where(*where).limit(limit))
    return Prepared(any=select(literal(1)).where(_matches(_step.c[field], field, getattr(shape, field))).limit(limit))


@lru_cache(_SHAPES)
def _prepared(shape: Criteria, behind: bool, path: str) -> Prepared:
    return Prepared(any=_statement(shape, behind, path))


def _statement(shape: Criteria, behind: bool, path: str) -> Select[tuple[int, str, int]]:
    """The statement of a page; `behind` the place `(after_start, after_id)`."""
    if path:
        return _page(shape, behind, _status_aside(shape), path)
    if shape.statuses is None:
        return _page(shape, behind, [], path)
    # each status comes sorted out of its index and is cut at the limit, so the rest of a long list is never read
    branches = [
        select(_page(shape, behind, [_step.c.status == bindparam(status)], path).subquery())
        for status in shape.statuses
    ]
    merged = union_all(*branches).subquery()
    columns = (merged.c.id, merged.c.start_at, merged.c.revision)
    return select(*columns).order_by(merged.c.start_at, merged.c.id).limit(_LIMIT)


_LIMIT: Any = bindparam("limit")


def _status_aside(shape: Criteria) -> list[ColumnElement[bool]]:
    """The status as a filter that no index serves: SQLite, without statistics, would walk all open steps by it."""
    if shape.statuses is None:
        return []
    return [func.coalesce(_step.c.status, "").in_([bindparam(status) for status in shape.statuses])]


def _page(
    shape: Criteria, behind: bool, conditions: Sequence[ColumnElement[bool]], path: str
) -> Select[tuple[int, str, int]]:
    by_station = path == "stations"
    start = _station.c.start_at if by_station else _step.c.start_at
    row: ColumnElement[int] = _station.c.step if by_station else _step.c.id  # as the index has it: nothing is sorted
    found = select(_step.c.id, _step.c.start_at, _step.c.revision)
    where = [*conditions, _step.c.held.is_(False), *_filters(shape, path)]
    if shape.stations is not None:
        called = _matches(_station.c.ae_title, "stations", shape.stations)
        if by_station:
            found = found.select_from(_station.join(_step, _station.c.step == _step.c.id))
            where.append(called)
        else:
            where.append(exists().where(_station.c.step == _step.c.id, called))
    where += _starts(start, shape)
    if behind:  # start >= after_start stands above
        where.append(or_(start > bindparam("after_start"), row > bindparam("after_id")))
    # of a few rows by an expression that no index serves: SQLite would rather walk a list in its order than sort them
    order: ColumnElement[str] = func.coalesce(start, "") if path and not by_station else start
    return found.where(*where).order_by(order, row).limit(_LIMIT)


def _starts(start: ColumnElement[str], shape: Criteria) -> list[ColumnElement[bool]]:
    """What is still to be scheduled has an empty start and is in no worklist."""
    where = [start >= bindparam("start_from") if shape.start_from is not None else start > ""]
    return where if shape.start_until is None else [*where, start <= bindparam("start_until")]


def _filters(shape: Criteria, path: str) -> list[ColumnElement[bool]]:
    fields = [field for field in ("modality", *_IDENTIFIERS) if getattr(shape, field) is not None]
    where = [_matches(_step.c[field], field, getattr(shape, field)) for field in fields]
    if shape.name_groups is not None and path == "name_groups":
        where.append(_step.c.id.in_(_named(shape)))
    elif shape.name_groups is not None:
        group = exists().where(_name.c.step == _step.c.id, _begins(_name.c.words, "name", len(shape.name_groups)))
        where.append(or_(_begins(_step.c.patient_name, "name", len(shape.name_groups)), group))
    return where


def _named(shape: Criteria) -> Any:
    """Rows of the steps whose name, or a further group of it, begins with one of the texts."""
    number = len(shape.name_groups or ())
    first = select(_step.c.id).where(_begins(_step.c.patient_name, "name", number))
    return union_all(first, select(_name.c.step).where(_begins(_name.c.words, "name", number)))


def _matches(column: ColumnElement[str], field: str, words: Words | None) -> ColumnElement[bool]:
    assert words is not None
    choices = [_begins(column, field, len(words.prefixes))] if words.prefixes else []
    if words.exact:
        names: list[Any] = [bindparam(name) for name in words.exact]
        choices.append(column == names[0] if len(names) == 1 else column.in_(names))
    return or_(*choices)


def _begins(column: ColumnElement[str], field: str, number: int) -> ColumnElement[bool]:
    """The column begins with one of so many texts. As ranges, which every index serves whose collation is by bytes."""
    ranges = (
        (column >= bindparam(f"{field}_from_{n}")) & (column < bindparam(f"{field}_to_{n}")) for n in range(number)
    )
    return or_(*ranges)


telemetry.count_entries("worklist-statements", _count, _prepared)
