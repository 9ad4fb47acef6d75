"""Writes rows of the audit trail as a file: CSV for spreadsheets, or JSON lines for programs. Bounded memory."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import Any

from broker.model.audit import AuditRecord, AuditSelection, ExportForm
from broker.store.audit import trail
from broker.store.db.database import Database

PAGE = 500  # rows read at once
COLUMNS = ("time", "who", "from", "action", "kind", "object", "patient", "detail", "row")
# a spreadsheet takes a cell that begins so for a formula (OWASP, CSV injection); the last four are full-width forms
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def document(record: AuditRecord) -> dict[str, Any]:
    """A row as JSON. `at` in s since the epoch."""
    return {
        "id": record.row,
        "at": record.at,
        "actor": record.actor,
        "address": record.address,
        "action": record.action,
        "kind": record.kind,
        "object_id": record.object_id,
        "patient": record.patient,
        "detail": record.detail,
    }


def records(database: Database, selection: AuditSelection) -> Iterator[AuditRecord]:
    """All rows of a selection, the newest first, read page by page (blocking). Raises StoreUnavailable."""
    after = None
    while True:
        page = database.read(trail.page, selection, after, PAGE).result()
        yield from page.rows
        if page.after is None:
            return
        after = page.after


def lines(found: Iterator[AuditRecord], form: ExportForm, zone: tzinfo) -> Iterator[str]:
    """The file, line by line; its times are those of `zone`."""
    if form is ExportForm.JSON_LINES:
        for record in found:
            yield json.dumps(document(record), ensure_ascii=False) + "\n"
        return
    yield _csv(COLUMNS)
    for record in found:
        yield _csv(
            (
                datetime.fromtimestamp(record.at, zone).isoformat(timespec="milliseconds"),
                record.actor,
                record.address,
                record.action,
                record.kind,
                str(record.object_id or ""),
                str(record.patient or ""),
                json.dumps(record.detail, ensure_ascii=False),
                str(record.row),
            )
        )


def _csv(cells: tuple[str, ...]) -> str:
    """A line of CSV (RFC 4180), each cell quoted. An apostrophe makes text of what would be a formula."""
    text = io.StringIO()
    safe = ("'" + cell if cell.startswith(_FORMULA) else cell for cell in cells)
    csv.writer(text, quoting=csv.QUOTE_ALL).writerow(safe)
    return text.getvalue()
