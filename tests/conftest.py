"""Databases for tests: SQLite in a temporary folder, and a real PostgreSQL started once from a wheel."""

from __future__ import annotations

import gc
import itertools
import os
import shutil
import signal
import socketserver
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings
from pynetdicom.transport import AssociationServer
from support.scale import FULL
from support.service import program
from support.store.postgresql import create, drop, server

from broker import telemetry
from broker.store.db import deadlines
from broker.store.db.database import Database

program.FORKED = True
_numbers = itertools.count(1)


def _memory() -> str | None:
    """Where files are kept in memory, if there is room: what a test writes need not survive the machine."""
    shared = Path("/dev/shm")
    usable = shared.is_dir() and os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > 4 << 30
    return str(shared) if usable else None


# no deadline: it is time of the clock, and others use the machine too; each run has the same examples but in full size
settings.register_profile("side by side", deadline=None, derandomize=not FULL)
settings.load_profile("side by side")

# a server in a thread (pynetdicom's, one of the library) ends when it looks next: twice a second, by itself
socketserver.BaseServer.serve_forever.__defaults__ = (0.05,)  # type: ignore[attr-defined]
# pynetdicom's collects all garbage of the process at each 60th look; the collector comes often enough without it
AssociationServer.service_actions = socketserver.BaseServer.service_actions  # type: ignore[method-assign]

# a machine that tests share may stand still for seconds; a test of these deadlines sets its own
deadlines.WRITE, deadlines.WATCH = 60.0, 65.0

if (memory := _memory()) is not None:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", memory)  # the folder of `tmp_path`


# a shell starts what goes to the background with SIGINT ignored, and every child would inherit that
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two more than there are cores, as tests wait more than they compute; each worker may have a PostgreSQL."""
    return min(8, (os.cpu_count() or 1) + 2)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """The thousands of tests stay until the end: the collector looks neither while they are found nor at them."""
    gc.disable()
    found = yield
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    gc.enable()
    return found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In full size a test may take hours."""
    if FULL:
        for item in items:
            item.add_marker(pytest.mark.timeout(6 * 3600))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write what came out into the case files")


@pytest.fixture(autouse=True)
def plain_log() -> Iterator[None]:
    """What a test sets up of the log, for example its level, ends with it."""
    yield
    telemetry._debugging = False
    if structlog.is_configured():
        structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Any]:
    """A PostgreSQL server of this session, on a Unix socket."""
    with server(_memory()) as running:
        yield running


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with the schema: to copy it takes less than to migrate an empty one."""
    file = tmp_path_factory.mktemp("template") / "broker.db"
    Database(f"sqlite:///{file}").close()
    return file


@pytest.fixture(scope="session")
def postgresql_template(postgresql: Any) -> str:
    """Name of a database with the schema."""
    Database(create(postgresql, "template_broker")).close()
    return "template_broker"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a fresh database with the schema, on each of the two kinds."""
    yield from _fresh(request, tmp_path, ready=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database without anything, on each of the two kinds."""
    yield from _fresh(request, tmp_path, ready=False)


def _fresh(request: pytest.FixtureRequest, folder: Path, *, ready: bool) -> Iterator[str]:
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_url") if ready else f"sqlite:///{folder / 'broker.db'}"
        return
    running = request.getfixturevalue("postgresql")
    name = f"test_{next(_numbers)}"
    yield create(running, name, request.getfixturevalue("postgresql_template") if ready else "")
    drop(running, name)


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """URL of a fresh SQLite database with the schema."""
    file = tmp_path / "broker.db"
    shutil.copyfile(sqlite_template, file)
    return f"sqlite:///{file}"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An open database, closed afterwards."""
    opened = Database(database_url)
    yield opened
    opened.close()
