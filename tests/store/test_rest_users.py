"""`/api/v1/users` and `/api/v1/sessions`: who may, what is told, and what strangers and other websites get."""

from __future__ import annotations

import time
from typing import Any

import pytest
from fastapi import FastAPI
from support.service.people import added, signed_in
from support.service.rest import TOKEN, application
from support.service.visitor import Visitor

from broker.accounts.roles import UserRole
from broker.settings import load
from broker.store.db.database import Database

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def app(database: Database) -> FastAPI:
    return application(database, load())


@pytest.fixture
def admin(app: FastAPI) -> Visitor:
    """A script with the admin token."""
    return Visitor(app, token=TOKEN)


def person(app: FastAPI, database: Database, name: str, role: UserRole) -> Visitor:
    """Somebody who is signed in."""
    return Visitor(app, signed_in(database, added(database, name, role, time.time()), time.time()).text)


def test_a_user_is_added_changed_disabled_and_enabled(admin: Visitor) -> None:
    made = admin.ask("POST", "/api/v1/users", json={"name": "Ben", "role": "operator", "full_name": "Ben Okoro"})
    assert made.status_code == 201
    user, link = made.json()["user"], made.json()["link"]
    assert (user["name"], user["state"], user["kind"], user["created_by"]) == ("ben", "invited", "local", "api")
    assert link["url"].startswith("http://127.0.0.1:8080/invite/")
    path = f"/api/v1/users/{user['id']}"
    changed = admin.ask("PATCH", path, json={"role": "viewer", "language": "fr", "reason": "less"})
    assert (changed.status_code, changed.json()["role"], changed.json()["language"]) == (200, "viewer", "fr")
    assert changed.json()["full_name"] == "Ben Okoro"
    assert admin.ask("PATCH", path, json={"full_name": ""}).json()["full_name"] == ""
    assert admin.ask("POST", f"{path}/disable", json={"reason": "left"}).json()["state"] == "disabled"
    assert admin.ask("POST", f"{path}/link").status_code == 409
    assert admin.ask("POST", f"{path}/enable").json()["state"] == "invited"
    assert admin.ask("POST", f"{path}/link").json()["url"] != link["url"]
    assert admin.ask("POST", f"{path}/sign-out").status_code == 204
    listed = admin.get("/api/v1/users")
    assert [one["name"] for one in listed.json()] == ["ben"]
    assert link["url"][-43:] not in listed.text
    assert "argon2" not in listed.text


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/api/v1/users", {"name": "a b", "role": "viewer"}, 422),
        ("POST", "/api/v1/users", {"name": "", "role": "viewer"}, 422),
        ("POST", "/api/v1/users", {"name": "ben", "role": "root"}, 422),
        ("POST", "/api/v1/users", {"name": "ben", "role": "viewer", "password": "x"}, 422),
        ("POST", "/api/v1/users", {"name": "ben", "role": "viewer", "full_name": "\u202e"}, 422),
        ("POST", "/api/v1/users", {"name": "anna", "role": "viewer"}, 409),
        ("PATCH", "/api/v1/users/1", {"role": "viewer"}, 409),  # the last admin
        ("POST", "/api/v1/users/1/disable", {}, 409),
        ("PATCH", "/api/v1/users/4711", {"role": "viewer"}, 404),
        ("GET", "/api/v1/users/4711", None, 404),
        ("GET", "/api/v1/users/0", None, 422),
        ("POST", "/api/v1/users/4711/disable", None, 404),
        ("POST", "/api/v1/users/4711/enable", None, 404),
        ("POST", "/api/v1/users/4711/link", None, 404),
        ("POST", "/api/v1/users/4711/sign-out", None, 404),
        ("POST", "/api/v1/sessions/4711/revoke", None, 409),
    ],
)
def test_what_cannot_be_is_refused(
    admin: Visitor, database: Database, method: str, path: str, body: Any, status: int
) -> None:
    added(database, "anna", UserRole.ADMIN, time.time())
    answer = admin.ask(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_person_sees_and_ends_own_sessions_alone(app: FastAPI, database: Database) -> None:
    ben, eva = person(app, database, "ben", UserRole.VIEWER), person(app, database, "eva", UserRole.AUDITOR)
    [own] = ben.get("/api/v1/sessions").json()
    assert (own["name"], own["current"], own["browser"]) == ("ben", True, "Firefox")
    [other] = eva.get("/api/v1/sessions").json()
    assert ben.get(f"/api/v1/sessions?user={other['user']}").status_code == 403
    assert ben.get("/api/v1/sessions?everybody=true").status_code == 403
    assert ben.ask("POST", f"/api/v1/sessions/{other['id']}/revoke").status_code == 403
    assert ben.ask("POST", f"/api/v1/sessions/{own['id']}/revoke").status_code == 204
    assert eva.get("/api/v1/sessions").status_code == 200


def test_an_admin_sees_and_ends_those_of_others(app: FastAPI, database: Database) -> None:
    ben, anna = person(app, database, "ben", UserRole.VIEWER), person(app, database, "anna", UserRole.ADMIN)
    everybody = anna.get("/api/v1/sessions?everybody=true").json()
    assert {one["name"]: one["current"] for one in everybody} == {"anna": True, "ben": False}
    [his] = [one for one in everybody if one["name"] == "ben"]
    assert [one["name"] for one in anna.get(f"/api/v1/sessions?user={his['user']}").json()] == ["ben"]
    assert anna.ask("POST", f"/api/v1/sessions/{his['id']}/revoke").status_code == 204
    assert anna.ask("POST", f"/api/v1/sessions/{his['id']}/revoke").status_code == 409
    assert ben.get("/api/v1/sessions").status_code == 401


def test_a_token_has_no_session(admin: Visitor, app: FastAPI, database: Database) -> None:
    person(app, database, "ben", UserRole.VIEWER)
    assert len(admin.get("/api/v1/sessions").json()) == 1  # the admin token has the right to see them all


def test_another_website_changes_nothing(app: FastAPI, database: Database) -> None:
    anna = person(app, database, "anna", UserRole.ADMIN)
    body = {"name": "eve", "role": "admin"}
    for site, headers in (
        ("cross-site", {}), ("same-site", {}), ("", {}), ("", {"Origin": "http://evil.example"}), ("none", {}),
    ):  # fmt: skip
        answer = anna.ask("POST", "/api/v1/users", site=site, headers=headers, json=body)
        assert (answer.status_code, answer.headers["Content-Type"]) == (403, "application/problem+json")
    assert (
        anna.ask("POST", "/api/v1/users", site="", headers={"Origin": "http://broker.test"}, json=body).status_code
        == 201
    )


def test_strangers_are_sent_to_the_sign_in_or_away(app: FastAPI) -> None:
    stranger = Visitor(app)
    for path, place in (
        ("/", "/sign-in"), ("/nodes", "/sign-in?next=/nodes"), ("/nodes/ct1", "/sign-in?next=/nodes/ct1"),
        ("/exams?patient=Jones", "/sign-in?next=/exams"), ("//evil.example", "/sign-in"), ("/a%0d%0ab", "/sign-in"),
        ("/nothing", "/sign-in?next=/nothing"), ("/sign-innocent", "/sign-in?next=/sign-innocent"),
    ):  # fmt: skip
        answer = stranger.get(path)
        assert (answer.status_code, answer.headers["Location"]) == (303, place), path
    assert stranger.post("/nodes").headers["Location"] == "/sign-in"
    for path in ("/api/v1/status", "/api/v1/users", "/api/v1/nothing"):
        assert stranger.get(path).status_code == 401
    assert stranger.get("/", headers={"X-Region": "now"}).status_code == 401


def test_a_stranger_with_a_cookie_of_before_is_a_stranger(app: FastAPI) -> None:
    for cookie in ("x", "A" * 43, "=;" * 500):
        assert Visitor(app, cookie).get("/nodes").status_code == 303
