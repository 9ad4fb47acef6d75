"""Every page of the table over HTTP: whole and by region, for each role and method, from other sites, inert."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.types import Scope
from support.service.rest import application, asking
from support.web.hospital import HOSTILE, Furnished, Hospital, furnish, vandalise
from support.web.site_pages import NO_PAGES, PAGES, SitePage, page_routes

from broker.accounts.roles import RIGHTS, Principal, UserRole
from broker.admin.callers import Callers
from broker.admin.headers import HEADERS
from broker.admin.routers import Route, rights_of
from broker.settings import load
from broker.store.db.database import Database

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")
VOID = frozenset({"input", "meta", "link", "br", "img", "hr"})


@pytest.fixture(scope="module")
def database(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    file = tmp_path_factory.mktemp("every") / "broker.db"
    shutil.copyfile(sqlite_template, file)
    opened = Database(f"sqlite:///{file}")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def app(database: Database) -> FastAPI:
    return application(database, load(None), source=Hospital(trouble=True).source, whole=True)


@pytest.fixture(scope="module")
def furnished(app: FastAPI, database: Database) -> Furnished:
    with asking(app, "http://broker") as http:
        done = furnish(database, http, held=60)
        vandalise(database, http, done.user)
    return done


def ask(app: FastAPI, method: str, path: str, session: str = "", **headers: str) -> httpx.Response:
    """What a browser asks; underscores in names of headers are hyphens."""
    sent = {"Accept": "text/html"} | {name.replace("_", "-"): value for name, value in headers.items()}
    sent |= {"Cookie": f"broker_session={session}"} if session else {}

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://broker") as http:
            return await http.request(method, path, headers=sent)

    return asyncio.run(run())


def shown(app: FastAPI, page: SitePage, furnished: Furnished, address: str, **headers: str) -> httpx.Response:
    return ask(app, "GET", address, furnished.session if page.known else "", **headers)


@dataclass
class Elements(HTMLParser):
    """The elements of a page: their names with their attributes, and its text."""

    found: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    text: str = ""
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        self.text += data


def read(text: str) -> Elements:
    """Parse a page, in which every element is closed where it must be."""
    found = Elements()
    found.feed(re.sub(r"<(path|use|circle|rect|line)([^>]*)/>", r"<\1\2></\1>", text))
    found.close()
    assert found.open == []
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.route)
class TestPage:
    """What is true of every page."""

    def test_it_is_whole_and_private(self, app: FastAPI, page: SitePage, furnished: Furnished) -> None:
        for address in page.at(furnished):
            for language in ("en", "fr"):
                answer = shown(app, page, furnished, address, Accept_Language=language)
                assert answer.status_code == (404 if page.route == "/first/{text}" else 200), address
                assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
                assert answer.headers["Content-Language"] == language
                assert {name: answer.headers[name] for name in HEADERS} == HEADERS
                elements = read(answer.text).found
                assert [tag for tag, _ in elements].count("h1") == 1
                assert answer.text.startswith("<!doctype html>")
                ids = [attrs["id"] for _, attrs in elements if "id" in attrs]
                assert sorted(ids) == sorted(set(ids)), address

    def test_each_region_comes_alone(self, app: FastAPI, page: SitePage, furnished: Furnished) -> None:
        """Those that forms and links replace, and those that ask again by themselves."""
        for address in page.at(furnished):
            elements = read(shown(app, page, furnished, address).text).found
            regions = {attrs["data-swap"] for _, attrs in elements if "data-swap" in attrs}
            regions |= {attrs["id"] for _, attrs in elements if "data-poll" in attrs and "data-from" not in attrs}
            assert regions <= {attrs.get("id") for _, attrs in elements}
            for region in regions:
                part = shown(app, page, furnished, address, X_Region=region)
                alone = read(part.text).found
                assert alone[0][1]["id"] == region, (address, region)
                assert "html" not in [tag for tag, _ in alone]
                assert part.headers["Vary"] == "Accept-Language, Cookie, X-Region"

    def test_foreign_texts_are_inert(self, app: FastAPI, page: SitePage, furnished: Furnished) -> None:
        texts = ""
        for address in page.at(furnished):
            answer = shown(app, page, furnished, address)
            assert HOSTILE not in answer.text
            found = read(answer.text)
            for tag, attrs in found.found:
                assert tag != "img", address
                assert attrs.get("id") not in ("x", "y"), address
                assert not [name for name in attrs if name.startswith("on") or name == "style"], address
                assert (
                    not attrs.get("href", attrs.get("action", "/")).lower().startswith(("javascript:", "data:", "//"))
                )
            texts += found.text + "".join(attrs.get("value", "") for _, attrs in found.found)
        assert (HOSTILE in texts or '"><b id=y>' in texts) == page.foreign

    def test_who_is_not_signed_in_is_sent_away(self, app: FastAPI, page: SitePage, furnished: Furnished) -> None:
        for address in page.at(furnished) if page.known else []:
            answer = ask(app, "GET", address)
            if address.startswith("/api/"):  # programs come here too
                assert answer.status_code == 401
                continue
            assert answer.status_code == 303
            assert answer.headers["Location"].partition("?")[0] == "/sign-in"
            assert "=" not in answer.headers["Location"].partition("?next=")[2]  # no query: it may name a patient
            assert ask(app, "GET", address, X_Region="x").status_code == 401


@pytest.mark.parametrize("role", UserRole)
def test_each_role_gets_what_it_may_by_each_method(
    app: FastAPI, furnished: Furnished, role: UserRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    def caller(self: Callers, scope: Scope) -> Principal:
        return Principal("user:anna.keller", RIGHTS[role])

    monkeypatch.setattr(Callers, "at_once", caller)
    by_path: dict[str, dict[str, Route]] = {}
    for route in page_routes(app):
        for method in route.methods:
            by_path.setdefault(route.path, {}).setdefault(method, route)
    samples = {page.route: page.at(furnished)[0] for page in PAGES if page.known and page.route.split("/")[1] != "me"}
    for path, routes in by_path.items():
        for method in METHODS:
            answer = ask(app, method, samples.get(path) or re.sub(r"[{}]", "", re.sub(r"\w+:int", "1", path)))
            if method not in routes:
                assert answer.status_code in (403, 404, 405), (method, path)  # of a route with a name in its place
                continue
            may = rights_of(routes[method]) <= RIGHTS[role]
            assert (answer.status_code == 403) == (not may), (method, path)
            assert answer.status_code < 500, (method, path)
            if not may:
                assert "<h1>You may not do this</h1>" in answer.text
            elif method == "GET" and path in samples:
                assert answer.status_code == 200, path
    sign = ask(app, "GET", "/nothing").text
    for link in app.state.shell.links:
        in_navigation = re.search(rf'<li[^>]*><a href="{re.escape(link.path)}"', sign) is not None
        assert in_navigation == link.is_for(RIGHTS[role]), link.path


def changes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """The routes of pages that change something."""
    for route in page_routes(app):
        for method in route.methods - {"GET", "HEAD"}:
            yield method, re.sub(r"[{}]", "", route.path)


def test_no_other_site_changes_anything(app: FastAPI, furnished: Furnished) -> None:
    """The browser of the admin is asked to by a page of elsewhere, and by one that does not tell where it is from."""
    found = list(changes(app))
    assert len(found) > 20
    elsewhere: list[dict[str, Any]] = [
        {"Sec_Fetch_Site": "cross-site", "Origin": "http://evil.example"}, {"Sec_Fetch_Site": "same-site"},
        {"Origin": "http://evil.example"}, {"Origin": "null"}, {},
    ]  # fmt: skip
    for method, path in found:
        for headers in elsewhere:
            refused = ask(app, method, path, furnished.session, **headers)
            assert refused.status_code == 403, (method, path, headers)
    assert ask(app, "POST", "/me/language", furnished.session, Origin="http://broker").status_code != 403


def test_a_link_of_the_navigation_asks_for_the_right_of_its_page(app: FastAPI) -> None:
    by_path = {route.path: route for route in app.routes if isinstance(route, APIRoute) and "GET" in route.methods}
    asked = {link.path: rights_of(by_path[link.path]) for link in app.state.shell.links if link.path != "/"}
    assert asked == {
        link.path: frozenset({link.right} if link.right else ()) for link in app.state.shell.links if link.path != "/"
    }


def test_what_is_no_page_is_none(app: FastAPI, furnished: Furnished) -> None:
    for path in NO_PAGES:
        answer = ask(app, "GET", path, furnished.session)
        assert answer.status_code == 200
        assert not answer.headers["Content-Type"].startswith("text/html"), path
