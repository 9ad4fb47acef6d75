"""Signing in by OpenID Connect: who comes in, with which role, and what is not believed of an issuer or a browser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from fastapi import FastAPI
from support.peers.dripping import dripping
from support.service.people import added
from support.service.rest import application
from support.service.visitor import Visitor
from support.web.issuer import CLIENT, SECRET, Issuer, issuing

from broker.accounts import oidc, users
from broker.accounts.deed import Deed
from broker.accounts.roles import UserRole
from broker.settings import load
from broker.settings.web import OidcRolesSection, OidcSection
from broker.store.db.database import Database

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ROLES = OidcRolesSection(admin=("broker-admins",), operator=("broker-operators",), viewer=("broker-viewers", "all"))


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuing() as running:
        yield running


def section(issuer: Issuer) -> OidcSection:
    return OidcSection(issuer=issuer.address, client_id=CLIENT, client_secret=SECRET, roles=ROLES)


@pytest.fixture
def app(database: Database, issuer: Issuer) -> FastAPI:
    settings = load()
    web = settings.web.model_copy(update={"oidc": section(issuer), "url": "http://broker.test"})
    return application(database, settings.model_copy(update={"web": web}))


def gone(visitor: Visitor, next_path: str = "") -> str:
    """The address that the broker sends the browser to."""
    answer = visitor.get(f"/sign-in/oidc?next={next_path}" if next_path else "/sign-in/oidc", site="none")
    assert answer.status_code == 303, answer.text
    return str(answer.headers["Location"])


def back(visitor: Visitor, brought: dict[str, str]) -> Any:
    return visitor.ask("GET", "/sign-in/oidc/back", params=brought, site="cross-site")


def signs_in(visitor: Visitor, issuer: Issuer, next_path: str = "") -> Any:
    return back(visitor, issuer.authorize(gone(visitor, next_path)))


def test_a_person_signs_in_and_is_known_the_next_time(app: FastAPI, issuer: Issuer, database: Database) -> None:
    visitor = Visitor(app)
    assert 'href="/sign-in/oidc?next=/nodes"' in visitor.get("/sign-in?next=/nodes").text
    url = gone(visitor, "/nodes")
    question = dict(parse_qsl(urlsplit(url).query))
    assert url.startswith(f"{issuer.address}/authorize?")
    assert question["redirect_uri"] == "http://broker.test/sign-in/oidc/back"
    assert (question["response_type"], question["code_challenge_method"]) == ("code", "S256")
    answer = back(visitor, issuer.authorize(url))
    assert (answer.status_code, answer.headers["Location"]) == (303, "/nodes")
    assert "broker_flow" not in visitor.cookies
    assert [one["name"] for one in visitor.get("/api/v1/sessions").json()] == ["ben"]
    issuer.claims["preferred_username"] = "somebody else"  # names change, subjects do not
    assert signs_in(Visitor(app), issuer).status_code == 303
    [user] = database.read(users.listed).result()
    assert (user.name, user.role, user.issuer, user.subject) == ("ben", "viewer", issuer.address, "s-1")


def test_the_role_follows_the_issuer_and_sessions_end(app: FastAPI, issuer: Issuer) -> None:
    first = Visitor(app)
    signs_in(first, issuer)
    assert first.get("/api/v1/tokens").status_code == 403
    issuer.claims["groups"] = ["broker-viewers", "broker-admins"]
    second = Visitor(app)
    signs_in(second, issuer)
    assert second.get("/api/v1/tokens").status_code == 200
    assert Visitor(app, first.cookies["broker_session"]).get("/api/v1/sessions").status_code in (200, 401)


def test_who_has_no_role_or_is_disabled_stays_out(app: FastAPI, issuer: Issuer, database: Database) -> None:
    issuer.claims["groups"] = ["cooks"]
    answer = signs_in(Visitor(app), issuer)
    assert (answer.status_code, "has no role here" in answer.text) == (403, True)
    assert database.read(users.listed).result() == []
    issuer.claims["groups"] = "all"
    assert signs_in(Visitor(app), issuer).status_code == 303
    database.submit(users.disable, 1, Deed("cli:anna", time.time())).result()
    assert "disabled here" in signs_in(Visitor(app), issuer).text


def test_a_local_account_is_not_taken_over_by_its_name(app: FastAPI, issuer: Issuer, database: Database) -> None:
    added(database, "ben", UserRole.ADMIN, time.time())
    assert "another account has it" in signs_in(Visitor(app), issuer).text
    for name in ("", 7, None, "<b>", ["ben"]):
        issuer.claims["preferred_username"] = name
        assert signs_in(Visitor(app), issuer).status_code == 403
    assert len(database.read(users.listed).result()) == 1


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"}, {"aud": "another"}, {"aud": ["another", "more"]}, {"nonce": "made up"},
        {"exp": 1}, {"iat": 32_503_680_000}, {"sub": ""}, {"sub": None}, {"sub": 7}, {"sub": "x" * 300},
        {"azp": "another"}, {"nbf": 32_503_680_000},
    ],
)  # fmt: skip
def test_an_id_token_for_others_is_not_believed(app: FastAPI, issuer: Issuer, claims: dict[str, Any]) -> None:
    issuer.claims |= claims
    visitor = Visitor(app)
    assert signs_in(visitor, issuer).status_code == 403
    assert "broker_session" not in visitor.cookies


def test_a_signature_of_others_is_not_believed(app: FastAPI, issuer: Issuer) -> None:
    issuer.foreign_key()
    assert signs_in(Visitor(app), issuer).status_code == 403


@pytest.mark.parametrize(
    "change", [{"state": "x"}, {"state": ""}, {"code": "x"}, {"code": ""}, {"iss": "https://evil.example"}]
)
def test_an_answer_to_another_question_is_refused(app: FastAPI, issuer: Issuer, change: dict[str, str]) -> None:
    visitor = Visitor(app)
    assert back(visitor, issuer.authorize(gone(visitor)) | change).status_code == 403


def test_an_answer_counts_once_and_in_the_browser_that_asked(app: FastAPI, issuer: Issuer) -> None:
    victim, attacker = Visitor(app), Visitor(app)
    brought = issuer.authorize(gone(attacker))
    gone(victim)
    assert back(victim, brought).status_code == 403  # nobody is signed in as the attacker
    assert back(Visitor(app), brought).status_code == 403
    cookies = dict(attacker.cookies)
    assert back(attacker, brought).status_code == 303
    again = Visitor(app)
    again.cookies = cookies
    assert back(again, brought).status_code == 403


def test_a_person_may_change_its_mind(app: FastAPI) -> None:
    answer = Visitor(app).get("/sign-in/oidc/back?error=access_denied&error_description=<b>x</b>")
    assert (answer.status_code, "was not completed" in answer.text, "<b>x" in answer.text) == (403, True, False)


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/.well-known/openid-configuration", 200, b'{"issuer": "https://evil.example"}'),
        ("/.well-known/openid-configuration", 200, b"[]"),
        ("/.well-known/openid-configuration", 200, b"[" * 100_000),
        ("/.well-known/openid-configuration", 500, b"{}"),
        ("/.well-known/openid-configuration", 302, b"{}"),
        ("/.well-known/openid-configuration", 200, b" " * (600 * 1024)),
        ("/keys", 200, b'{"keys": []}'),
        ("/keys", 200, b'{"keys": 7}'),
        ("/keys", 200, b"nonsense"),
        ("/token", 200, b"{}"),
        ("/token", 200, b'{"id_token": 7}'),
        ("/token", 200, b'{"id_token": "a.b.c"}'),
        ("/token", 200, b'{"id_token": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."}'),
        ("/token", 400, b'{"error": "invalid_grant"}'),
    ],
)
def test_an_issuer_that_answers_nonsense_lets_nobody_in(
    app: FastAPI, issuer: Issuer, path: str, status: int, body: bytes
) -> None:
    issuer.answers[path] = status, body
    visitor = Visitor(app)
    answer = visitor.get("/sign-in/oidc")
    if answer.status_code == 303:
        answer = back(visitor, issuer.authorize(answer.headers["Location"]))
    assert (answer.status_code, "did not work" in answer.text) == (403, True)
    assert "broker_session" not in visitor.cookies


def test_an_issuer_that_is_away_is_told(database: Database) -> None:
    with issuing() as away:
        settings = load()
        web = settings.web.model_copy(update={"oidc": section(away)})
        app = application(database, settings.model_copy(update={"web": web}))
    assert "did not work" in Visitor(app).get("/sign-in/oidc").text
    assert Visitor(app).get("/sign-in").status_code == 200


def test_an_issuer_that_answers_byte_by_byte_holds_nobody_for_long(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc, "WHOLE", 0.5)
    with dripping() as port:
        settings = load()
        section = OidcSection(issuer=f"http://127.0.0.1:{port}", client_id=CLIENT, client_secret=SECRET, roles=ROLES)
        app = application(
            database, settings.model_copy(update={"web": settings.web.model_copy(update={"oidc": section})})
        )
        assert "did not work" in Visitor(app).get("/sign-in/oidc").text


def test_without_a_section_there_is_no_such_way(database: Database) -> None:
    app = application(database, load())
    assert "/sign-in/oidc" not in Visitor(app).get("/sign-in").text
    assert Visitor(app).get("/sign-in/oidc").status_code == 404
