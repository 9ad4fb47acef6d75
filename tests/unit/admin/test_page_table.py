"""The table of pages (`support.web.site_pages`) has every page, and each names tests that are there."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

from support.service.rest import application
from support.tree import TESTS, parsed
from support.web.site_pages import NO_PAGES, PAGES, page_routes

from broker.settings import load
from broker.store.db.database import Database


def test_every_page_has_a_row(sqlite_template: Path, tmp_path: Path) -> None:
    """A new page needs one, with addresses at which the hospital of `support.web.hospital` shows it."""
    file = tmp_path / "broker.db"
    shutil.copyfile(sqlite_template, file)
    database = Database(f"sqlite:///{file}")
    app = application(database, load(None), whole=True)
    routes = {route.path for route in page_routes(app) if "GET" in route.methods}
    database.close()
    assert routes - {page.route for page in PAGES} - NO_PAGES.keys() == set(), "add it to support/web/site_pages.py"
    assert ({page.route for page in PAGES} | NO_PAGES.keys()) - routes == set()
    assert len({page.route for page in PAGES}) == len(PAGES)


def test_every_row_names_tests_that_walk_its_page() -> None:
    files = {path.stem: path for path in (TESTS / "browser").glob("test_*.py")}
    there = {
        f"{stem}.{node.name}"
        for stem, path in files.items()
        for node in parsed(path).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    named = {(page.route, walk) for page in PAGES for walk in (page.mouse, page.keys, page.plain)}
    assert sorted((route, walk) for route, walk in named if walk not in there) == []
