"""Rows of the documents that admins edit: immutable versions of `nodes`, `rules` and each `mapping:name`.

The newest version of a kind is in force. Rows are only ever added.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, func, insert, inspect, select, tuple_

from broker.store.db.engine import open_engine, translate
from broker.store.schema import tables

T = TypeVar("T")
_t = tables.configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """When and by whom a version was published. `at` in s since the epoch; `source`: by which way it came in."""

    kind: str
    version: int
    at: float = 0.0
    source: str = ""
    author: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """One immutable version of a kind of document; 0 for one that is not stored."""

    kind: str
    version: int
    document: Any


def current(connection: Connection, kind: str) -> Version | None:
    """The version in force, None when there never was one."""
    row = connection.execute(
        select(_t.c.version, _t.c.document).where(_t.c.kind == kind).order_by(_t.c.version.desc()).limit(1)
    ).first()
    return None if row is None else Version(kind, row.version, json.loads(row.document))


def newest(connection: Connection, kinds: Iterable[str]) -> dict[str, Version]:
    """The versions in force of these kinds, by kind; a kind without any is left out."""
    wanted = set(kinds)
    places = [(kind, number) for kind, number in numbers(connection).items() if kind in wanted]
    rows = connection.execute(
        select(_t.c.kind, _t.c.version, _t.c.document).where(tuple_(_t.c.kind, _t.c.version).in_(places))
    )
    return {row.kind: Version(row.kind, row.version, json.loads(row.document)) for row in rows}


def _newest_numbers() -> Any:
    """One step in the primary key per kind, however many versions there are."""
    kinds = select(func.min(_t.c.kind).label("kind")).cte("kinds", recursive=True)
    following = select(func.min(_t.c.kind)).where(_t.c.kind > kinds.c.kind).scalar_subquery()
    kinds = kinds.union_all(select(following).where(kinds.c.kind.is_not(None)))
    number = select(func.max(_t.c.version)).where(_t.c.kind == kinds.c.kind).scalar_subquery()
    return select(kinds.c.kind, number).where(kinds.c.kind.is_not(None))


_NUMBERS = _newest_numbers()


def numbers(connection: Connection) -> dict[str, int]:
    """Number of the version in force of each kind. Cheap: processes ask for it several times a second."""
    return {kind: int(number) for kind, number in connection.execute(_NUMBERS)}


def at_version(connection: Connection, kind: str, version: int) -> Version | None:
    """One version of a kind, None if there is none of that number."""
    row = connection.execute(select(_t.c.document).where(_t.c.kind == kind, _t.c.version == version)).first()
    return None if row is None else Version(kind, version, json.loads(row.document))


_PUBLICATIONS = select(_t.c.kind, _t.c.version, _t.c.created_at, _t.c.source, _t.c.author, _t.c.reason)


def history(connection: Connection, kind: str, limit: int | None = None) -> list[Publication]:
    """The versions of a kind without their documents, newest first."""
    query = _PUBLICATIONS.where(_t.c.kind == kind).order_by(_t.c.version.desc()).limit(limit)
    return [_publication(row) for row in connection.execute(query)]


def publication(connection: Connection, kind: str, version: int) -> Publication | None:
    """One version without its document, None if there is none of that number."""
    row = connection.execute(_PUBLICATIONS.where(_t.c.kind == kind, _t.c.version == version)).first()
    return None if row is None else _publication(row)


def _publication(row: Any) -> Publication:
    return Publication(
        kind=row.kind, version=row.version, at=row.created_at, source=row.source, author=row.author, reason=row.reason
    )


def look(url: str, query: Callable[[Connection], T]) -> T | None:
    """What `query` finds in a database that another process may hold; None if there is no database yet.

    Raises StoreUnavailable when it cannot be reached, ConfigurationError for a URL that is none.
    """
    if url.startswith("sqlite") and not Path(url.removeprefix("sqlite:///")).is_file():
        return None  # to connect would create it
    engine = open_engine(url, readers=1)
    try:
        with engine.connect() as connection:
            return query(connection) if inspect(connection).has_table(_t.name) else None
    except Exception as error:
        raise translate(error) from None
    finally:
        engine.dispose()


def add(
    connection: Connection, kind: str, document: Any, *, source: str, at: float, author: str = "", reason: str = ""
) -> int:
    """Put a new version in force; its number. `at` in seconds since the epoch."""
    last = connection.execute(select(func.max(_t.c.version)).where(_t.c.kind == kind)).scalar()
    version = (last or 0) + 1
    text = json.dumps(document, sort_keys=True, ensure_ascii=False)
    row = {"kind": kind, "version": version, "created_at": at, "source": source, "document": text}
    connection.execute(insert(_t).values(**row, author=author, reason=reason))
    return version
