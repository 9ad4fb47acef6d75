"""The pages by which people come in and go out, as HTTP serves them."""

from __future__ import annotations

import time

import pytest
from fastapi import FastAPI
from support.service.people import PASSWORD, added, signed_in
from support.service.rest import application
from support.service.visitor import Visitor

from broker.accounts import links, sessions, users
from broker.accounts.deed import Deed
from broker.accounts.roles import UserRole
from broker.accounts.tries import ACCOUNT
from broker.accounts.users import NewUser
from broker.settings import load
from broker.store.db.database import Database

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
HOSTILE = '"><img src=x onerror=alert(1)>'


@pytest.fixture
def app(database: Database) -> FastAPI:
    return application(database, load())


def first_link(database: Database) -> str:
    link = database.submit(links.first_admin, time.time()).result()
    assert link is not None
    return link.path


def invitation(database: Database, name: str, role: UserRole = UserRole.OPERATOR) -> str:
    row = database.submit(
        users.add, NewUser(name=name, role=role, full_name="Ben Okoro"), Deed("cli:anna", time.time())
    )
    return database.submit(links.invite, row.result(), Deed("cli:anna", time.time())).result().path


def entered(visitor: Visitor) -> bool:
    """Whether REST knows the visitor."""
    return visitor.get("/api/v1/sessions").status_code == 200


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_people_sign_in_and_out(app: FastAPI, database: Database, scheme: str) -> None:
    added(database, "ben", UserRole.OPERATOR, time.time())
    ben = Visitor(app, scheme=scheme)
    page = ben.get("/sign-in?next=/nodes")
    assert page.status_code == 200
    assert 'name="next" value="/nodes"' in page.text
    answer = ben.post("/sign-in", {"name": "Ben", "password": PASSWORD, "next": "/nodes"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/nodes")
    cookie = answer.headers["Set-Cookie"]
    name = "__Host-broker_session" if scheme == "https" else "broker_session"
    assert cookie.startswith(f"{name}=")
    assert "HttpOnly; Path=/; SameSite=lax" in cookie
    assert ("Secure" in cookie) == (scheme == "https")
    assert "Domain" not in cookie
    assert "Max-Age" not in cookie
    text = ben.cookies[name]
    assert ben.get("/").status_code == 200
    assert "My account" in ben.get("/").text
    assert ben.get("/sign-in").headers["Location"] == "/"
    out = ben.post("/sign-out")
    assert (out.status_code, out.headers["Location"]) == (303, "/sign-in")
    assert name not in ben.cookies
    assert not entered(Visitor(app, text, scheme=scheme))  # the cookie is worth nothing, also to who has copied it


def test_a_wrong_try_is_told_and_nothing_else_is(app: FastAPI, database: Database) -> None:
    added(database, "ben", UserRole.OPERATOR, time.time())
    told = []
    for name in ("ben", "nobody", HOSTILE, "x" * 5000):
        visitor = Visitor(app)
        answer = visitor.post("/sign-in", {"name": name, "password": HOSTILE})
        assert answer.status_code == 422
        assert "Name or password is wrong." in answer.text
        assert "<img" not in answer.text
        assert HOSTILE.replace('"', "&#34;") not in answer.text.replace(f'value="{name}"', "") or name == HOSTILE
        assert not visitor.cookies
        told.append(answer.text.replace(f'value="{name}"', ""))
    assert told[0] == told[1]


def test_too_many_wrong_tries_must_wait(app: FastAPI, database: Database) -> None:
    added(database, "ben", UserRole.OPERATOR, time.time())
    visitor = Visitor(app)
    for _ in range(ACCOUNT.size):
        assert visitor.post("/sign-in", {"name": "ben", "password": "wrong"}).status_code == 422
    answer = visitor.post("/sign-in", {"name": "ben", "password": PASSWORD})
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert "Too many wrong tries." in answer.text
    assert visitor.elsewhere("198.51.100.4").post("/sign-in", {"name": "eva", "password": "x"}).status_code == 422


@pytest.mark.parametrize(
    "wanted", ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "/\r\nX: y", "x", ""]
)
def test_nobody_is_sent_to_another_website(app: FastAPI, database: Database, wanted: str) -> None:
    added(database, "ben", UserRole.OPERATOR, time.time())
    visitor = Visitor(app)
    assert "evil" not in visitor.ask("GET", "/sign-in", params={"next": wanted}).text
    answer = visitor.post("/sign-in", {"name": "ben", "password": PASSWORD, "next": wanted})
    assert answer.headers["Location"] == "/"
    assert visitor.ask("GET", "/sign-in", params={"next": wanted}).headers["Location"] == "/"


def test_who_may_not_see_the_start_page_lands_elsewhere(app: FastAPI, database: Database) -> None:
    added(database, "eva", UserRole.AUDITOR, time.time())
    assert Visitor(app).post("/sign-in", {"name": "eva", "password": PASSWORD}).headers["Location"] != "/"


def test_another_website_signs_nobody_in_or_out(app: FastAPI, database: Database) -> None:
    row = added(database, "ben", UserRole.OPERATOR, time.time())
    ben = Visitor(app, signed_in(database, row, time.time()).text)
    for site in ("cross-site", "same-site", "none", ""):
        assert Visitor(app).post("/sign-in", {"name": "ben", "password": PASSWORD}, site=site).status_code == 403
        assert ben.post("/sign-out", site=site).status_code == 403
    assert entered(ben)


def test_a_second_sign_in_ends_the_session_of_before(app: FastAPI, database: Database) -> None:
    added(database, "ben", UserRole.OPERATOR, time.time())
    added(database, "eva", UserRole.OPERATOR, time.time())
    visitor = Visitor(app)
    visitor.post("/sign-in", {"name": "ben", "password": PASSWORD})
    before = visitor.cookies["broker_session"]
    visitor.post("/sign-in", {"name": "eva", "password": PASSWORD})
    assert visitor.cookies["broker_session"] != before
    assert not entered(Visitor(app, before))
    assert [one["name"] for one in visitor.get("/api/v1/sessions").json()] == ["eva"]


def test_the_first_admin_is_made_by_a_link(app: FastAPI, database: Database) -> None:
    path, visitor = first_link(database), Visitor(app)
    assert "Make the first administrator" in visitor.get(path).text
    for form, told in (
        ({"name": "anna", "password": "short", "again": "short"}, "Take at least 12 characters."),
        ({"name": "anna", "password": "annaanna2026!", "again": "annaanna2026!"}, "made of your name"),
        ({"name": "anna", "password": "password12345", "again": "password12345"}, "Many people take this password"),
        ({"name": "anna", "password": PASSWORD, "again": PASSWORD + "x"}, "The two passwords differ."),
        ({"name": HOSTILE, "password": PASSWORD, "again": PASSWORD}, "Take 1 to 64 small letters"),
        ({}, "Take at least 12 characters."),
    ):
        answer = visitor.post(path, form)
        assert answer.status_code == 422
        assert told in answer.text
        assert "<img" not in answer.text
        assert 'aria-invalid="true"' in answer.text
    answer = visitor.post(path, {"name": "Anna", "password": PASSWORD, "again": PASSWORD})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert visitor.get("/api/v1/users").json()[0]["role"] == "admin"
    for again in (visitor.get(path), visitor.post(path, {"name": "eve", "password": PASSWORD, "again": PASSWORD})):
        assert again.status_code == 404
        assert "This link does not work any more" in again.text
    assert Visitor(app).post("/sign-in", {"name": "anna", "password": PASSWORD}).status_code == 303


def test_an_invited_user_sets_a_password(app: FastAPI, database: Database) -> None:
    path, visitor = invitation(database, "ben"), Visitor(app)
    for _ in range(2):  # programs that read mail look at links
        assert "<b>ben</b>" in visitor.get(path).text
    assert "made of your name" in visitor.post(path, {"password": "Okoro-Radiology", "again": ""}).text
    assert visitor.post(path, {"password": PASSWORD, "again": PASSWORD}).headers["Location"] == "/"
    assert entered(visitor)
    assert Visitor(app).get(path).status_code == Visitor(app).post(path, {}).status_code == 404


def test_a_new_link_ends_sessions_once_it_is_used(app: FastAPI, database: Database) -> None:
    row = added(database, "ben", UserRole.OPERATOR, time.time())
    before = Visitor(app, signed_in(database, row, time.time()).text)
    path = database.submit(links.invite, row, Deed("cli:anna", time.time())).result().path
    assert (
        Visitor(app).post(path, {"password": "another tea, please", "again": "another tea, please"}).status_code == 303
    )
    assert not entered(before)
    assert Visitor(app).post("/sign-in", {"name": "ben", "password": PASSWORD}).status_code == 422
    assert Visitor(app).post("/sign-in", {"name": "ben", "password": "another tea, please"}).status_code == 303


@pytest.mark.parametrize("text", ["x", "A" * 43, "A" * 5000, "%2e%2e", "é", "<b>"])
@pytest.mark.parametrize("door", ["first", "invite"])
def test_what_is_no_link_says_so(app: FastAPI, text: str, door: str) -> None:
    form = {"name": "eve", "password": PASSWORD, "again": PASSWORD}
    for answer in (Visitor(app).get(f"/{door}/{text}"), Visitor(app).post(f"/{door}/{text}", form)):
        assert answer.status_code == 404
        assert "does not work any more" in answer.text


def test_what_is_no_form_is_refused(app: FastAPI) -> None:
    def status(content: bytes, kind: str = "application/x-www-form-urlencoded") -> int:
        return Visitor(app).ask("POST", "/sign-in", content=content, headers={"Content-Type": kind}).status_code

    assert status(b"{}", "application/json") == 415
    assert status(b"x", "multipart/form-data; boundary=x") == 415
    assert status(b"") == 422
    assert status(b"name=%ff") == 400
    assert status(b"name=\xff") == 400
    assert status(b"name=a%00b") == 400
    assert status(b"&" * 5001) == 400
    assert status(b"name=" + b"x" * 9000) == 413


def test_a_session_of_a_disabled_user_ends_while_it_is_used(app: FastAPI, database: Database) -> None:
    row = added(database, "ben", UserRole.OPERATOR, time.time())
    first, second = (Visitor(app, signed_in(database, row, time.time()).text) for _ in range(2))
    assert entered(first)
    database.submit(users.disable, row, Deed("cli:anna", time.time())).result()
    assert not entered(second)  # the first one may be remembered for a second
    assert database.read(sessions.listed, time.time(), 1800).result() == []


@pytest.mark.parametrize("path", ["/sign-in", "/first/x"])
def test_pages_for_strangers_are_hardened_and_translated(app: FastAPI, path: str) -> None:
    answer = Visitor(app).get(path, headers={"Accept-Language": "fr"})
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert 'lang="fr"' in answer.text
    assert "Se connecter" in answer.text
