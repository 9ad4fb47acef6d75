"""Answers with rows of the audit trail, for REST and for the page: what was seen before is written first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fastapi import Request
from fastapi.responses import StreamingResponse

from broker.admin.context import AdminContext
from broker.admin.viewing import viewing_of
from broker.audit import export
from broker.model.audit import AuditRecord, AuditSelection, ExportForm
from broker.store.audit import trail
from broker.store.audit.trail import AuditPage
from broker.store.db.newest import Place

_TYPES = {ExportForm.CSV: "text/csv; charset=utf-8", ExportForm.JSON_LINES: "application/jsonl"}
_CHUNK = 64 * 1024  # characters that are handed on together


def page(
    context: AdminContext,
    request: Request,
    selection: AuditSelection,
    filters: Iterable[str],
    after: Place | None,
    limit: int,
) -> AuditPage:
    """A page of rows. `filters`: the names of those that are set, for the audit row of this request."""
    _begin(context, request, selection)
    found = context.database.read(trail.page, selection, after, limit).result()
    viewing_of(request).many(len(found.rows), filters)
    return found


def file(
    context: AdminContext, request: Request, selection: AuditSelection, filters: Iterable[str], form: ExportForm
) -> StreamingResponse:
    """All rows as a file, made while it is sent."""
    _begin(context, request, selection)
    viewing = viewing_of(request)
    viewing.many(0, filters)

    def counted(found: Iterator[AuditRecord]) -> Iterator[AuditRecord]:
        for count, record in enumerate(found, 1):
            viewing.count = count
            yield record

    rows = counted(export.records(context.database, selection))
    name = f'attachment; filename="audit.{form}"'
    parts = _chunks(export.lines(rows, form, context.settings.zone()))
    return StreamingResponse(parts, media_type=_TYPES[form], headers={"Content-Disposition": name})


def _begin(context: AdminContext, request: Request, selection: AuditSelection) -> None:
    """Write what was seen up to now; say whose rows are read."""
    context.audit.flush()
    if selection.patients is not None and len(selection.patients) == 1:
        viewing_of(request).patient = selection.patients[0]


def _chunks(lines: Iterator[str]) -> Iterator[str]:
    """Lines joined to larger pieces: one thread's turn for each."""
    waiting: list[str] = []
    length = 0
    for line in lines:
        waiting.append(line)
        length += len(line)
        if length >= _CHUNK:
            yield "".join(waiting)
            waiting, length = [], 0
    if waiting:
        yield "".join(waiting)
