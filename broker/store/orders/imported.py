"""Keeps what became of imported items that are not simply in place, so that a person can look at it later."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from broker.model.imported import ImportNote
from broker.store.db.pace import padded
from broker.store.schema import tables

MOST = 10_000  # notes of one source; the latest are kept
_KEYS = 256  # in one statement
_ANEW = 3600.0  # seconds until the same again is written down
_item = tables.import_item


def find(connection: Connection, source: str | None = None, limit: int = MOST) -> list[ImportNote]:
    """Notes of one source, or of all, the latest first."""
    query = select(_item).order_by(_item.c.last_at.desc(), _item.c.source, _item.c.key).limit(limit)
    if source is not None:
        query = query.where(_item.c.source == source)
    return [_note(row) for row in connection.execute(query)]


def record(
    connection: Connection, source: str, notes: Iterable[ImportNote], in_place: Collection[str], at: float
) -> None:
    """Write notes of a source, and drop those of items (keys) that are in place now. Its time grows with both."""
    noted = {note.key: note for note in notes}
    known = _known(connection, source, [*noted, *in_place])
    for key in in_place:
        if key in known:
            connection.execute(delete(_item).where(_item.c.source == source, _item.c.key == key))
    for note in noted.values():
        before = known.get(note.key)
        same = before is not None and note.as_before(before)
        if before is not None and same and at - before.last_at < _ANEW:
            continue
        values = {
            "accession": note.accession[:64],
            "place": note.place[:255],
            "outcome": note.outcome,
            "findings": json.dumps(note.findings, ensure_ascii=False),
            "first_at": before.first_at if before is not None and same else at,
            "last_at": at,
            "times": before.times + 1 if before is not None and same else 1,
        }
        if before is None:
            connection.execute(insert(_item).values(source=source, key=note.key, **values))
        else:
            chosen = (_item.c.source == source, _item.c.key == note.key)
            connection.execute(update(_item).where(*chosen).values(values))
    _prune(connection, source)


def _known(connection: Connection, source: str, keys: Sequence[str]) -> Mapping[str, ImportNote]:
    """What is written of these items of a source."""
    found: dict[str, ImportNote] = {}
    for begin in range(0, len(keys), _KEYS):
        asked = _item.c.key.in_(padded(keys[begin : begin + _KEYS]))
        rows = connection.execute(select(_item).where(_item.c.source == source, asked))
        found |= {row.key: _note(row) for row in rows}
    return found


def _prune(connection: Connection, source: str) -> None:
    newest = select(_item.c.last_at).where(_item.c.source == source).order_by(_item.c.last_at.desc())
    last = connection.execute(newest.offset(MOST).limit(1)).scalar()
    if last is not None:
        connection.execute(delete(_item).where(_item.c.source == source, _item.c.last_at <= last))


def _note(row: Row[Any]) -> ImportNote:
    return ImportNote(
        source=row.source,
        key=row.key,
        accession=row.accession,
        outcome=row.outcome,
        findings=tuple((path, text) for path, text in json.loads(row.findings)),
        place=row.place,
        first_at=row.first_at,
        last_at=row.last_at,
        times=row.times,
    )
