"""Finds exams page by page: those of a day by their time, others the newest order first.

If one condition leads to few orders by its index (`leads`), these are asked all other conditions, and counted. If none
does, the orders are walked through, the newest first, LOOK at a time and FAR in all for one page, or for PATIENCE: what
fits is common, or the page is short. A short page is not the last one: `after` says where the next one begins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, case, exists, func, literal, or_, select, true

from broker.model.exam import ExamLine, ExamPage, ExamSelection, Place
from broker.store.db.pace import padded
from broker.store.exams import leads, lines
from broker.store.exams.leads import NUMBERS, begins
from broker.store.schema import tables

LOOK, FAR = 500, 8_000
PATIENCE = 0.2  # seconds: a page that takes longer ends where it is
COUNTED = 10_000  # orders that are counted where all of them match
PAGE = 256  # orders that are asked at once
_request, _patient, _alias = tables.service_request, tables.patient, tables.patient_alias
_procedure, _step, _station = tables.requested_procedure, tables.scheduled_step, tables.step_station
_term = tables.patient_term


@dataclass(frozen=True, slots=True)
class TextFilter:
    """What SQL cannot say: words of texts. `may`: of the JSON texts of an exam; False only if it cannot fit."""

    may: Callable[[str], bool]
    fits: Callable[[ExamLine], bool]


def find(
    connection: Connection,
    selection: ExamSelection,
    statuses: Sequence[str],
    texts: TextFilter | None,
    after: Place | None,
    limit: int,
) -> ExamPage:
    """At most `limit` exams of a selection behind a place. `statuses`: all that steps have.

    `texts`: the rest of the selection; None for nothing.
    """
    rows = leads.few(connection, selection, statuses)
    if rows is None:
        return _walk(connection, selection, texts, after, limit)
    fitting = _fitting(connection, list(_asked(connection, selection, rows)), texts)
    by_day = bool(selection.day)
    starts = _starts(connection, fitting, selection.day) if by_day else {}
    places = sorted(((starts.get(row, ""), row) for row in fitting), reverse=not by_day)
    behind = [place for place in places if after is None or (place > after if by_day else place < after)]
    shown = behind[:limit]
    return ExamPage(
        lines=tuple(lines.load(connection, [row for _, row in shown])),
        after=shown[-1] if len(behind) > limit else None,
        total=len(places),
        whole=True,
    )


def _asked(connection: Connection, selection: ExamSelection, rows: Sequence[int]) -> Iterator[int]:
    """Of some orders (rows) those that match, as far as SQL can say."""
    fit = case((_conditions(selection), 1), else_=0)
    for start in range(0, len(rows), PAGE):
        query = select(_request.c.id, fit).where(_request.c.id.in_(padded(rows[start : start + PAGE])))
        yield from (row for row, is_one in connection.execute(query) if is_one)


def _fitting(connection: Connection, rows: Sequence[int], texts: TextFilter | None) -> list[int]:
    """Of some orders (rows) those whose texts fit. Only these, and those that may fit, are loaded."""
    if texts is None:
        return list(rows)
    parts = (rows[start : start + PAGE] for start in range(0, len(rows), PAGE))
    raw = ((row, text) for part in parts for row, text in lines.raw_texts(connection, part).items())
    some = [row for row, text in raw if texts.may(text)]
    parts = (some[start : start + PAGE] for start in range(0, len(some), PAGE))
    return [line.order for part in parts for line in lines.load(connection, part) if texts.fits(line)]


def _starts(connection: Connection, rows: Sequence[int], day: str) -> dict[int, str]:
    """When the first step of a day begins, of some orders (rows)."""
    found: dict[int, str] = {}
    for start in range(0, len(rows), PAGE):
        part = padded(rows[start : start + PAGE])
        query = select(_procedure.c.request, func.min(_step.c.start_at)).join_from(_procedure, _step)
        of_day = query.where(_procedure.c.request.in_(part), begins(_step.c.start_at, day))
        found |= {row[0]: row[1] for row in connection.execute(of_day.group_by(_procedure.c.request))}
    return found


def _walk(
    connection: Connection, selection: ExamSelection, texts: TextFilter | None, after: Place | None, limit: int
) -> ExamPage:
    """A page of all orders, the newest first."""
    every = selection == ExamSelection()
    size = limit + 1 if every else LOOK
    fit = case((_conditions(selection), 1), else_=0)
    place = after[1] if after is not None else None
    found: list[int] = []
    end = False
    until = time.monotonic() + PATIENCE
    for _ in range(0, FAR, LOOK):
        query = select(_request.c.id, fit).order_by(_request.c.id.desc()).limit(size)
        keys = connection.execute(query if place is None else query.where(_request.c.id < place)).all()
        found += sorted(_fitting(connection, [row for row, is_one in keys if is_one], texts), reverse=True)
        end = len(keys) < size
        place = keys[-1][0] if keys else place
        if len(found) > limit or end or time.monotonic() > until:
            break
    shown = found[:limit]
    if len(found) > limit:
        place, end = shown[-1], False
    total = _count(connection) if every else len(shown)
    return ExamPage(
        lines=tuple(lines.load(connection, shown)),
        after=None if end else ("", place or 0),
        total=total,
        whole=total <= COUNTED if every else end and after is None,
    )


def _count(connection: Connection) -> int:
    some = select(literal(1)).select_from(_request).limit(COUNTED + 1).subquery()
    return int(connection.execute(select(func.count()).select_from(some)).scalar_one())


def _conditions(selection: ExamSelection) -> ColumnElement[bool]:
    """What SQL asks of one order."""
    where: list[ColumnElement[bool]] = [true()]
    if selection.number:
        equal = [column == selection.number for column in NUMBERS]
        equal += [
            _request.c.accession == selection.accession,
            _has_step(begins(_step.c.accession, selection.accession)),
        ]
        where.append(or_(*equal))
    if selection.patient is not None:
        where.append(_request.c.patient == selection.patient)
    if selection.patient_id:
        whole = exists().where(_patient.c.id == _request.c.patient, _patient.c.patient_id == selection.patient_id)
        retired = exists().where(_alias.c.patient == _request.c.patient, _alias.c.patient_id == selection.patient_id)
        where.append(or_(whole, retired, _has_step(begins(_step.c.patient_id, selection.patient_id))))
    if selection.terms:
        of_patient = exists().where(_term.c.patient == _request.c.patient)
        named = and_(*(of_patient.where(begins(_term.c.term, term)) for term in selection.terms))
        where.append(or_(named, _request.c.patient.in_(padded(selection.fresh))) if selection.fresh else named)
    if step := _of_step(selection):
        where.append(_has_step(*step))
    return and_(*where)


def _of_step(selection: ExamSelection) -> list[ColumnElement[bool]]:
    """What is asked of one and the same step."""
    where: list[ColumnElement[bool]] = []
    if selection.station:
        where.append(exists().where(_station.c.step == _step.c.id, _station.c.ae_title == selection.station))
    if selection.day:
        where.append(begins(_step.c.start_at, selection.day))
    if selection.statuses:
        where.append(_step.c.status.in_(selection.statuses))
    if selection.modality:
        where.append(_step.c.modality == selection.modality)
    return where


def _has_step(*where: ColumnElement[bool]) -> ColumnElement[bool]:
    # a limit, so that PostgreSQL looks by the index for each order and hashes no whole table
    some = select(literal(1)).join_from(_procedure, _step).where(_procedure.c.request == _request.c.id, *where).limit(1)
    return some.scalar_subquery().is_not(None)
