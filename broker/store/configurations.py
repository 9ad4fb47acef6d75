"""Versions of what admins edit: nodes and rules as documents."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, insert, inspect, select

from broker.store import tables
from broker.store.engine import open_engine, translate


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


def peek(url: str, kind: str) -> Version | None:
    """The version in force in a database that another process may hold; None also if there is no database yet.

    Raises StoreUnavailable when it cannot be reached, ConfigurationError for a URL that is none.
    """
    if url.startswith("sqlite") and not Path(url.removeprefix("sqlite:///")).is_file():
        return None  # to connect would create it
    engine = open_engine(url, readers=1)
    try:
        with engine.connect() as connection:
            return current(connection, kind) if inspect(connection).has_table(tables.configuration.name) else None
    except Exception as error:
        raise translate(error) from None
    finally:
        engine.dispose()


def add(connection: Connection, kind: str, document: Any, *, source: str, at: float) -> int:
    """Put a new version in force; its number. `at` in seconds since the epoch."""
    t = tables.configuration
    newest = connection.execute(select(func.max(t.c.version)).where(t.c.kind == kind)).scalar()
    version = (newest or 0) + 1
    text = json.dumps(document, sort_keys=True, ensure_ascii=False)
    connection.execute(insert(t).values(kind=kind, version=version, created_at=at, source=source, document=text))
    return version
