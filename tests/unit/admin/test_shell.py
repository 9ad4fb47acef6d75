"""Pages as HTTP serves them: whole, by region, in two languages, refused in words, private."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request, Response
from support.service.rest import TOKEN, application

from broker.accounts.roles import Right
from broker.admin.routers import add_routes, page_router
from broker.admin.web import shell
from broker.admin.web.words import Sentence
from broker.errors import StoreUnavailable
from broker.settings import load
from broker.store.db.database import Database

BROWSER = {"Accept": "text/html,application/xhtml+xml", "Authorization": f"Bearer {TOKEN}"}


def trial() -> APIRouter:
    """Routes of pages as a feature adds them."""
    routes = page_router(Right.STATUS)

    @routes.get("/trial")
    def broken(request: Request) -> Response:
        raise KeyError("Müller^Käthe")

    @routes.get("/trial/away")
    def away(request: Request) -> Response:
        raise StoreUnavailable("no connection")

    @routes.post("/trial")
    def change(request: Request) -> Response:
        return shell.go("/pulse?a=1", Sentence("%(name)s and %(n)s more", {"name": "<b>ct1</b>", "n": 12345}))

    return routes


@pytest.fixture(scope="module")
def app(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    file = tmp_path_factory.mktemp("shell") / "broker.db"
    shutil.copyfile(sqlite_template, file)
    database = Database(f"sqlite:///{file}")
    made = application(database, load(None))
    add_routes(made, trial())
    yield made
    database.close()


def ask(app: FastAPI, path: str, method: str = "GET", *, follow: bool = False, **headers: str) -> httpx.Response:
    """One request of a browser; underscores in names of headers are hyphens. An empty header is left out."""
    sent: Mapping[str, str] = BROWSER | {name.replace("_", "-"): value for name, value in headers.items()}

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://broker", follow_redirects=follow) as http:
            return await http.request(method, path, headers={name: value for name, value in sent.items() if value})

    return asyncio.run(run())


def test_a_page_is_whole_or_one_region(app: FastAPI) -> None:
    whole = ask(app, "/").text
    assert whole.startswith("<!doctype html>")
    assert whole.count('id="verdict"') == whole.count("<h1>") == 1
    region = ask(app, "/", X_Region="verdict").text
    assert region.startswith('<div id="verdict"')
    assert "<html" not in region
    assert "<h1>" not in region


@pytest.mark.parametrize(
    "region", ["pulse", "problem", "nothing", "../shell", "_verdict", "VERDICT", "x" * 5000, "{{ 7 }}"]
)
def test_a_region_of_another_page_is_none(app: FastAPI, region: str) -> None:
    answer = ask(app, "/", X_Region=region)
    assert answer.status_code == 200
    assert answer.text.startswith("<!doctype html>")


def test_headers_keep_pages_private_and_static_files_for_ever(app: FastAPI) -> None:
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    for path in ("/", "/nothing", "/trial", "/api/v1/status", "/api/v1/nothing", "/health/live"):
        answer = ask(app, path)
        assert answer.headers["Content-Security-Policy"] == policy, path
        assert answer.headers["Cache-Control"] == "no-store", path
        assert answer.headers["X-Content-Type-Options"] == "nosniff", path
    page = ask(app, "/").text
    url = page[page.index("/static/shell.css") :].partition('"')[0]
    styles = ask(app, url)
    assert styles.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert styles.headers["Content-Type"].startswith("text/css")
    assert ask(app, "/static/shell.css?v=0").headers["Cache-Control"] == "no-cache"
    assert ask(app, "/static/..%2fapp.py").status_code == 404


def test_the_first_load_is_light(app: FastAPI) -> None:
    page = ask(app, "/").text
    names = {part.partition("?")[0] for part in page.split("/static/")[1:]}
    sizes = [len(ask(app, f"/static/{name}").content) for name in names]
    assert len(names) >= 5
    assert len(page.encode()) + sum(sizes) <= 100_000


@pytest.mark.parametrize(
    ("accept", "cookie", "language"),
    [("", "", "en"), ("fr-CH, fr;q=0.9", "", "fr"), ("de, fr;q=0.5, en;q=0.7", "", "en"), ("en", "fr", "fr"),
     ("fr", "xx", "fr"), ("fr;q=much", "", "en"), (",;=" * 3000, "", "en")],
)  # fmt: skip
def test_the_language_is_that_of_the_cookie_else_of_the_browser(
    app: FastAPI, accept: str, cookie: str, language: str
) -> None:
    answer = ask(app, "/", Accept_Language=accept, Cookie=cookie and f"broker_language={cookie}")
    assert answer.headers["Content-Language"] == language
    assert f'<html lang="{language}">' in answer.text
    assert ("<h1>Maintenant</h1>" in answer.text) == (language == "fr")


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/nothing", 404, "There is no such page"),
        ("/trial", 500, "Something went wrong in the broker"),
        ("/trial/away", 503, "The broker cannot answer now"),
    ],
)
def test_a_refusal_is_a_page_for_people_and_a_document_for_programs(
    app: FastAPI, path: str, status: int, words: str
) -> None:
    page = ask(app, path)
    assert (page.status_code, page.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert f"<h1>{words}</h1>" in page.text
    assert "Müller" not in page.text
    document = ask(app, path, Accept="application/json")
    assert (document.status_code, document.headers["Content-Type"]) == (status, "application/problem+json")
    region = ask(app, path, X_Region="verdict")
    assert 'id="problem"' in region.text


def test_rest_answers_documents_whatever_a_browser_accepts(app: FastAPI) -> None:
    assert ask(app, "/api/v1/nothing").headers["Content-Type"] == "application/problem+json"


def test_a_change_leads_to_the_page_with_a_note_that_is_shown_once(app: FastAPI) -> None:
    moved = ask(app, "/trial", "POST")
    assert (moved.status_code, moved.headers["Location"]) == (303, "/pulse?a=1")
    cookie = moved.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/;" in cookie
    shown = ask(app, "/trial", "POST", follow=True)
    assert "&lt;b&gt;ct1&lt;/b&gt; and 12,345 more" in shown.text
    assert 'broker_note=""' in shown.headers["Set-Cookie"]


@pytest.mark.parametrize(
    "cookie",
    ["x", "e30=", "WyJhIiwge30sICIiXQ", "bnVsbA==", "WyIlKHgpcyIsIHt9LCAiIl0=", "A" * 3000, "%%%", "WzEsMiwzXQ=="],
)
def test_a_note_that_nobody_wrote_is_none(app: FastAPI, cookie: str) -> None:
    answer = ask(app, "/", Cookie=f"broker_note={cookie}")
    assert answer.status_code == 200
    assert '<div id="note" role="status"></div>' in answer.text


def test_who_may_not_sees_a_page_that_says_so(app: FastAPI) -> None:
    assert ask(app, "/trial", Authorization="").headers["Location"] == "/sign-in?next=/trial"


def search(app: FastAPI, path: str, text: str) -> httpx.Response:
    async def run() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://broker") as http:
            return await http.post(path, data={"q": text}, headers=BROWSER)

    return asyncio.run(run())


def test_the_search_finds_pages_and_guides(app: FastAPI) -> None:
    assert 'href="/settings">Settings</a>' in search(app, "/search", " SETT ").text
    assert "/help/operate#a-damaged-database" in search(app, "/search", "damaged database").text
    assert "/help/operate#a-damaged-database" in ask(app, "/search?q=damaged+database").text
    hits = search(app, "/search/suggestions", "help").json()
    assert hits[0] == {"text": "Help", "note": "page", "path": "/help"}
    assert len(hits) <= 8


@pytest.mark.parametrize("text", ["", "   ", "<script>alert(1)</script>", "%s %(n)s", "x" * 100_000, "{{ 7*7 }}", "()"])
def test_the_search_survives_what_people_type(app: FastAPI, text: str) -> None:
    answer = search(app, "/search", text)
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text


def test_settings_are_filtered_sorted_and_masked(app: FastAPI) -> None:
    page = ask(app, "/settings?q=admin_token")
    assert "<code>web.admin_token</code>" in page.text
    assert "web.port" not in page.text
    assert ask(app, "/settings?sort=-key", X_Region="keys").text.index("worklist.") < page.text.index("web.")
    assert "Choose one of the list." in ask(app, "/settings?source=elsewhere").text
    assert "Nothing matches" in ask(app, "/settings?q=xyzzy").text


def test_help_has_every_guide(app: FastAPI) -> None:
    assert ask(app, "/help").text.count('<li class="panel"') == 5
    assert "<h1>Operate the broker</h1>" in ask(app, "/help/operate").text
    for name in ("nothing", "README", "..%2freference", "operate.md"):
        assert ask(app, f"/help/{name}").status_code == 404


def test_rest_is_described_for_people_and_for_programs(app: FastAPI) -> None:
    page = ask(app, "/api/docs")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "/api/v1/orders" in page.text
    document = ask(app, "/api/openapi.json").json()
    assert document == ask(app, "/api/docs", Accept="application/json").json()
    assert document == ask(app, "/api/docs", Accept="*/*").json()
    assert not [path for path in document["paths"] if not path.startswith(("/api/v1/", "/health/", "/metrics"))]


def test_settings_have_a_twin_in_rest(app: FastAPI) -> None:
    found = {one["key"]: one for one in ask(app, "/api/v1/settings", Accept="application/json").json()}
    assert found["web.port"] == {
        "key": "web.port", "value": "8080", "source": "default", "meaning": "Port of the web server. 0: any free one.",
    }  # fmt: skip


def test_a_stranger_keeps_the_page_with_what_was_typed(app: FastAPI) -> None:
    """His session has ended: the region is not replaced by the page of the sign-in."""
    answer = ask(app, "/settings", Authorization="", X_Region="keys")
    assert answer.status_code == 401
    assert "Sign in again in another tab" in answer.text
    assert 'id="keys"' not in answer.text


def test_a_stranger_sees_no_navigation(app: FastAPI) -> None:
    page = ask(app, "/sign-in", Authorization="").text
    assert '<body class="alone">' in page
    assert "<nav" not in page
    assert 'id="find"' not in page
    assert "data-poll" not in page
