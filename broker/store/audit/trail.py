"""Finds rows of the audit trail, the newest first, a page at a time.

One filter leads: its index gives keys in order of time. The other filters are asked of these keys (`store.db.newest`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Row, and_, case, func, literal, or_, select, true

from broker.model.audit import AuditRecord, AuditSelection
from broker.store.db import documents, newest
from broker.store.db.newest import Place, RowKey
from broker.store.db.pace import padded
from broker.store.schema import tables
from broker.store.schema.audit import LINES, NO_LINE, UNUSUAL, USUAL

_t = tables.audit
MOST_PATIENTS = 64  # rows that one identifier may mean, under different issuers
_MACHINES = (LINES, "dicom:", "source:", "broker")  # actors with so many rows that a rare action leads to fewer
_Condition = ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Rows, the newest first. `after`: where the next page begins, None behind the last one."""

    rows: list[AuditRecord]
    after: Place | None


def page(connection: Connection, selection: AuditSelection, after: Place | None, limit: int) -> AuditPage:
    """At most `limit` rows of a selection, older than the place `after`."""
    leads, rest = _plan(connection, selection)
    sources = [partial(_keys, connection, and_(lead, *_times(selection)), rest) for lead in leads]
    found = newest.page(sources, after, limit, limit if rest is None else newest.LOOK)
    return AuditPage(_load(connection, [row for _, row in found.places]), found.after)


def count(connection: Connection, selection: AuditSelection, most: int) -> tuple[int, bool]:
    """How many rows match, of the newest that are looked at, and whether that is all. Not beyond `most`."""
    leads, rest = _plan(connection, selection)
    rows = newest.FAR if rest is not None else most + 1
    found, whole = 0, True
    for lead in leads:
        fits = literal(1) if rest is None else case((rest, 1), else_=0)
        rows_of = select(fits.label("fits")).select_from(_t).where(lead, *_times(selection))
        part = rows_of.order_by(_t.c.at.desc(), _t.c.id.desc()).limit(rows).subquery()
        looked, fit = connection.execute(select(func.count(), func.sum(part.c.fits)).select_from(part)).one()
        found, whole = found + int(fit or 0), whole and looked < rows
    return min(found, most), whole and found <= most


def patients(connection: Connection, number: str, issuer: str = "") -> tuple[int, ...]:
    """Rows of the patients that have or had this identifier; of any issuer without one. Some may be deleted by now."""
    rows: dict[int, None] = {}
    sources: Sequence[tuple[Column[Any], Any]] = (
        (tables.patient.c.id, tables.patient.c),
        (tables.patient_alias.c.patient, tables.patient_alias.c),
        (tables.former_patient.c.patient, tables.former_patient.c),
    )
    for row, table in sources:
        query = select(row).where(table.patient_id == number).order_by(table.issuer).limit(MOST_PATIENTS)
        rows |= dict.fromkeys(connection.execute(query.where(table.issuer == issuer) if issuer else query).scalars())
    return tuple(rows)


def _plan(connection: Connection, selection: AuditSelection) -> tuple[list[_Condition], _Condition | None]:
    """What leads (any of it), and the rest that must fit too."""
    if selection.patients is not None:
        conditions: list[_Condition] = [_t.c.patient == row for row in selection.patients]
        return conditions, _all(_object(selection), _actor(selection), _action(selection))
    if selection.object_id is not None:
        kinds = [selection.kind] if selection.kind else _kinds(connection)
        objects = [and_(_t.c.object_kind == kind, _t.c.object_id == selection.object_id) for kind in kinds]
        return objects, _all(_actor(selection), _action(selection))
    kind = _t.c.object_kind == selection.kind if selection.kind else None
    actor, action = _actor(selection), _action(selection)
    by_actor = actor is not None and not selection.actor.endswith(":") and not selection.actor.startswith(LINES)
    by_action = action is not None and not selection.action.endswith(".") and selection.action != USUAL
    if by_actor and not (by_action and selection.actor.startswith(_MACHINES)):
        assert actor is not None
        return [and_(actor, NO_LINE)], _all(kind, action)
    if by_action:
        assert action is not None
        return [and_(action, UNUSUAL)], _all(kind, actor)
    return [true()], _all(kind, actor, action)


def _kinds(connection: Connection) -> list[str]:
    """The kinds of object that any row has: an index tells each by one look."""
    kinds: list[str] = []
    query = select(func.min(_t.c.object_kind))
    kind = connection.execute(query).scalar()
    while kind is not None:
        kinds.append(kind)
        kind = connection.execute(query.where(_t.c.object_kind > kind)).scalar()
    return kinds


def _all(*conditions: _Condition | None) -> _Condition | None:
    given = [condition for condition in conditions if condition is not None]
    return and_(*given) if given else None


def _object(selection: AuditSelection) -> _Condition | None:
    kind = _t.c.object_kind == selection.kind if selection.kind else None
    return _all(kind, None if selection.object_id is None else _t.c.object_id == selection.object_id)


def _actor(selection: AuditSelection) -> _Condition | None:
    return _text(_t.c.actor, selection.actor, ":")


def _action(selection: AuditSelection) -> _Condition | None:
    return _text(_t.c.action, selection.action, ".")


def _text(column: Column[Any], value: str, end: str) -> _Condition | None:
    if not value:
        return None
    return column.startswith(value, autoescape=True) if value.endswith(end) else column == value


def _times(selection: AuditSelection) -> list[_Condition]:
    since = [] if selection.since is None else [_t.c.at >= selection.since]
    return since + ([] if selection.until is None else [_t.c.at < selection.until])


def _keys(
    connection: Connection, lead: _Condition, rest: _Condition | None, after: Place | None, size: int
) -> list[RowKey]:
    fits = literal(1) if rest is None else case((rest, 1), else_=0)
    query = select(_t.c.at, _t.c.id, fits).where(lead).order_by(_t.c.at.desc(), _t.c.id.desc()).limit(size)
    if after is not None:
        query = query.where(_t.c.at <= after[0], or_(_t.c.at < after[0], _t.c.id < after[1]))
    return [RowKey((at, row), bool(fit)) for at, row, fit in connection.execute(query)]


def _load(connection: Connection, rows: Sequence[int]) -> list[AuditRecord]:
    query = select(_t).where(_t.c.id.in_(padded(rows)))
    found = {row.id: row for row in connection.execute(query)} if rows else {}
    return [record_of(found[row]) for row in rows if row in found]


def record_of(row: Row[Any]) -> AuditRecord:
    """The value of a row of the table."""
    return AuditRecord(
        row=row.id,
        at=row.at,
        actor=row.actor,
        action=row.action,
        kind=row.object_kind,
        object_id=row.object_id,
        detail=documents.decode(row.detail),
        address=row.address,
        patient=row.patient,
    )
