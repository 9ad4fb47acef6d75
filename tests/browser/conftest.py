"""What the tests of pages share: one Chromium, and for each file a profile and the pages on a database of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser as Process
from playwright.sync_api import expect
from support.service.rest import application
from support.web.browser import Browser, chromium, one_chromium
from support.web.serving import serving

from broker.settings import load
from broker.store.db.database import Database

expect.set_options(timeout=30_000)  # ms: another may use the machine too


@pytest.fixture(scope="package", autouse=True)
def process() -> Iterator[Process]:
    """Chromium, which ends with the last test of this folder: others want this thread for their event loops."""
    with one_chromium() as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Empty profiles of it."""
    with chromium() as fresh:
        yield fresh


@pytest.fixture(scope="module")
def database(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """An empty database with the schema."""
    file = tmp_path_factory.mktemp("pages") / "broker.db"
    shutil.copyfile(sqlite_template, file)
    opened = Database(f"sqlite:///{file}")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def app(database: Database) -> FastAPI:
    """All pages, without a broker around them."""
    return application(database, load(None))


@pytest.fixture(scope="module")
def web(app: FastAPI) -> Iterator[str]:
    """The address at which they are served."""
    with serving(app) as address:
        yield address
