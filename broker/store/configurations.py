"""Versions of what admins edit, as documents: `nodes`, `rules`, and each `mapping:name`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, func, insert, inspect, select, tuple_

from broker.store.db.engine import open_engine, translate
from broker.store.schema import tables

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Version:
    """One immutable version of a kind of configuration."""

    kind: str
    version: int
    document: Any


def current(connection: Connection, kind: str) -> Version | None:
    """The version in force, None when there never was one."""
    t = tables.configuration
    row = connection.execute(
        select(t.c.version, t.c.document).where(t.c.kind == kind).order_by(t.c.version.desc()).limit(1)
    ).first()
    return None if row is None else Version(kind, row.version, json.loads(row.document))


def newest(connection: Connection, prefix: str) -> dict[str, Version]:
    """The version in force of each kind that begins with `prefix`, by kind."""
    t = tables.configuration
    found = numbers(connection, prefix)
    rows = connection.execute(
        select(t.c.kind, t.c.version, t.c.document).where(tuple_(t.c.kind, t.c.version).in_(list(found.items())))
    )
    return {row.kind: Version(row.kind, row.version, json.loads(row.document)) for row in rows}


def numbers(connection: Connection, prefix: str) -> dict[str, int]:
    """Number of the version in force of each kind that begins with `prefix`."""
    t = tables.configuration
    query = select(t.c.kind, func.max(t.c.version)).where(t.c.kind.startswith(prefix, autoescape=True))
    return {kind: int(number) for kind, number in connection.execute(query.group_by(t.c.kind))}


def at_version(connection: Connection, kind: str, version: int) -> Version | None:
    """One version of a kind, None if there is none of that number."""
    t = tables.configuration
    row = connection.execute(select(t.c.document).where(t.c.kind == kind, t.c.version == version)).first()
    return None if row is None else Version(kind, version, json.loads(row.document))


def history(connection: Connection, kind: str) -> list[tuple[int, float, str]]:
    """Number, time (s since the epoch) and source of all versions of a kind, newest first."""
    t = tables.configuration
    query = select(t.c.version, t.c.created_at, t.c.source).where(t.c.kind == kind).order_by(t.c.version.desc())
    return [(row.version, row.created_at, row.source) for row in connection.execute(query)]


def peek(url: str, kind: str) -> Version | None:
    """The version in force in a database that another process may hold; None also if there is no database yet.

    Raises StoreUnavailable when it cannot be reached, ConfigurationError for a URL that is none.
    """
    return look(url, lambda connection: current(connection, kind))


def look(url: str, query: Callable[[Connection], T]) -> T | None:
    """What `query` finds in a database that another process may hold; None if there is no database yet.

    Raises as `peek`.
    """
    if url.startswith("sqlite") and not Path(url.removeprefix("sqlite:///")).is_file():
        return None  # to connect would create it
    engine = open_engine(url, readers=1)
    try:
        with engine.connect() as connection:
            return query(connection) if inspect(connection).has_table(tables.configuration.name) else None
    except Exception as error:
        raise translate(error) from None
    finally:
        engine.dispose()


def add(connection: Connection, kind: str, document: Any, *, source: str, at: float) -> int:
    """Put a new version in force; its number. `at` in seconds since the epoch."""
    t = tables.configuration
    last = connection.execute(select(func.max(t.c.version)).where(t.c.kind == kind)).scalar()
    version = (last or 0) + 1
    text = json.dumps(document, sort_keys=True, ensure_ascii=False)
    connection.execute(insert(t).values(kind=kind, version=version, created_at=at, source=source, document=text))
    return version
