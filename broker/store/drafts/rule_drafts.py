"""Rows of drafts of the rules: one of each author, which keeps its number whatever becomes of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from broker.store.schema import tables

_t = tables.rule_draft


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleDraft:
    """A draft. `revision` grows with each change, `base` is the version it was made of. Time in s since the epoch."""

    id: int
    author: str
    revision: int
    base: int
    document: Any
    changed_at: float


def _draft(row: Any) -> RuleDraft:
    return RuleDraft(
        id=row.id,
        author=row.author,
        revision=row.revision,
        base=row.base,
        document=json.loads(row.document),
        changed_at=row.changed_at,
    )


def drafts(connection: Connection) -> list[RuleDraft]:
    """All drafts, the newest change first."""
    query = select(_t).where(_t.c.document != "").order_by(_t.c.changed_at.desc(), _t.c.id)
    return [_draft(row) for row in connection.execute(query)]


def draft(connection: Connection, number: int) -> RuleDraft | None:
    """One draft by its number; None if there is none, or none any more."""
    row = connection.execute(select(_t).where(_t.c.id == number, _t.c.document != "")).first()
    return None if row is None else _draft(row)


def draft_of(connection: Connection, author: str) -> RuleDraft | None:
    """The draft of an author; None if there is none."""
    row = connection.execute(select(_t).where(_t.c.author == author, _t.c.document != "")).first()
    return None if row is None else _draft(row)


def keep(connection: Connection, author: str, document: Any, base: int, at: float, expected: int | None) -> int | None:
    """Write the draft of an author; its number. None if it is not that of revision `expected` (0: there is none).

    Without `expected` it replaces whatever is there.
    """
    text = json.dumps(document, sort_keys=True, ensure_ascii=False)
    row = connection.execute(select(_t.c.id, _t.c.revision, _t.c.document).where(_t.c.author == author)).first()
    if row is None:
        if expected:
            return None
        made = {"author": author, "revision": 1, "base": base, "document": text, "changed_at": at}
        return int(connection.execute(insert(_t).values(made).returning(_t.c.id)).scalar_one())
    if expected is not None and expected != (row.revision if row.document else 0):
        return None
    values = {"revision": row.revision + 1, "base": base, "document": text, "changed_at": at}
    same = (_t.c.id == row.id, _t.c.revision == row.revision)
    return int(row.id) if connection.execute(update(_t).where(*same).values(values)).rowcount else None


def close(connection: Connection, number: int, revision: int, at: float) -> bool:
    """End a draft; False if it is not that of this revision any more."""
    here = (_t.c.id == number, _t.c.revision == revision, _t.c.document != "")
    values = {"revision": revision + 1, "document": "", "changed_at": at}
    return bool(connection.execute(update(_t).where(*here).values(values)).rowcount)


def close_same(connection: Connection, author: str, document: Any, at: float) -> None:
    """End the draft of an author if it says just what a document says."""
    kept = draft_of(connection, author)
    if kept is not None and kept.document == document:
        close(connection, kept.id, kept.revision, at)
