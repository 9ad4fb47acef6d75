"""The second factor over HTTP: sign-in in two parts, the own account, REST, and what an admin resets."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

import pytest
from fastapi import FastAPI
from support.peers.tools import wait_until
from support.service.authenticator import Authenticator
from support.service.people import PASSWORD, added, signed_in
from support.service.rest import TOKEN, application
from support.service.visitor import Visitor

from broker.accounts.roles import UserRole
from broker.accounts.second_factor import totp
from broker.accounts.tries import ACCOUNT
from broker.settings import load
from broker.settings.web import RoleName
from broker.store.db.database import Database

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
SIGN_IN, OWN, REST = "/sign-in/second-factor", "/me/second-factor", "/api/v1/me/second-factor"


def made(database: Database, roles: Sequence[RoleName] = ()) -> FastAPI:
    """The application where some roles must have a second factor."""
    settings = load()
    web = settings.web.model_copy(update={"second_factor": tuple(roles)})
    return application(database, settings.model_copy(update={"web": web}))


@pytest.fixture
def app(database: Database) -> FastAPI:
    return made(database)


def person(app: FastAPI, database: Database, role: UserRole = UserRole.OPERATOR) -> Visitor:
    """Ben, who is signed in."""
    return Visitor(app, signed_in(database, added(database, "ben", role, time.time()), time.time()).text)


def codes_of(page: str) -> list[str]:
    return re.findall(r"<li><code>([0-9a-z-]+)</code>", page)


def set_up(ben: Visitor) -> tuple[Authenticator, list[str]]:
    """Set an app up over the pages: it, and the recovery codes."""
    assert ben.post(f"{OWN}/begin", {"own": PASSWORD}).headers["Location"] == OWN
    app = Authenticator.scanning(ben.get(OWN).text)
    done = ben.post(f"{OWN}/confirm", {"code": app.code()})
    assert done.status_code == 200
    return app, codes_of(done.text)


def typed(app: FastAPI, **more: str) -> Visitor:
    """A browser in which Ben has typed the password."""
    visitor = Visitor(app)
    answer = visitor.post("/sign-in", {"name": "ben", "password": PASSWORD, **more})
    assert (answer.status_code, answer.headers["Location"]) == (303, SIGN_IN)
    assert "broker_session" not in visitor.cookies
    return visitor


def is_in(visitor: Visitor) -> bool:
    return visitor.get("/api/v1/sessions").status_code == 200


def test_a_person_sets_it_up_and_signs_in_with_it(app: FastAPI, database: Database) -> None:
    ben = person(app, database)
    assert "not set up" in ben.get("/me").text
    telephone, codes = set_up(ben)
    assert len(codes) == 10
    page = ben.get(OWN).text
    assert "10 recovery codes are left." in page
    assert totp.spelled(telephone.secret) not in page
    assert not any(code in page for code in codes)
    visitor = typed(app, next="/nodes")
    assert "one-time-code" in visitor.get(SIGN_IN).text
    assert not is_in(visitor)
    wrong = visitor.post(SIGN_IN, {"code": "000000"})
    assert (wrong.status_code, "This code is wrong" in wrong.text, is_in(visitor)) == (422, True, False)
    code = telephone.code()
    answer = visitor.post(SIGN_IN, {"code": f" {code[:3]} {code[3:]} "})
    assert (answer.status_code, answer.headers["Location"], is_in(visitor)) == (303, "/nodes", True)
    assert "broker_flow" not in visitor.cookies
    lost = typed(app)
    assert (lost.post(SIGN_IN, {"code": codes[0]}).status_code, is_in(lost)) == (303, True)


def test_the_secret_is_shown_as_a_picture_that_needs_nothing_from_elsewhere(app: FastAPI, database: Database) -> None:
    ben = person(app, database)
    ben.post(f"{OWN}/begin", {"own": PASSWORD})
    page = ben.get(OWN)
    assert re.search(r'<svg class="qr" id="qr" viewBox="0 0 (\d+) \1" role="img" aria-label="[^"]+"><rect', page.text)
    assert page.headers["Cache-Control"] == "no-store"
    assert "otpauth" not in page.text


def test_what_cannot_be_goes_back_to_the_sign_in(app: FastAPI, database: Database) -> None:
    ben = person(app, database)
    set_up(ben)
    for visitor in (Visitor(app), typed(app)):
        visitor.cookies["broker_flow"] = "x" * 43
        for status, answer in ((200, visitor.get(SIGN_IN)), (422, visitor.post(SIGN_IN, {"code": "123456"}))):
            assert (answer.status_code, 'action="/sign-in"' in answer.text) == (status, True)
            assert "Sign in again" in answer.text
    for site in ("cross-site", "same-site", ""):
        assert typed(app).post(SIGN_IN, {"code": "123456"}, site=site).status_code == 403


def test_a_role_that_asks_for_it_sets_it_up_at_the_sign_in(database: Database) -> None:
    app = made(database, ("operator", "admin"))
    added(database, "ben", UserRole.OPERATOR, time.time())
    visitor = typed(app, next="/nodes")
    page = visitor.get(SIGN_IN).text
    assert "Your role asks for a second factor" in page
    telephone = Authenticator.scanning(page)
    again = Authenticator.scanning(visitor.get(SIGN_IN).text)
    assert again.secret == telephone.secret  # loading the page again changes nothing
    assert visitor.post(SIGN_IN, {"code": "000000"}).status_code == 422
    answer = visitor.post(SIGN_IN, {"code": telephone.code()})
    assert (answer.status_code, len(codes_of(answer.text)), is_in(visitor)) == (200, 10, True)
    assert 'id="go-on" href="/nodes"' in answer.text
    assert 'id="remove"' not in visitor.get(OWN).text
    refused = visitor.post(f"{OWN}/remove", {"own": PASSWORD})
    assert (refused.status_code, "Your role asks for a second factor" in refused.text) == (422, True)
    assert typed(app).post(SIGN_IN, {"code": telephone.code()}).status_code == 303


def test_the_password_is_asked_before_a_change(app: FastAPI, database: Database) -> None:
    ben = person(app, database)
    set_up(ben)
    for deed in ("begin", "codes", "remove"):
        answer = ben.post(f"{OWN}/{deed}", {"own": "wrong"})
        assert (answer.status_code, "This is not your password." in answer.text) == (422, True)
    fresh = codes_of(ben.post(f"{OWN}/codes", {"own": PASSWORD}).text)
    assert len(fresh) == 10
    assert ben.post(f"{OWN}/remove", {"own": PASSWORD}).status_code == 303
    assert "not set up" in ben.get(OWN).text
    assert ben.post(f"{OWN}/codes", {"own": PASSWORD}).status_code == 303
    assert ben.post(f"{OWN}/nonsense", {"own": PASSWORD}).status_code == 404
    told = [ben.post(f"{OWN}/begin", {"own": "wrong"}) for _ in range(ACCOUNT.size + 1)]
    assert {answer.status_code for answer in told} == {422, 429}
    assert "Too many wrong tries." in told[-1].text
    assert int(told[-1].headers["Retry-After"]) > 0


def test_an_admin_resets_it_on_the_page_and_by_rest(app: FastAPI, database: Database) -> None:
    ben = person(app, database)
    set_up(ben)
    script, row = Visitor(app, token=TOKEN), 1
    assert [one["second_factor"] for one in script.get("/api/v1/users").json()] == [True]
    page = script.get(f"/users/{row}").text
    assert 'id="reset-open"' in page
    answer = script.post(f"/users/{row}/reset-second-factor", {"reason": "telephone lost"})
    assert answer.status_code == 303
    wait_until(lambda: not is_in(ben), 20, "a session that has ended is remembered for a second")
    assert 'id="reset-open"' not in script.get(f"/users/{row}").text
    path = f"/api/v1/users/{row}/reset-second-factor"
    assert script.ask("POST", path).status_code == 409
    set_up(Visitor(app, signed_in(database, row, time.time()).text))
    done = script.ask("POST", path, json={"reason": "again"})
    assert (done.status_code, done.json()["second_factor"]) == (200, False)
    assert script.ask("POST", "/api/v1/users/99/reset-second-factor").status_code == 404


def test_rest_does_what_the_page_does(app: FastAPI, database: Database) -> None:
    ben = person(app, database)
    assert ben.get(REST).json() == {"since": None, "recovery_codes_left": 0, "required": False}
    assert ben.ask("POST", f"{REST}/begin", json={"password": "wrong"}).status_code == 403
    fresh = ben.ask("POST", f"{REST}/begin", json={"password": PASSWORD})
    assert fresh.status_code == 201
    assert fresh.json()["address"].startswith("otpauth://totp/")
    telephone = Authenticator(fresh.json()["secret"])
    assert ben.ask("POST", f"{REST}/confirm", json={"code": "000000"}).status_code == 403
    done = ben.ask("POST", f"{REST}/confirm", json={"code": telephone.code()})
    assert (done.status_code, len(done.json()["recovery_codes"])) == (201, 10)
    assert ben.get(REST).json()["recovery_codes_left"] == 10
    assert ben.ask("POST", f"{REST}/recovery-codes", json={"password": PASSWORD}).status_code == 201
    assert ben.ask("POST", f"{REST}/remove", json={"password": PASSWORD}).status_code == 204
    for deed in ("remove", "recovery-codes"):
        assert ben.ask("POST", f"{REST}/{deed}", json={"password": PASSWORD}).status_code == 409
    script = Visitor(app, token=TOKEN)
    assert (
        script.get(REST).status_code == script.ask("POST", f"{REST}/begin", json={"password": "x"}).status_code == 404
    )
    assert Visitor(app).get(REST).status_code == 401


def test_no_second_factor_goes_round_the_first(app: FastAPI, database: Database) -> None:
    ben = person(app, database)
    telephone, codes = set_up(ben)
    for code in (telephone.code(), codes[0]):
        answer = Visitor(app).post("/sign-in", {"name": "ben", "password": code})
        assert answer.status_code == 422
    visitor = typed(app)
    stolen = Visitor(app)
    stolen.cookies["broker_session"] = visitor.cookies["broker_flow"]
    assert not is_in(stolen)
