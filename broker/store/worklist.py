"""The worklist search: one indexed statement per page, a superset of what the query matches.

Columns hold values without padding; `patient_name` is folded. Comparisons that the database makes less
strictly than DICOM (SQLite's LIKE ignores ASCII case) are fine: the caller matches every row again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, or_, select, union_all

from broker.store import tables

_ESCAPE = "\\"
_step = tables.scheduled_step
_station = tables.step_station


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
    """One candidate. `answer` is the JSON text of the merged document; `(start_at, id)` is its place in the list."""

    id: int
    start_at: str
    revision: int
    answer: str

    def document(self) -> dict[str, Any]:
        """The merged document."""
        found: dict[str, Any] = json.loads(self.answer)
        return found


def search(connection: Connection, criteria: Criteria, after: tuple[str, int] | None, limit: int) -> list[Found]:
    """The next `limit` candidates behind `after`, ordered by start, then id."""
    rows = connection.execute(_statement(criteria, after, limit))
    return [Found(row.id, row.start_at, row.revision, row.answer) for row in rows]


def _statement(criteria: Criteria, after: tuple[str, int] | None, limit: int) -> Select[tuple[int, str, int, str]]:
    if after is not None and (criteria.start_from is None or criteria.start_from < after[0]):
        criteria = replace(criteria, start_from=after[0])
    if _has_identifier(criteria):
        return _page(criteria, after, limit, _status_aside(criteria))
    if criteria.start_from is not None and _one_station(criteria):
        return _page(criteria, after, limit, _status_aside(criteria), by_station=True)
    if criteria.statuses is None:
        return _page(criteria, after, limit, [])
    # each status comes sorted out of its index and is cut at `limit`, so the rest of a long list is never read
    branches = [
        select(_page(criteria, after, limit, [_step.c.status == status]).subquery()) for status in criteria.statuses
    ]
    merged = union_all(*branches).subquery()
    columns = (merged.c.id, merged.c.start_at, merged.c.revision, merged.c.answer)
    return select(*columns).order_by(merged.c.start_at, merged.c.id).limit(limit)


def _has_identifier(criteria: Criteria) -> bool:
    words = (
        criteria.patient_id, criteria.accession, criteria.requested_procedure_id, criteria.study_instance_uid,
    )  # fmt: skip
    return any(word is not None and word.exact and not word.prefixes for word in words)


def _one_station(criteria: Criteria) -> bool:
    words = criteria.stations
    return words is not None and len(words.exact) == 1 and not words.prefixes


def _status_aside(criteria: Criteria) -> list[ColumnElement[bool]]:
    """The status as a filter that no index serves: SQLite, without statistics, would walk all open steps by it."""
    return [func.coalesce(_step.c.status, "").in_(criteria.statuses)] if criteria.statuses is not None else []


def _page(
    criteria: Criteria,
    after: tuple[str, int] | None,
    limit: int,
    conditions: Sequence[ColumnElement[bool]],
    *,
    by_station: bool = False,
) -> Select[tuple[int, str, int, str]]:
    start = _station.c.start_at if by_station else _step.c.start_at
    found = select(_step.c.id, _step.c.start_at, _step.c.revision, _step.c.answer)
    where = [*conditions, _step.c.held.is_(False), *_filters(criteria)]
    if criteria.stations is not None:
        called = _matches(_station.c.ae_title, criteria.stations)
        if by_station:
            found = found.select_from(_station.join(_step, _station.c.step == _step.c.id))
            where.append(called)
        else:
            where.append(exists().where(and_(_station.c.step == _step.c.id, called)))
    # what is still to be scheduled has an empty start and is in no worklist
    where.append(start >= criteria.start_from if criteria.start_from is not None else start > "")
    if criteria.start_until is not None:
        where.append(start <= criteria.start_until)
    if after is not None:
        where.append(or_(start > after[0], _step.c.id > after[1]))  # start >= after[0] stands above
    return found.where(*where).order_by(start, _step.c.id).limit(limit)


def _filters(criteria: Criteria) -> list[ColumnElement[bool]]:
    columns = (
        (_step.c.modality, criteria.modality),
        (_step.c.patient_id, criteria.patient_id),
        (_step.c.accession, criteria.accession),
        (_step.c.requested_procedure_id, criteria.requested_procedure_id),
        (_step.c.study_instance_uid, criteria.study_instance_uid),
    )
    where = [_matches(column, words) for column, words in columns if words is not None]
    if criteria.name_groups is not None:
        name = _step.c.patient_name
        starts = (or_(_begins(name, group), _begins(name, group, "%=")) for group in criteria.name_groups)
        where.append(or_(*starts))
    return where


def _matches(column: ColumnElement[str], words: Words) -> ColumnElement[bool]:
    choices = [_begins(column, prefix) for prefix in words.prefixes]
    if words.exact:
        choices.append(column == words.exact[0] if len(words.exact) == 1 else column.in_(words.exact))
    return or_(*choices)


def _begins(column: ColumnElement[str], text: str, before: str = "") -> ColumnElement[bool]:
    """LIKE with everything of `text` taken literally."""
    literal = text.replace(_ESCAPE, _ESCAPE * 2).replace("%", _ESCAPE + "%").replace("_", _ESCAPE + "_")
    return column.like(f"{before}{literal}%", escape=_ESCAPE)
