"""API tokens: made once, shown once, checked, revoked, and what each role may. On both databases."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import httpx
import pytest
from support.loops import shortly
from support.peers.tools import wait_until
from support.service.rest import TOKEN, application, routers
from support.store.rows import all_of

from broker.accounts import api_tokens
from broker.accounts.api_tokens import NameTaken, NewToken, TokenCheck
from broker.accounts.roles import RIGHTS, Right, UserRole
from broker.admin.routers import Route, rights_of
from broker.errors import BadContent
from broker.settings import load
from broker.store.db.database import Database
from broker.store.schema import tables

AT = 1_900_000_000.0
DAY = 86_400.0
OWN = (  # of the caller; sessions of others for admins
    "/api/v1/sessions", "/api/v1/sessions/{session}/revoke", "/api/v1/me/second-factor",
    "/api/v1/me/second-factor/begin", "/api/v1/me/second-factor/confirm",
    "/api/v1/me/second-factor/recovery-codes", "/api/v1/me/second-factor/remove",
)  # fmt: skip
FOR_ALL = (
    "/api/docs", "/api/openapi.json", "/sign-in", "/sign-in/language",
    "/sign-in/second-factor", "/sign-out", "/first/{text}", "/invite/{text}",
    "/help", "/help/{name}", "/search", "/search/suggestions", "/conformance", "/conformance/html",
    "/conformance/markdown",
    "/api/v1/conformance",
    "/me", "/me/language", "/me/password", "/me/sessions/{session}/end", "/me/sign-out-everywhere",
    "/me/second-factor", "/me/second-factor/{deed}",
)  # fmt: skip
# POST, so that no name stands in a URL
ASKING = (
    "/api/v1/orders/search",
    "/api/v1/orders/find",
    "/api/v1/worklist/explain",
    "/api/v1/worklist/ask",
    "/api/v1/rules/explain",
    "/rules/explain",
    "/worklist/device",
    "/worklist/device/why",
    "/api/v1/audit/search",
    "/api/v1/audit/export",
    "/exams/find",
    "/queue/find",
    "/holds/find",
    "/holds/objects/find",
    "/studies/find",
    "/api/v1/studies/find",
    "/search",
)


def made(database: Database, name: str = "ris", role: UserRole = UserRole.OPERATOR, at: float = AT) -> NewToken:
    return database.submit(api_tokens.make, name, role, at + DAY, "cli:anna", at).result()


def test_a_token_is_known_until_its_end(database: Database) -> None:
    now = AT
    check = TokenCheck(database, lambda: now)
    token = made(database)
    caller = check.caller(token.text.encode()).result()
    assert caller is not None
    assert (caller.actor, caller.rights) == ("token:ris", RIGHTS[UserRole.OPERATOR])
    assert check.caller(b"wlb_" + b"x" * 43).result() is None
    now = AT + DAY
    assert check.caller(token.text.encode()).result() is None


def test_a_revoked_one_is_nobody_and_stays_in_the_list(database: Database) -> None:
    check = TokenCheck(database, lambda: AT)
    token = made(database)
    assert database.submit(api_tokens.revoke, token.row, "cli:anna", "lost", AT + 5).result()
    assert not database.submit(api_tokens.revoke, token.row, "cli:anna", "lost", AT + 6).result()
    assert check.caller(token.text.encode()).result() is None
    [kept] = database.read(api_tokens.listed).result()
    assert (kept.name, kept.revoked_at) == ("ris", AT + 5)
    rows = database.read(all_of, tables.audit).result()
    assert [(row.action, row.actor) for row in rows] == [("token.made", "cli:anna"), ("token.revoked", "cli:anna")]
    assert json.loads(rows[0].detail)["role"] == "operator"
    assert json.loads(rows[1].detail)["reason"] == "lost"


def test_the_text_is_stored_nowhere(database: Database) -> None:
    token = made(database)
    for table in (tables.api_token, tables.audit):
        rows = database.read(all_of, table).result()
        assert token.text not in str(rows)
        assert token.text.removeprefix("wlb_") not in str(rows)


def test_one_name_has_one_token_in_force(database: Database) -> None:
    first = made(database)
    with pytest.raises(NameTaken):
        made(database)
    database.submit(api_tokens.revoke, first.row, "cli:anna", "", AT).result()
    made(database)
    assert made(database, at=AT + 2 * DAY).row  # the time of the second is over
    assert [token.revoked_at for token in database.read(api_tokens.listed).result()] == [None, AT + DAY, AT]


@pytest.mark.parametrize("name", ["", "a b", "-x", "x" * 41, "ä", "a\n"])
def test_a_name_is_short_and_plain(database: Database, name: str) -> None:
    with pytest.raises(BadContent, match=r"^name: "):
        made(database, name)


@pytest.mark.parametrize("expires_at", [AT, AT - 1, AT + 6 * 366 * DAY, float("inf"), float("nan")])
def test_a_token_ends_and_not_in_a_century(database: Database, expires_at: float) -> None:
    with pytest.raises(BadContent, match=r"^expires_at: "):
        database.submit(api_tokens.make, "ris", UserRole.VIEWER, expires_at, "cli:anna", AT).result()


def test_the_last_use_is_noted_once_a_minute(database: Database) -> None:
    now = [AT]
    check = TokenCheck(database, lambda: now[0])
    token = made(database)

    def used_at(seconds: float) -> float | None:
        now[0] = AT + seconds
        check.caller(token.text.encode()).result()
        return database.read(api_tokens.listed).result()[0].last_used_at

    wait_until(lambda: used_at(1) == AT + 1, 20, "the first use is noted")
    assert used_at(2) == used_at(60) == AT + 1
    wait_until(lambda: used_at(62) == AT + 62, 20, "the next one is noted")


class Rest:
    """The application with a caller of each role."""

    def __init__(self, database: Database) -> None:
        settings = load()
        self.app = application(database, settings)
        self.routes = [
            route for router in routers(database, settings) for route in router.routes if isinstance(route, Route)
        ]
        self._tokens = {role: made(database, role.value, role, time.time()).text for role in UserRole}

    def call(self, method: str, path: str, token: str = TOKEN, body: Any = None) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, client=("127.0.0.1", 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://broker") as http:
                return await http.request(method, path, json=body, headers={"Authorization": f"Bearer {token}"})

        return shortly(ask())

    def as_role(self, role: UserRole, method: str, path: str) -> int:
        """The status of a request without what it needs: only whether it is let in counts."""
        body: dict[str, Any] | None = None if method == "GET" else {}
        address = re.sub(r"{\w+:int}", "1", path)
        return self.call(method, address.replace("{", "").replace("}", ""), self._tokens[role], body).status_code


@pytest.fixture
def rest(database: Database) -> Rest:
    return Rest(database)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_each_role_gets_where_its_rights_are_and_nowhere_else(rest: Rest) -> None:
    assert len(rest.routes) > 50
    for route in rest.routes:
        needed = rights_of(route)
        if route.path in (*OWN, *FOR_ALL):
            continue
        assert needed, route.path
        for method in route.methods or ():
            if method != "GET" and route.path not in ASKING:
                assert needed - {Right.STATUS, Right.PATIENTS}, f"{method} {route.path} changes something"
            for role in UserRole:
                let_in = rest.as_role(role, method, route.path) != 403
                assert let_in == (needed <= RIGHTS[role]), (role, method, route.path)


def test_a_token_is_made_used_and_revoked_by_rest(rest: Rest) -> None:
    answer = rest.call("POST", "/api/v1/tokens", body={"name": "import", "role": "operator", "days": 2})
    assert answer.status_code == 201
    token, row = answer.json()["token"], answer.json()["id"]
    assert rest.call("POST", "/api/v1/tokens", body={"name": "import", "role": "viewer"}).status_code == 409
    assert rest.call("GET", "/api/v1/holds", token).status_code == 200
    refused = rest.call("GET", "/api/v1/tokens", token)
    assert (refused.status_code, refused.json()["detail"]) == (403, "This needs the right `accounts`")
    listed = {one["name"]: one for one in rest.call("GET", "/api/v1/tokens").json()}
    assert (listed["import"]["state"], listed["import"]["created_by"]) == ("active", "api")
    assert token not in rest.call("GET", "/api/v1/tokens").text
    assert rest.call("POST", f"/api/v1/tokens/{row}/revoke", body={"reason": "test"}).status_code == 204
    assert rest.call("POST", f"/api/v1/tokens/{row}/revoke").status_code == 409


@pytest.mark.parametrize("token", ["", "wlb_", "wlb_" + "A" * 43, "wlb_" + "ü" * 43, "x" * 5000])
def test_what_is_no_token_is_nobody(rest: Rest, token: str) -> None:
    async def ask() -> int:
        transport = httpx.ASGITransport(app=rest.app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://broker") as http:
            return (
                await http.get("/api/v1/holds", headers=[(b"Authorization", f"Bearer {token}".encode())])
            ).status_code

    assert shortly(ask()) == 401
