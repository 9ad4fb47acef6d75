"""The pages of accounts as HTTP serves them: own account, users, tokens. Who may, what is told, what is shown once."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from support.service.people import PASSWORD, SignInPlace, added, signed_in
from support.service.rest import TOKEN, application
from support.service.visitor import Visitor

from broker.accounts.roles import RIGHTS, Right, UserRole
from broker.accounts.tries import ACCOUNT
from broker.errors import ConfigurationError
from broker.settings import load
from broker.store.db.database import Database

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
HOSTILE = '"><img src=x onerror=alert(1)>'
NEW = "another tea, please"


@pytest.fixture
def app(database: Database) -> FastAPI:
    return application(database, load())


def person(app: FastAPI, database: Database, name: str, role: UserRole) -> Visitor:
    """Somebody who is signed in."""
    return Visitor(app, signed_in(database, added(database, name, role, time.time()), time.time()).text)


@pytest.fixture
def anna(app: FastAPI, database: Database) -> Visitor:
    """An admin."""
    return person(app, database, "anna", UserRole.ADMIN)


PATHS = (
    ("GET", "/users"), ("POST", "/users"), ("GET", "/users/1"), ("POST", "/users/1"), ("POST", "/users/1/disable"),
    ("POST", "/users/1/enable"), ("POST", "/users/1/link"), ("POST", "/users/1/sign-out"),
    ("POST", "/users/1/reset-second-factor"), ("GET", "/tokens"),
    ("POST", "/tokens"), ("POST", "/tokens/1/revoke"),
)  # fmt: skip
OWN_PATHS = (
    ("GET", "/me"), ("POST", "/me/language"), ("POST", "/me/password"), ("POST", "/me/sessions/99/end"),
    ("GET", "/me/second-factor"), ("POST", "/me/second-factor/begin"),
)  # fmt: skip


@pytest.mark.parametrize("role", UserRole)
def test_each_role_gets_to_its_pages_alone(app: FastAPI, database: Database, role: UserRole) -> None:
    added(database, "first", UserRole.ADMIN, time.time())
    visitor = person(app, database, "ben", role)
    for method, path in PATHS:
        form = {} if method == "POST" else None
        answer = visitor.post(path, form) if method == "POST" else visitor.get(path)
        assert (answer.status_code != 403) == (Right.ACCOUNTS in RIGHTS[role]), (method, path)
        stranger = Visitor(app).post(path, {}) if method == "POST" else Visitor(app).get(path)
        assert (stranger.status_code, stranger.headers["Location"].startswith("/sign-in")) == (303, True)
    for method, path in OWN_PATHS:
        assert visitor.ask(method, path, headers={"Content-Type": "application/x-www-form-urlencoded"}).status_code in (
            200, 303, 422,
        ), (method, path)  # fmt: skip
    links = re.findall(r'<li[^>]*><a href="(/[a-z]*)"', visitor.get("/me").text)
    assert ("/users" in links, "/tokens" in links) == ((Right.ACCOUNTS in RIGHTS[role]),) * 2


def test_another_website_changes_nothing(anna: Visitor) -> None:
    for method, path in (*PATHS, *OWN_PATHS, ("POST", "/me/sign-out-everywhere")):
        if method == "POST":
            for site in ("cross-site", "same-site", ""):
                assert anna.post(path, {"name": "mallory", "role": "admin"}, site=site).status_code == 403, path
    assert "mallory" not in anna.get("/users").text


def test_a_program_has_no_account(app: FastAPI) -> None:
    script = Visitor(app, token=TOKEN)
    assert script.get("/me").status_code == 404
    assert script.post("/me/sign-out-everywhere").status_code == 404
    assert script.get("/users").status_code == 200


def test_a_user_is_added_with_a_link_that_is_shown_once(app: FastAPI, anna: Visitor) -> None:
    answer = anna.post("/users", {"name": "Ben", "full_name": "Ben Okoro", "role": "operator"})
    assert answer.status_code == 200
    [link] = re.findall(r"http://127\.0\.0\.1:8080(/invite/[\w-]{43})", answer.text)
    listed = anna.get("/users").text
    assert "ben" in listed
    assert "invited, no password yet" in listed
    [path] = re.findall(r'href="(/users/\d+)">ben<', listed)
    assert link not in anna.get(path).text
    assert Visitor(app).post(link, {"password": NEW, "again": NEW}).status_code == 303
    again = anna.post(f"{path}/link")
    assert re.search(r"/invite/[\w-]{43}", again.text)
    assert link not in again.text


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"name": "anna", "role": "viewer"}, "There is a user of this name."),
        ({"name": HOSTILE, "role": "viewer"}, "Take 1 to 64 small letters"),
        ({"name": "ben", "role": HOSTILE}, "Choose one of the list."),
        ({"name": "ben", "role": "viewer", "full_name": "x" * 101}, "At most 100 characters"),
        ({}, "Choose one of the list."),
    ],
)
def test_a_user_who_cannot_be_is_told_beside_the_field(anna: Visitor, form: dict[str, str], told: str) -> None:
    answer = anna.post("/users", form)
    assert answer.status_code == 422
    assert told in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert "<img" not in answer.text


def test_users_are_changed_disabled_and_enabled(app: FastAPI, database: Database, anna: Visitor) -> None:
    ben = person(app, database, "ben", UserRole.OPERATOR)
    row = ben.get("/api/v1/sessions").json()[0]["user"]
    answer = anna.post(f"/users/{row}", {"role": "viewer", "full_name": HOSTILE, "language": "fr"})
    assert answer.headers["Location"] == f"/users/{row}"
    page = anna.get(f"/users/{row}").text
    assert "<img" not in page
    assert '<option value="viewer" selected>' in page
    ben = Visitor(app)
    assert ben.post("/sign-in", {"name": "ben", "password": PASSWORD}).status_code == 303
    assert 'lang="fr"' in ben.get("/").text
    assert anna.post(f"/users/{row}/disable", {"reason": "left"}).status_code == 303
    assert "disabled" in anna.get(f"/users/{row}").text
    assert anna.post(f"/users/{row}/link").status_code == 422
    assert anna.post(f"/users/{row}/enable").status_code == 303
    assert Visitor(app).post("/sign-in", {"name": "ben", "password": PASSWORD}).status_code == 303
    assert anna.post(f"/users/{row}/sign-out").status_code == 303
    for path in (f"/users/{row}/explode", "/users/4711/disable", "/users/4711"):
        assert anna.post(path, {"role": "viewer"}).status_code == 404, path


def test_the_last_admin_is_told_why_not(anna: Visitor) -> None:
    row = anna.get("/api/v1/sessions").json()[0]["user"]
    for path, form in ((f"/users/{row}", {"role": "viewer"}), (f"/users/{row}/disable", {"reason": "x"})):
        answer = anna.post(path, form)
        assert answer.status_code == 422
        assert "This is the only administrator who can sign in." in answer.text


def test_users_are_found_by_filters_and_pages(anna: Visitor, database: Database) -> None:
    for number in range(3):
        added(database, f"user{number}", UserRole.VIEWER, time.time())
    region = {"X-Region": "people"}
    assert anna.get("/users?q=USER1", headers=region).text.count("/users/") == 1
    assert "anna" in anna.get("/users?role=admin", headers=region).text
    assert "Nothing matches" in anna.get("/users?state=disabled", headers=region).text
    assert "Choose one of the list." in anna.get("/users?role=root", headers=region).text
    names = [
        re.findall(r">(anna|user\d)<", anna.get(f"/users?sort={sort}", headers=region).text)
        for sort in ("name", "-name")
    ]
    assert names == [["anna", "user0", "user1", "user2"], ["user2", "user1", "user0", "anna"]]


def test_a_token_is_shown_once_and_revoked(app: FastAPI, anna: Visitor) -> None:
    assert "No tokens yet" in anna.get("/tokens").text
    answer = anna.post("/tokens", {"name": "monitor", "role": "viewer", "days": "30"})
    [text] = re.findall(r"wlb_[\w-]{43}", answer.text)
    page = anna.get("/tokens").text
    assert text not in page
    assert "monitor" in page
    assert Visitor(app, token=text).get("/api/v1/status").status_code == 200
    for form, told in (
        ({"name": "monitor", "role": "viewer", "days": "30"}, "A token of this name is in force."),
        ({"name": HOSTILE, "role": "viewer", "days": "30"}, "Take 1 to 40 letters"),
        ({"name": "x", "role": "viewer", "days": "9999"}, "Choose one of the list."),
        ({"name": "x", "role": "root", "days": "30"}, "Choose one of the list."),
    ):
        refused = anna.post("/tokens", form)
        assert (refused.status_code, told in refused.text, "<img" in refused.text) == (422, True, False)
    [row] = re.findall(r'action="/tokens/(\d+)/revoke"', page)
    assert anna.post(f"/tokens/{row}/revoke", {"reason": "gone"}).headers["Location"] == "/tokens"
    assert "withdrawn" in anna.get("/tokens").text


def test_the_own_password_is_changed_by_who_knows_it(app: FastAPI, database: Database) -> None:
    ben = person(app, database, "ben", UserRole.OPERATOR)
    other = Visitor(app, signed_in(database, 1, time.time()).text)
    before = ben.cookies["broker_session"]
    for form, told in (
        ({"current": "wrong", "password": NEW, "again": NEW}, "This is not your password."),
        ({"current": PASSWORD, "password": "short", "again": "short"}, "Take at least 12 characters."),
        ({"current": PASSWORD, "password": NEW, "again": "x"}, "The two passwords differ."),
    ):
        answer = ben.post("/me/password", form)
        assert answer.status_code == 422
        assert told in answer.text
    assert ben.post("/me/password", {"current": PASSWORD, "password": NEW, "again": NEW}).status_code == 303
    assert ben.cookies["broker_session"] != before
    assert ben.get("/me").status_code == 200
    assert other.get("/me").status_code == Visitor(app, before).get("/me").status_code == 303
    assert Visitor(app).post("/sign-in", {"name": "ben", "password": PASSWORD}).status_code == 422
    assert Visitor(app).post("/sign-in", {"name": "ben", "password": NEW}).status_code == 303


def test_a_password_of_the_list_of_breached_ones_is_not_taken(database: Database, tmp_path: Path) -> None:
    """OWASP ASVS 5.0 §6.2.4 and §6.2.12: a site keeps the list, no password leaves the machine."""
    config, words = tmp_path / "broker.toml", (NEW, "a long one nobody likes")
    config.write_text('[web]\nbreached_passwords = "list"\n', encoding="utf-8")
    with pytest.raises(ConfigurationError, match="breached_passwords: no such file"):
        load(config)
    hashes = sorted(hashlib.sha1(word.encode(), usedforsecurity=False).hexdigest().upper() for word in words)
    (tmp_path / "list").write_text("".join(f"{one}:7\r\n" for one in hashes), encoding="ascii")
    app = application(database, load(config))
    ben = person(app, database, "ben", UserRole.OPERATOR)

    def take(password: str) -> httpx.Response:
        return ben.post("/me/password", {"current": PASSWORD, "password": password, "again": password})

    assert "This password was stolen somewhere" in take(NEW).text
    (tmp_path / "list").rename(tmp_path / "away")
    assert "cannot be read" in take("another good one of mine").text  # what cannot be checked is not taken
    (tmp_path / "away").rename(tmp_path / "list")
    assert take("another good one of mine").status_code == 303


def test_an_open_browser_is_no_place_to_guess_the_password(app: FastAPI, database: Database) -> None:
    ben = person(app, database, "ben", UserRole.OPERATOR)
    form = {"current": "wrong", "password": NEW, "again": NEW}
    assert [ben.post("/me/password", form).status_code for _ in range(ACCOUNT.size)] == [422] * ACCOUNT.size
    answer = ben.post("/me/password", form)
    assert (answer.status_code, "Retry-After" in answer.headers) == (429, True)


def test_own_sessions_are_seen_and_ended(app: FastAPI, database: Database) -> None:
    ben, eva = (person(app, database, name, UserRole.VIEWER) for name in ("ben", "eva"))
    session = signed_in(database, 1, time.time(), SignInPlace("198.51.100.9", HOSTILE))
    page = ben.get("/me").text
    assert "198.51.100.9" in page
    assert "this browser" in page
    assert "<img" not in page
    eva.post(f"/me/sessions/{session.row}/end")
    assert Visitor(app, session.text).get("/me").status_code == 200  # it is not hers
    ben.post(f"/me/sessions/{session.row}/end")
    assert "198.51.100.9" not in ben.get("/me").text
    assert ben.post("/me/sign-out-everywhere").headers["Location"] == "/sign-in"
    assert ben.get("/me").status_code == 303
    assert eva.get("/me").status_code == 200


def test_the_language_is_that_of_the_user_at_once(app: FastAPI, database: Database) -> None:
    ben = person(app, database, "ben", UserRole.VIEWER)
    assert 'lang="en"' in ben.get("/me").text
    assert ben.post("/me/language", {"language": "fr"}).status_code == 303
    assert 'lang="fr"' in ben.get("/me").text
    ben.post("/me/language", {"language": HOSTILE})
    assert 'lang="en"' in ben.get("/me").text


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_browser_keeps_the_language_that_a_person_chose(app: FastAPI, database: Database, scheme: str) -> None:
    added(database, "ben", UserRole.VIEWER, time.time())
    name = "__Host-broker_language" if scheme == "https" else "broker_language"
    stranger = Visitor(app, scheme=scheme)
    assert 'id="speak-fr"' in stranger.get("/sign-in?next=/nodes").text
    answer = stranger.post("/sign-in/language", {"language": "fr", "next": "/nodes"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in?next=/nodes")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"{name}=fr; HttpOnly; Max-Age=31536000; Path=/; SameSite=lax")
    assert ("Secure" in cookie) == (scheme == "https")
    assert "<h1>Se connecter</h1>" in stranger.get("/sign-in").text
    stranger.post("/sign-in", {"name": "ben", "password": PASSWORD})
    assert 'lang="fr"' in stranger.get("/me").text
    stranger.post("/me/language", {"language": "en"})
    stranger.post("/sign-out")
    assert (stranger.cookies[name], 'lang="en"' in stranger.get("/sign-in").text) == ("en", True)
    stranger.post("/sign-in", {"name": "ben", "password": PASSWORD})
    stranger.post("/me/language", {"language": ""})
    assert name not in stranger.cookies
    other = Visitor(app, scheme=scheme)  # the language of the account goes along
    stranger.post("/me/language", {"language": "fr"})
    other.post("/sign-in", {"name": "ben", "password": PASSWORD})
    assert other.cookies[name] == "fr"


@pytest.mark.parametrize("wanted", ["//evil.example", "/\\evil.example", "https://evil.example", "x", ""])
def test_a_language_is_chosen_for_the_own_sign_in_alone(app: FastAPI, wanted: str) -> None:
    stranger = Visitor(app)
    answer = stranger.post("/sign-in/language", {"language": HOSTILE, "next": wanted})
    assert (answer.headers["Location"], stranger.cookies) == ("/sign-in", {})
    for site in ("cross-site", "same-site", ""):
        assert stranger.post("/sign-in/language", {"language": "fr"}, site=site).status_code == 403


def test_a_note_is_for_one_page_and_for_this_host(app: FastAPI, database: Database) -> None:
    row = added(database, "ben", UserRole.VIEWER, time.time())
    ben = Visitor(app, signed_in(database, row, time.time()).text, scheme="https")
    answer = ben.post("/me/language", {"language": "en"})
    notes = [one for one in answer.headers.get_list("set-cookie") if "note" in one]
    assert [one.startswith("__Host-broker_note=") and "; Path=/; SameSite=lax; Secure" in one for one in notes] == [
        True
    ]
    assert "The language is changed." not in ben.get("/").text
    assert "The language is changed." in ben.get("/me").text
    assert "The language is changed." not in ben.get("/me").text
