"""Who calls: remembered for a second, looked up after that, and told while the database is away."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest
from support.loops import shortly

from broker.accounts.roles import RIGHTS, Principal, UserRole
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
    return {"headers": [(b"authorization", authorization)] if authorization else []}


def test_a_token_counts_for_a_second_without_another_look() -> None:
    now, known = 100.0, Known()
    callers = Callers("", known, lambda: now)
    given = scope(b"Bearer " + GOOD)
    assert callers.at_once(given) is None
    assert shortly(callers.by_token(given)) == VIEWER
    known.known = False
    now = 100.9
    assert callers.at_once(given) == VIEWER
    now = 101.0
    assert callers.at_once(given) is None
    assert shortly(callers.by_token(given)) is None
    assert known.asked == 2


def test_the_memory_is_bounded() -> None:
    class Every(Known):
        def caller(self, credentials: bytes) -> Future[Principal | None]:
            future: Future[Principal | None] = Future()
            future.set_result(VIEWER)
            return future

    callers = Callers("", Every(), lambda: 0.0)
    for number in range(3 * MOST):
        shortly(callers.by_token(scope(b"Bearer wlb_%043d" % number)))
    assert len(callers._seen) <= MOST


def test_while_the_database_is_away_nobody_is_taken_for_a_stranger() -> None:
    known = Known()
    known.away = True
    with pytest.raises(Problem) as caught:
        shortly(Callers("", known).by_token(scope(b"Bearer " + GOOD)))
    assert caught.value.status == 503


@pytest.mark.parametrize("given", [b"", b"Basic " + GOOD, b"Bearer", b"Bearer x", GOOD, b"Bearer " + GOOD + b"g"])
def test_what_is_no_token_is_not_looked_up(given: bytes) -> None:
    known = Known()
    callers = Callers("secret-secret-secret", known)
    assert callers.at_once(scope(given)) is None
    assert shortly(callers.by_token(scope(given))) is None
    assert known.asked == 0


def test_the_admin_token_and_a_user_of_this_machine_are_admins() -> None:
    callers = Callers("secret-secret-secret", Known())
    admin = callers.at_once(scope(b"bearer secret-secret-secret"))
    local = callers.at_once({**scope(), LOCAL_USER: "anna"})
    assert admin == Principal("api", RIGHTS[UserRole.ADMIN])
    assert local == Principal("cli:anna", RIGHTS[UserRole.ADMIN])
    assert Callers("", Known()).at_once(scope(b"Bearer ")) is None
