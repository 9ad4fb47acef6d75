"""Every page for every role: who may not is told so in a page, and the navigation shows what may be seen, no more."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.types import Scope
from support.service.rest import application

from broker.accounts.roles import RIGHTS, Principal, UserRole
from broker.admin.callers import Callers
from broker.admin.routers import Route, rights_of
from broker.settings import load
from broker.store.db.database import Database


@pytest.fixture(scope="module")
def app(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    file = tmp_path_factory.mktemp("rights") / "broker.db"
    shutil.copyfile(sqlite_template, file)
    database = Database(f"sqlite:///{file}")
    yield application(database, load(None))
    database.close()


def pages(app: FastAPI) -> list[Route]:
    """The routes that draw pages: those that OpenAPI does not name."""
    return [route for route in app.routes if isinstance(route, Route) and not route.include_in_schema]


def ask(app: FastAPI, method: str, path: str) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://broker") as http:
            return await http.request(method, path, headers={"Accept": "text/html"})

    return asyncio.run(run())


@pytest.mark.parametrize("role", UserRole)
def test_pages_by_role(app: FastAPI, role: UserRole, monkeypatch: pytest.MonkeyPatch) -> None:
    def caller(self: Callers, scope: Scope) -> Principal:
        return Principal("user:anna", RIGHTS[role])

    monkeypatch.setattr(Callers, "at_once", caller)
    found = pages(app)
    assert len(found) >= 8
    for route in found:
        for method in sorted(route.methods):
            answer = ask(app, method, route.path.replace("{", "").replace("}", ""))
            may = rights_of(route) <= RIGHTS[role]
            assert (answer.status_code == 403) == (not may), (method, route.path)
            if not may:
                assert "<h1>You may not do this</h1>" in answer.text
    shown = ask(app, "GET", "/nothing").text
    for link in app.state.shell.links:
        in_navigation = re.search(rf'<li[^>]*><a href="{re.escape(link.path)}"', shown) is not None
        assert in_navigation == link.is_for(RIGHTS[role]), link.path


def test_a_link_of_the_navigation_asks_for_the_right_of_its_page(app: FastAPI) -> None:
    by_path = {route.path: route for route in app.routes if isinstance(route, APIRoute) and "GET" in route.methods}
    asked = {link.path: rights_of(by_path[link.path]) for link in app.state.shell.links if link.path != "/"}
    assert asked == {
        link.path: frozenset({link.right} if link.right else ()) for link in app.state.shell.links if link.path != "/"
    }
