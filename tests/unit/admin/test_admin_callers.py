"""Who calls: remembered for a second, looked up after that, and told while the database is away."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest
from support.loops import shortly

from broker.accounts.roles import RIGHTS, Person, Principal, UserRole
from broker.admin.callers import LOCAL_USER, MOST, Callers
from broker.admin.problems import Problem
from broker.errors import StoreUnavailable

GOOD = b"wlb_" + b"g" * 43
VIEWER = Principal("token:ris", RIGHTS[UserRole.VIEWER])


class Known:
    """One token is known; counts how often it is asked for."""

    def __init__(self) -> None:
        self.asked = 0
        self.known = True
        self.away = False

    def caller(self, credentials: bytes) -> Future[Principal | None]:
        self.asked += 1
        future: Future[Principal | None] = Future()
        if self.away:
            future.set_exception(StoreUnavailable("away"))
        else:
            future.set_result(VIEWER if self.known and credentials == GOOD else None)
        return future


def scope(authorization: bytes = b"") -> dict[str, Any]:
    return {"scheme": "http", "headers": [(b"authorization", authorization)] if authorization else []}


def test_a_token_counts_for_a_second_without_another_look() -> None:
    now, known = 100.0, Known()
    callers = Callers("", known, clock=lambda: now)
    given = scope(b"Bearer " + GOOD)
    assert callers.at_once(given) is None
    assert shortly(callers.looked_up(given)) == VIEWER
    known.known = False
    now = 100.9
    assert callers.at_once(given) == VIEWER
    now = 101.0
    assert callers.at_once(given) is None
    assert shortly(callers.looked_up(given)) is None
    assert known.asked == 2


def test_the_memory_is_bounded() -> None:
    class Every(Known):
        def caller(self, credentials: bytes) -> Future[Principal | None]:
            future: Future[Principal | None] = Future()
            future.set_result(VIEWER)
            return future

    callers = Callers("", Every(), clock=lambda: 0.0)
    for number in range(3 * MOST):
        shortly(callers.looked_up(scope(b"Bearer wlb_%043d" % number)))
    assert len(callers._seen) <= MOST


def test_while_the_database_is_away_nobody_is_taken_for_a_stranger() -> None:
    known = Known()
    known.away = True
    with pytest.raises(Problem) as caught:
        shortly(Callers("", known).looked_up(scope(b"Bearer " + GOOD)))
    assert caught.value.status == 503


@pytest.mark.parametrize("given", [b"", b"Basic " + GOOD, b"Bearer", b"Bearer x", GOOD, b"Bearer " + GOOD + b"g"])
def test_what_is_no_token_is_not_looked_up(given: bytes) -> None:
    known = Known()
    callers = Callers("secret-secret-secret", known)
    assert callers.at_once(scope(given)) is None
    assert shortly(callers.looked_up(scope(given))) is None
    assert known.asked == 0


def test_the_admin_token_and_a_user_of_this_machine_are_admins() -> None:
    callers = Callers("secret-secret-secret", Known())
    admin = callers.at_once(scope(b"bearer secret-secret-secret"))
    local = callers.at_once({**scope(), LOCAL_USER: "anna"})
    assert admin == Principal("api", RIGHTS[UserRole.ADMIN])
    assert local == Principal("cli:anna", RIGHTS[UserRole.ADMIN])
    assert Callers("", Known()).at_once(scope(b"Bearer ")) is None


PERSON = Person(user=1, session=2, name="ben", role=UserRole.OPERATOR, language="")
BEN = Principal("user:ben", RIGHTS[UserRole.OPERATOR], PERSON)
COOKIE = "c" * 43


class SignedIn:
    """One session is known; counts how often it is asked for."""

    def __init__(self) -> None:
        self.asked = 0
        self.known = True

    def caller(self, text: str) -> Future[Principal | None]:
        self.asked += 1
        future: Future[Principal | None] = Future()
        future.set_result(BEN if self.known and text == COOKIE else None)
        return future


def visit(*cookies: str, scheme: str = "http", authorization: bytes = b"") -> dict[str, Any]:
    headers = [(b"cookie", cookie.encode("latin-1")) for cookie in cookies]
    headers += [(b"authorization", authorization)] if authorization else []
    return {"scheme": scheme, "headers": headers}


def test_a_session_counts_for_a_second_unless_it_is_forgotten() -> None:
    now, signed_in = 100.0, SignedIn()
    callers = Callers("", Known(), signed_in, lambda: now)
    given = visit(f"x=1; broker_session={COOKIE}; y=2")
    assert callers.at_once(given) is None
    assert shortly(callers.looked_up(given)) == BEN
    signed_in.known = False
    now = 100.9
    assert callers.at_once(given) == BEN
    callers.forget(given)
    assert callers.at_once(given) is None
    assert shortly(callers.looked_up(given)) is None
    assert signed_in.asked == 2


@pytest.mark.parametrize(
    ("scheme", "cookie", "known"),
    [
        ("http", f"broker_session={COOKIE}", True),
        ("https", f"__Host-broker_session={COOKIE}", True),
        ("https", f"broker_session={COOKIE}", False),  # another host of the domain could have set it
        ("http", f"__Host-broker_session={COOKIE}", False),
        ("http", f"Broker_session={COOKIE}", False),
        ("http", "broker_session=", False),
        ("http", "broker_session", False),
        ("http", f"broker_session={COOKIE}x", False),
        ("http", f"broker_session={'ü' * 43}", False),
        ("http", "=;;=;broker_session=\xff\x80;", False),
        ("http", "a=b; " * 3000, False),
    ],
)
def test_only_the_cookie_of_the_scheme_counts(scheme: str, cookie: str, known: bool) -> None:
    callers = Callers("", Known(), SignedIn())
    given = visit(cookie, scheme=scheme)
    assert callers.at_once(given) is None
    assert (shortly(callers.looked_up(given)) is not None) == known


def test_a_token_counts_before_a_cookie() -> None:
    """A program that sends both is judged by what no website can make a browser send."""
    signed_in = SignedIn()
    callers = Callers("", Known(), signed_in)
    assert shortly(callers.looked_up(visit(f"broker_session={COOKIE}", authorization=b"Bearer " + GOOD))) == VIEWER
    assert shortly(callers.looked_up(visit(f"broker_session={COOKIE}", authorization=b"Bearer x"))) is None
    assert signed_in.asked == 0


def test_where_nobody_signs_in_a_cookie_is_nothing() -> None:
    callers = Callers("", Known())
    assert shortly(callers.looked_up(visit(f"broker_session={COOKIE}"))) is None
