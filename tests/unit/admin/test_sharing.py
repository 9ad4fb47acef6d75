"""A live region is drawn once for all who may see the same; nobody is shown what a change has made old."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from support.service.rest import TOKEN, application, routers

from broker.accounts.roles import RIGHTS, Principal, Right, UserRole
from broker.admin import sharing
from broker.admin.problems import Problem
from broker.admin.routers import Route, add_routes, admin_router, page_router
from broker.admin.sharing import Shared, Sharing, shared
from broker.admin.viewing import shows
from broker.admin.web import shell
from broker.correlation import HEADER
from broker.settings import load
from broker.store.db.database import Database

POLL = {"X-Region": "live", "X-Polled": "1"}


class Page:
    """A page that counts how often it is drawn; while `gate` is closed drawing takes its time."""

    def __init__(self) -> None:
        self.drawn = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()
        self.status = 200
        self.size = 0

    def routes(self) -> APIRouter:
        routes = page_router(Right.STATUS)

        @routes.get("/counted", dependencies=[shared()])
        async def counted(request: Request) -> Response:
            self.drawn += 1
            number = self.drawn
            self.entered.set()
            await self.gate.wait()
            if self.status >= 500:
                raise Problem(self.status, "trouble")
            return HTMLResponse(f"{number} {request.url.query} {'x' * self.size}", self.status)

        @routes.post("/counted")
        async def change() -> Response:
            return HTMLResponse("changed")

        return routes


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    return application(Database(f"sqlite:///{tmp_path / 'broker.db'}"), load())


def run(app: FastAPI, work: Callable[[Page, Callable[..., Coroutine[Any, Any, httpx.Response]]], Any]) -> Any:
    async def begin() -> Any:
        page = Page()
        add_routes(app, page.routes())
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://broker") as http:

            async def ask(path: str = "/counted", method: str = "GET", **headers: str) -> httpx.Response:
                known = {"Authorization": f"Bearer {TOKEN}", **POLL, **headers}
                return await http.request(method, path, headers={k: v for k, v in known.items() if v})

            return await work(page, ask)

    return asyncio.run(begin())


def test_who_watch_the_same_share_one_drawing(app: FastAPI) -> None:
    async def work(page: Page, ask: Any) -> None:
        page.gate.clear()
        first = [asyncio.create_task(ask()) for _ in range(20)]
        await page.entered.wait()
        page.gate.set()
        answers = await asyncio.gather(*first) + [await ask() for _ in range(5)]
        assert {(one.status_code, one.text) for one in answers} == {(200, "1  ")}
        assert len({one.headers.pop(HEADER) for one in answers}) == len(answers)  # each request has its own
        assert len({tuple(sorted(one.headers.items())) for one in answers}) == 1
        assert page.drawn == 1

    run(app, work)


def test_what_was_drawn_is_shown_for_some_seconds(app: FastAPI) -> None:
    clock = [100.0]
    app.state.sharing = Sharing(shell.watched, lambda: clock[0])

    async def work(page: Page, ask: Any) -> None:
        seen = []
        for at in (100.0, 101.9, 102.0, 103.9, 104.1):
            clock[0] = at
            seen.append((await ask()).text[0])
        assert seen == ["1", "1", "2", "2", "3"]

    run(app, work)


def test_only_a_page_that_is_left_open_is_answered_so(app: FastAPI) -> None:
    async def work(page: Page, ask: Any) -> None:
        await ask()
        for headers in ({"X-Polled": ""}, {"X-Region": ""}, {"Cookie": "broker_note=x"}):
            before = page.drawn
            await ask(**headers)
            assert page.drawn == before + 1, headers

    run(app, work)


def test_another_page_region_language_or_filter_is_another_drawing(app: FastAPI) -> None:
    async def work(page: Page, ask: Any) -> None:
        for path, headers in (
            ("/counted", {}), ("/counted?q=a", {}), ("/counted", {"X-Region": "other"}),
            ("/counted", {"Accept-Language": "fr"}),
        ):  # fmt: skip
            before = page.drawn
            await ask(path, **headers)
            await ask(path, **headers)
            assert page.drawn == before + 1, (path, headers)

    run(app, work)


def test_other_rights_are_another_drawing(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    callers = [Principal("a", RIGHTS[UserRole.ADMIN]), Principal("v", RIGHTS[UserRole.VIEWER])]
    monkeypatch.setattr("broker.admin.callers.Callers.at_once", lambda *_: callers[0])

    async def work(page: Page, ask: Any) -> None:
        assert [(await ask()).text[0] for _ in "ab"] == ["1", "1"]
        callers.reverse()
        assert [(await ask()).text[0] for _ in "ab"] == ["2", "2"]
        callers.reverse()
        assert (await ask()).text[0] == "1"

    run(app, work)


def test_after_a_change_nothing_older_is_shown(app: FastAPI) -> None:
    """Neither what was drawn before, nor what was being drawn meanwhile."""

    async def work(page: Page, ask: Any) -> None:
        await ask()
        await ask(method="POST")
        assert (await ask()).text[0] == "2"
        page.gate.clear()
        page.entered.clear()
        under_way = asyncio.create_task(ask("/counted?q=b"))
        await page.entered.wait()
        await ask(method="POST")
        page.gate.set()
        assert (await under_way).text[0] == "3"
        assert (await ask("/counted?q=b")).text[0] == "4"

    run(app, work)


def test_trouble_is_told_to_all_who_wait_and_to_nobody_after(app: FastAPI) -> None:
    async def work(page: Page, ask: Any) -> None:
        page.status = 503
        page.gate.clear()
        waiting = [asyncio.create_task(ask()) for _ in range(3)]
        await page.entered.wait()
        page.gate.set()
        assert [one.status_code for one in await asyncio.gather(*waiting)] == [503] * 3
        page.status = 200
        assert (await ask()).status_code == 200

    run(app, work)


def test_what_is_kept_is_bounded(app: FastAPI) -> None:
    async def work(page: Page, ask: Any) -> None:
        for number in range(sharing.MOST + 20):
            await ask(f"/counted?q={number}")
        assert len(app.state.sharing._drawn) == sharing.MOST
        page.size = sharing.LARGEST
        assert [(await ask("/counted?q=large")).text[:2] for _ in "ab"] == ["85", "86"]

    run(app, work)


def test_one_who_leaves_takes_nothing_from_the_others(app: FastAPI) -> None:
    async def work(page: Page, ask: Any) -> None:
        page.gate.clear()
        leaves, stays = asyncio.create_task(ask()), asyncio.create_task(ask())
        await page.entered.wait()
        leaves.cancel()
        await asyncio.sleep(0)
        page.gate.set()
        assert (await stays).text[0] == "1"

    run(app, work)


def test_a_page_that_shows_patients_is_never_shared(tmp_path: Path) -> None:
    """Each view of a patient has its own row in the audit trail."""
    with pytest.raises(TypeError, match="shows patients"):
        page_router(Right.PATIENTS).add_api_route("/y", lambda: None, dependencies=[shared(), shows("order")])
    with pytest.raises(TypeError):
        admin_router("/x", Right.AUDIT).add_api_route("/y", lambda: None, dependencies=[shared()])
    every = routers(Database(f"sqlite:///{tmp_path / 'broker.db'}"), load())
    paths = {
        route.path
        for one in every
        for route in one.routes
        if isinstance(route, Route) and any(isinstance(each.dependency, Shared) for each in route.dependencies)
    }
    assert paths == {"/", "/pulse", "/nodes", "/nodes/knocking", "/nodes/{name}"}
